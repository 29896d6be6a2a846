//! A sum that does not depend on the order of its addends, to the last bit.
//!
//! Clever: most counters are whole numbers, or few enough fractions, that every addition of floats is
//! exact; then the sum is one float. The first addition that would round makes it an integer of as many
//! words as it needs, in units of the smallest float, which holds every sum of floats exactly. It is
//! rounded once, when it is read. A counter of fractions such as 3.333 takes 60 bytes more.

/// The exact sum of finite floats. `Default` is 0.
#[derive(Clone, Debug)]
pub struct Sum(Form);

#[derive(Clone, Debug)]
enum Form {
    /// Never -0.
    Float(f64),
    Wide(Box<Wide>),
}

impl Sum {
    /// Adds a finite number.
    #[inline]
    pub fn add(&mut self, value: f64) {
        debug_assert!(value.is_finite(), "what is added was checked");
        match &mut self.0 {
            Form::Float(sum) => {
                let rounded = *sum + value;
                // Knuth's error of an addition; not a number where it leaves the floats.
                let back = rounded - *sum;
                let error = (*sum - (rounded - back)) + (value - back);
                if error == 0.0 && rounded.is_finite() {
                    *sum = rounded;
                } else {
                    let mut wide = Box::new(Wide::of(*sum));
                    wide.add(value);
                    self.0 = Form::Wide(wide);
                }
            }
            Form::Wide(wide) => wide.add(value),
        }
    }

    /// The merge law: adds all that was added to `other`.
    pub fn merge(&mut self, other: &Sum) {
        match (&mut self.0, &other.0) {
            (_, Form::Float(value)) => self.add(*value),
            (Form::Wide(ours), Form::Wide(theirs)) => ours.add_words(theirs.low, &theirs.words),
            (Form::Float(ours), Form::Wide(theirs)) => {
                let mut wide = theirs.clone();
                wide.add(*ours);
                self.0 = Form::Wide(wide);
            }
        }
    }

    /// The nearest float; the largest of its sign where the sum is beyond all of them.
    #[must_use]
    pub fn value(&self) -> f64 {
        match &self.0 {
            Form::Float(sum) => *sum,
            Form::Wide(wide) => wide.value(),
        }
    }

    /// Floats that add up to it, the first of which is [`Sum::value`]; mostly that alone.
    pub(super) fn floats(&self) -> Vec<f64> {
        let mut floats = vec![self.value()];
        if let Form::Wide(wide) = &self.0 {
            let mut rest = wide.clone();
            rest.add(-floats[0]);
            while !rest.is_zero() {
                let value = rest.value();
                rest.add(-value);
                floats.push(value);
            }
        }
        floats
    }

    /// Heap bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Float(_) => 0,
            Form::Wide(wide) => size_of::<Wide>() + wide.words.capacity() * size_of::<u64>() + 16,
        }
    }
}

impl Default for Sum {
    fn default() -> Self {
        Sum(Form::Float(0.0))
    }
}

/// Of a finite number.
impl From<f64> for Sum {
    fn from(value: f64) -> Self {
        debug_assert!(value.is_finite(), "what is added was checked");
        // Adding zero makes one zero of both.
        Sum(Form::Float(value + 0.0))
    }
}

/// The same number, in whatever form.
impl PartialEq for Sum {
    fn eq(&self, other: &Sum) -> bool {
        match (&self.0, &other.0) {
            (Form::Float(ours), Form::Float(theirs)) => ours == theirs,
            _ => self.wide().same(&other.wide()),
        }
    }
}

impl Eq for Sum {}

impl Sum {
    fn wide(&self) -> Wide {
        match &self.0 {
            Form::Float(sum) => Wide::of(*sum),
            Form::Wide(wide) => (**wide).clone(),
        }
    }
}

/// An integer in units of 2^-1074, in two's complement. The last word holds nothing but the sign.
#[derive(Clone, Debug)]
struct Wide {
    /// How many words of zeros come before the first.
    low: usize,
    words: Vec<u64>,
}

const FRACTION_BITS: u32 = f64::MANTISSA_DIGITS - 1;
const FRACTION: u64 = (1 << FRACTION_BITS) - 1;

