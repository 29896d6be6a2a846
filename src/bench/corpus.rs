//! The block of datagrams a run sends repeatedly, generated before the run, and its exact totals.
//!
//! Every counter contribution is a whole number (whole values, sample rates that are powers of
//! two), so the sums are exact in an `f64` far beyond any run and the check needs no tolerance for
//! rounding on the sending side.

use std::io::Write as _;

use serde::Serialize;

use super::contexts::{self, Context, ShapeError};
use super::random::Random;
use super::shape::{Shape, type_code};
use crate::protocol::MetricType;

/// How datagrams stand in the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Bare, one after the other: for datagram sockets and newline-delimited streams.
    Bare,
    /// Each behind its length as a little-endian `u32`: for Unix stream sockets.
    LengthPrefixed,
}

/// Datagrams ready to send and what they add up to.
#[derive(Clone, Debug, PartialEq)]
pub struct Corpus {
    framing: Framing,
    bytes: Vec<u8>,
    /// Where each datagram ends; one more entry than datagrams, the first is 0.
    ends: Vec<Mark>,
    contributions: Vec<Contribution>,
    counters: Vec<Context>,
    contexts: usize,
}

/// Running totals at the end of a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Mark {
    bytes: usize,
    lines: u64,
    values: u64,
    contributions: usize,
}

/// What one counter line adds to its series.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Contribution {
    counter: u32,
    amount: f64,
}

/// A stretch of the endless repetition of the block: `count` datagrams from `start` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Datagram to begin with, below [`Corpus::len`].
    pub start: usize,
    /// Datagrams sent, any number of rounds.
    pub count: u64,
}

/// An amount of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Datagrams or frames.
    pub datagrams: u64,
    /// Lines.
    pub lines: u64,
    /// Values: more than lines where lines are packed.
    pub values: u64,
    /// Bytes, frame headers included.
    pub bytes: u64,
}

/// What the spans of a run add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// What went over the wire.
    pub traffic: Traffic,
    /// Sum of each series of [`Corpus::counters`], corrected for sample rates; `None` marks a
    /// series that no datagram of the run held.
    pub counters: Vec<Option<f64>>,
}

/// Sample rates used: powers of two, whose inverse is whole and exact.
const SAMPLE_RATES: [(&str, f64); 3] = [("0.5", 2.0), ("0.25", 4.0), ("0.125", 8.0)];

impl Corpus {
    /// Writes a block of at least `lines` lines in which every context occurs, as often as its
    /// neighbours (all contexts in a new random order, again and again).
    ///
    /// # Errors
    /// When the shape cannot be generated.
    pub fn write(
        shape: &Shape,
        seed: u64,
        lines: usize,
        framing: Framing,
    ) -> Result<Self, ShapeError> {
        let mut random = Random::new(seed);
        let contexts = contexts::generate(shape, &mut random)?;
        let mut writer = Writer::new(shape, framing, &contexts);
        let mut order: Vec<usize> = (0..contexts.len()).collect();
        let mut left = lines.max(contexts.len());
        while left > 0 && !order.is_empty() {
            random.shuffle(&mut order);
            for &index in order.iter().take(left) {
                writer.line(index, &contexts[index], &mut random);
            }
            left -= left.min(order.len());
        }
        Ok(writer.finish())
    }

    /// Datagrams in the block.
    pub fn len(&self) -> usize {
        self.ends.len() - 1
    }

    /// True when the block holds nothing (a shape without contexts).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Distinct pairs of name and tag set.
    pub fn contexts(&self) -> usize {
        self.contexts
    }

    /// The series whose sums [`Corpus::tally`] knows.
    pub fn counters(&self) -> &[Context] {
        &self.counters
    }

    /// Datagram `index` as it goes on the wire, its length prefix included.
    pub fn datagram(&self, index: usize) -> &[u8] {
        self.bytes_of(index, 1)
    }

    /// Datagram `index` without framing: lines, each with its newline.
    pub fn payload(&self, index: usize) -> &[u8] {
        &self.datagram(index)[self.framing.prefix_bytes()..]
    }

    /// `count` datagrams from `index` on, as one piece for a stream.
    pub fn bytes_of(&self, index: usize, count: usize) -> &[u8] {
        &self.bytes[self.ends[index].bytes..self.ends[index + count].bytes]
    }

    /// Mean lines of a datagram.
    pub fn lines_per_datagram(&self) -> f64 {
        self.total().lines as f64 / self.len().max(1) as f64
    }

    /// Adds up what `spans` sent.
    pub fn tally(&self, spans: &[Span]) -> Tally {
        let mut tally = Tally { counters: vec![None; self.counters.len()], ..Tally::default() };
        let block = self.len();
        for span in spans.iter().filter(|span| span.count > 0 && block > 0) {
            let rounds = span.count / block as u64;
            let rest = (span.count % block as u64) as usize;
            self.add(&mut tally, 0, block, rounds);
            let before_wrap = rest.min(block - span.start);
            self.add(&mut tally, span.start, before_wrap, 1);
            self.add(&mut tally, 0, rest - before_wrap, 1);
        }
        tally
    }