impl Wide {
    fn of(value: f64) -> Wide {
        let mut wide = Wide { low: 0, words: Vec::new() };
        wide.add(value);
        wide
    }

    fn add(&mut self, value: f64) {
        let bits = value.to_bits();
        let exponent = (bits >> FRACTION_BITS) as usize & 0x7FF;
        // Floats next to zero have no hidden one, and the exponent of those above.
        let hidden = u64::from(exponent > 0) << FRACTION_BITS;
        let shift = exponent.saturating_sub(1);
        let magnitude = u128::from(bits & FRACTION | hidden) << (shift % 64);
        let signed = if value < 0.0 { magnitude.wrapping_neg() } else { magnitude };
        let sign = if value < 0.0 && magnitude > 0 { u64::MAX } else { 0 };
        self.add_words(shift / 64, &[signed as u64, (signed >> 64) as u64, sign]);
    }

    /// Adds an integer whose first word stands at `low` and whose last one is its sign.
    fn add_words(&mut self, low: usize, words: &[u64]) {
        let Some(sign) = words.last().copied() else { return };
        self.cover(low, low + words.len());
        let mut carry = false;
        for (at, word) in self.words[low - self.low..].iter_mut().enumerate() {
            let (sum, over) = word.overflowing_add(words.get(at).copied().unwrap_or(sign));
            let (sum, over_again) = sum.overflowing_add(u64::from(carry));
            (*word, carry) = (sum, over || over_again);
        }
        self.trim();
    }

    /// Makes room from `low` to `end`, and one word for the sign.
    fn cover(&mut self, low: usize, end: usize) {
        if self.words.is_empty() {
            self.low = low;
        }
        if low < self.low {
            self.words.splice(0..0, std::iter::repeat_n(0, self.low - low));
            self.low = low;
        }
        let sign = self.sign();
        let length = (end - self.low).max(self.words.len()) + 1;
        self.words.resize(length, sign);
    }

    /// Without the words that say nothing.
    fn trim(&mut self) {
        let sign = self.sign();
        while let [.., before, last] = self.words[..]
            && before == last
            && last == sign
        {
            self.words.pop();
        }
        let zeros = self.words.iter().take_while(|word| **word == 0).count();
        if zeros == self.words.len() {
            self.words.clear();
        } else {
            self.words.drain(..zeros);
            self.low += zeros;
        }
    }

    /// 0, or all ones below zero.
    fn sign(&self) -> u64 {
        self.words.last().map_or(0, |last| if *last >> 63 == 1 { u64::MAX } else { 0 })
    }

    fn is_zero(&self) -> bool {
        self.words.is_empty()
    }

    fn same(&self, other: &Wide) -> bool {
        self.words == other.words && (self.is_zero() || self.low == other.low)
    }

    fn value(&self) -> f64 {
        let negative = self.sign() != 0;
        let mut words = self.words.clone();
        if negative {
            let mut carry = true;
            for word in &mut words {
                let (sum, over) = (!*word).overflowing_add(u64::from(carry));
                (*word, carry) = (sum, over);
            }
        }
        let magnitude = nearest(self.low, &words);
        if negative { -magnitude } else { magnitude }
    }
}