    fn add(&self, tally: &mut Tally, start: usize, count: usize, times: u64) {
        if times == 0 || count == 0 {
            return;
        }
        let (from, to) = (self.ends[start], self.ends[start + count]);
        let traffic = &mut tally.traffic;
        traffic.datagrams += count as u64 * times;
        traffic.bytes += (to.bytes - from.bytes) as u64 * times;
        traffic.lines += (to.lines - from.lines) * times;
        traffic.values += (to.values - from.values) * times;
        for contribution in &self.contributions[from.contributions..to.contributions] {
            let sum = tally.counters[contribution.counter as usize].get_or_insert(0.0);
            *sum += contribution.amount * times as f64;
        }
    }

    fn total(&self) -> Mark {
        self.ends.last().copied().unwrap_or_default()
    }
}

impl Framing {
    /// Bytes before each datagram.
    pub fn prefix_bytes(self) -> usize {
        match self {
            Framing::Bare => 0,
            Framing::LengthPrefixed => 4,
        }
    }
}

struct Writer<'a> {
    shape: &'a Shape,
    corpus: Corpus,
    /// Position of each context in `corpus.counters`; unused for other kinds.
    counter_of: Vec<u32>,
    mark: Mark,
    /// Bytes and lines of the open datagram, its prefix excluded.
    open_bytes: usize,
    open_lines: usize,
    line: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(shape: &'a Shape, framing: Framing, contexts: &[Context]) -> Self {
        let mut counter_of = vec![0; contexts.len()];
        let mut counters = Vec::new();
        for (index, context) in contexts.iter().enumerate() {
            if context.kind == MetricType::Counter {
                counter_of[index] = counters.len() as u32;
                counters.push(context.clone());
            }
        }
        let corpus = Corpus {
            framing,
            bytes: Vec::new(),
            ends: vec![Mark::default()],
            contributions: Vec::new(),
            counters,
            contexts: contexts.len(),
        };
        let line = Vec::new();
        Writer {
            shape,
            corpus,
            counter_of,
            mark: Mark::default(),
            open_bytes: 0,
            open_lines: 0,
            line,
        }
    }

    // name:value[:value…]|kind[|@rate][|#tags][|c:ci-id]⏎
    fn line(&mut self, index: usize, context: &Context, random: &mut Random) {
        self.line.clear();
        self.line.extend_from_slice(&context.name);
        let (values, sum) = self.values(context.kind, random);
        self.line.push(b'|');
        self.line.extend_from_slice(type_code(context.kind).as_bytes());
        let mut weight = 1.0;
        if random.percent(self.shape.sampled_percent) {
            let (text, inverse) = SAMPLE_RATES[random.below(SAMPLE_RATES.len() as u64) as usize];
            self.line.extend_from_slice(b"|@");
            self.line.extend_from_slice(text.as_bytes());
            weight = inverse;
        }
        if !context.tags.is_empty() {
            self.line.extend_from_slice(b"|#");
            self.line.extend_from_slice(&context.tags);
        }
        if random.percent(self.shape.origin_percent) {
            self.line.extend_from_slice(b"|c:ci-");
            random.letters(64, &mut self.line);
        }
        self.line.push(b'\n');
        self.append();
        self.mark.lines += 1;
        self.mark.values += values;
        if context.kind == MetricType::Counter {
            let counter = self.counter_of[index];
            self.corpus.contributions.push(Contribution { counter, amount: sum as f64 * weight });
        }
    }

    /// Writes the values and returns their number and sum.
    fn values(&mut self, kind: MetricType, random: &mut Random) -> (u64, u64) {
        if kind == MetricType::Set {
            let _infallible = write!(self.line, ":u{}", random.below(1_000));
            return (1, 0);
        }
        let packed = random.percent(self.shape.packed_percent);
        let count = if packed { random.between(self.shape.packed_values) } else { 1 };
        let bound = if kind == MetricType::Counter { 100 } else { 10_000 };
        let mut sum = 0;
        for _ in 0..count {
            let value = random.below(bound);
            let _infallible = write!(self.line, ":{value}");
            sum += value;
        }
        (count as u64, sum)
    }

    fn append(&mut self) {
        let full = self.open_bytes + self.line.len() > self.shape.payload_bytes
            || self.shape.lines_per_datagram.is_some_and(|most| self.open_lines >= most);
        if full {
            self.close();
        }
        if self.open_lines == 0 {
            // The length is filled in when the datagram closes.
            let prefix = self.corpus.framing.prefix_bytes();
            self.corpus.bytes.extend_from_slice(&[0u8; 4][..prefix]);
        }
        self.corpus.bytes.extend_from_slice(&self.line);
        self.open_bytes += self.line.len();
        self.open_lines += 1;
    }

    fn close(&mut self) {
        if self.open_lines == 0 {
            return;
        }
        let bytes = &mut self.corpus.bytes;
        if self.corpus.framing == Framing::LengthPrefixed {
            let at = bytes.len() - self.open_bytes - 4;
            bytes[at..at + 4].copy_from_slice(&(self.open_bytes as u32).to_le_bytes());
        }
        self.mark.bytes = bytes.len();
        self.mark.contributions = self.corpus.contributions.len();
        self.corpus.ends.push(self.mark);
        (self.open_bytes, self.open_lines) = (0, 0);
    }

    fn finish(mut self) -> Corpus {
        self.close();
        self.corpus
    }
}

#[cfg(test)]
#[path = "corpus_tests.rs"]
mod tests;