/// The float nearest to an integer in units of 2^-1074, to the even one in the middle of two.
fn nearest(low: usize, words: &[u64]) -> f64 {
    let bit = |at: usize| {
        let word = at.checked_sub(low * 64).and_then(|at| Some((words.get(at / 64)?, at % 64)));
        word.map_or(0, |(word, at)| word >> at & 1)
    };
    let Some(top) = words.iter().rposition(|word| *word != 0) else { return 0.0 };
    let highest = (low + top) * 64 + 63 - words[top].leading_zeros() as usize;
    // Up to the second power of two of the normal floats, the bits of a float are the number.
    let lowest = highest.saturating_sub(FRACTION_BITS as usize);
    let digits = (lowest..=highest).rev().fold(0, |digits, at| digits << 1 | bit(at));
    let mut bits = if lowest == 0 {
        digits
    } else {
        ((lowest as u64 + 1) << FRACTION_BITS) | (digits & FRACTION)
    };
    if lowest > 0 && bit(lowest - 1) == 1 {
        let below = (low * 64..lowest - 1).any(|at| bit(at) == 1);
        bits += u64::from(below || digits & 1 == 1);
    }
    f64::from_bits(bits.min(f64::MAX.to_bits()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(values: &[f64]) -> Sum {
        let mut sum = Sum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum
    }

    #[track_caller]
    fn adds(values: &[f64], expect: f64) {
        let sum = sum(values);
        assert_eq!(sum.value().to_bits(), expect.to_bits(), "{values:?}: {}", sum.value());
    }

    #[test]
    fn a_sum_is_rounded_once() {
        adds(&[], 0.0);
        adds(&[-0.0], 0.0);
        adds(&[0.1; 10], 1.0);
        adds(&[1e16, 1.0, 1.0], 1e16 + 2.0);
        adds(&[1e100, 1.0, -1e100], 1.0);
        adds(&[1.0, 1e100, 1.0, -1e100], 2.0);
        adds(&[5e-324, 1.0, -1.0], 5e-324);
        adds(&[-5e-324, -1.0, 1.0], -5e-324);
        adds(&[f64::MIN_POSITIVE, -5e-324, 1.0, -1.0], f64::MIN_POSITIVE - 5e-324);
        // Half way between two floats: to the even one, unless something is left.
        adds(&[9_007_199_254_740_992.0, 1.0], 9_007_199_254_740_992.0);
        adds(&[9_007_199_254_740_992.0, 1.0, 1e-300], 9_007_199_254_740_994.0);
        adds(&[9_007_199_254_740_994.0, 1.0], 9_007_199_254_740_996.0);
        adds(&[-9_007_199_254_740_994.0, -1.0], -9_007_199_254_740_996.0);
    }

    #[test]
    fn beyond_the_floats_it_stays_exact_and_reads_as_the_largest() {
        adds(&[f64::MAX, f64::MAX], f64::MAX);
        adds(&[f64::MIN, f64::MIN, -1.0], f64::MIN);
        adds(&[f64::MAX, f64::MAX, f64::MIN], f64::MAX);
        adds(&[f64::MAX, f64::MAX, f64::MIN, f64::MIN, 2.5], 2.5);
        assert_eq!(sum(&sum(&[f64::MAX; 5]).floats()), sum(&[f64::MAX; 5]));
    }

    #[test]
    fn whole_numbers_need_no_more_than_a_float() {
        let whole = sum(&[1e15, 3.0, -7.0, 0.5, 0.25]);
        assert_eq!((whole.heap_bytes(), whole.value()), (0, 1e15 - 4.0 + 0.75));
        assert!(sum(&[0.1, 0.2]).heap_bytes() < 100);
    }

    fn float() -> impl Strategy<Value = f64> {
        let any = any::<u64>().prop_map(f64::from_bits);
        prop_oneof![
            2 => any.prop_filter("finite", |value| value.is_finite()),
            2 => -1e3..1e3_f64,
            1 => Just(f64::MAX),
            1 => Just(f64::MIN),
            1 => prop_oneof![Just(5e-324), Just(f64::MIN_POSITIVE), Just(1.0), Just(-0.0)],
        ]
    }

    proptest! {
        #[test]
        fn no_order_and_no_grouping_shows(
            values in prop::collection::vec(float(), 0..12), cut in any::<prop::sample::Index>()
        ) {
            let whole = sum(&values);
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            prop_assert_eq!(&sum(&sorted), &whole);
            prop_assert_eq!(sum(&sorted).value().to_bits(), whole.value().to_bits());
            let (left, right) = values.split_at(cut.index(values.len() + 1));
            let (mut left, right) = (sum(left), sum(right));
            left.merge(&right);
            prop_assert_eq!(&left, &whole);
            prop_assert_eq!(&sum(&whole.floats()), &whole);
            // What is added and taken away again leaves nothing.
            values.iter().for_each(|value| left.add(-value));
            prop_assert_eq!(left, Sum::default());
        }

        /// Small enough numbers as integers of the machine.
        #[test]
        fn it_is_the_sum_of_integers(values in prop::collection::vec(any::<i64>(), 0..20)) {
            let floats: Vec<f64> = values.iter().map(|value| *value as f64).collect();
            let exact: i128 = floats.iter().map(|float| *float as i128).sum();
            prop_assert_eq!(sum(&floats).value(), exact as f64);
        }
    }
}
