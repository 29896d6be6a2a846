//! The distinct members of a set as 64-bit hashes: members themselves never leave their host. Exact up to
//! a cap; beyond it the registers are those of one [`SetCell`](crate::aggregate::SetCell) that saw
//! every member. Eight bytes a member, 16 KiB once there are registers.

use crate::aggregate::{RANK_MAX, REGISTERS, estimate, fixed_hash, observe_hash};

/// A set that merges. `Default` is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set(pub(super) Form);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Ascending, none twice.
    Hashes(Vec<u64>),
    Registers(Box<[u8; REGISTERS]>),
}

impl Default for Set {
    fn default() -> Self {
        Set(Form::Hashes(Vec::new()))
    }
}

impl Set {
    /// The set of these members, by their hashes, in any order.
    #[must_use]
    pub fn of_hashes(mut hashes: Vec<u64>, members_max: usize) -> Set {
        hashes.sort_unstable();
        hashes.dedup();
        let mut set = Set(Form::Hashes(hashes));
        set.cap(members_max);
        set
    }

    /// The hash of a member.
    #[must_use]
    pub fn hash_of(member: &[u8]) -> u64 {
        fixed_hash(member)
    }

    /// The set of registers; `None` when a rank cannot be one.
    #[must_use]
    pub fn of_registers(registers: Box<[u8; REGISTERS]>) -> Option<Set> {
        let sound = registers.iter().all(|rank| *rank <= RANK_MAX);
        sound.then_some(Set(Form::Registers(registers)))
    }

    /// The merge law: union. More than `members_max` members become registers.
    pub fn merge(&mut self, other: &Set, members_max: usize) {
        match (&mut self.0, &other.0) {
            (Form::Hashes(ours), Form::Hashes(theirs)) => {
                unite(ours, theirs);
                self.cap(members_max);
            }
            (Form::Registers(ours), Form::Hashes(theirs)) => {
                theirs.iter().for_each(|hash| observe_hash(&mut ours[..], *hash));
            }
            (Form::Registers(ours), Form::Registers(theirs)) => {
                ours.iter_mut()
                    .zip(&theirs[..])
                    .for_each(|(ours, theirs)| *ours = (*ours).max(*theirs));
            }
            (Form::Hashes(ours), Form::Registers(theirs)) => {
                let mut registers = theirs.clone();
                ours.iter().for_each(|hash| observe_hash(&mut registers[..], *hash));
                self.0 = Form::Registers(registers);
            }
        }
    }

    /// Distinct members: exact up to the cap, beyond it rounded from the estimate.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.0 {
            Form::Hashes(hashes) => hashes.len() as u64,
            Form::Registers(registers) => estimate(&registers[..]),
        }
    }

    /// True when the count is an estimate.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        matches!(self.0, Form::Registers(_))
    }

    /// Heap bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Hashes(hashes) => hashes.capacity() * size_of::<u64>(),
            Form::Registers(registers) => registers.len(),
        }
    }

    fn cap(&mut self, members_max: usize) {
        if let Form::Hashes(hashes) = &self.0
            && hashes.len() > members_max
        {
            let mut registers = Box::new([0; REGISTERS]);
            hashes.iter().for_each(|hash| observe_hash(&mut registers[..], *hash));
            self.0 = Form::Registers(registers);
        }
    }
}

/// Adds what is new of one ascending list to another.
fn unite(into: &mut Vec<u64>, from: &[u64]) {
    let old = into.len();
    for hash in from {
        if into[..old].binary_search(hash).is_err() {
            into.push(*hash);
        }
    }
    // Two ascending runs, which a stable sort joins in one pass.
    into.sort();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::{SetCell, SetForm, SetParts};
    use crate::memory::MemoryShare;
    use ahash::RandomState;

    fn set(members: std::ops::Range<u32>, members_max: usize) -> Set {
        let hashes = members.map(|member| Set::hash_of(member.to_string().as_bytes())).collect();
        Set::of_hashes(hashes, members_max)
    }

    /// The registers of one cell that saw all of them.
    fn cell(members: std::ops::Range<u32>, members_max: usize) -> SetCell {
        let state = RandomState::with_seeds(1, 2, 3, 4);
        let mut cell = SetCell::from_parts(SetParts::Members(Vec::new()), &state).expect("empty");
        for member in members {
            let member = member.to_string();
            cell.insert(member.as_bytes(), members_max, &mut MemoryShare::default());
        }
        cell
    }

    #[test]
    fn beyond_the_cap_registers_are_those_of_one_cell_that_saw_everything() {
        for (first, second) in
            [(0..90, 40..130), (0..30, 30..3_000), (0..3_000, 10..20), (0..5_000, 9_000..9_900)]
        {
            let mut both = set(first.clone(), 100);
            both.merge(&set(second.clone(), 100), 100);
            let mut whole = cell(first, 100);
            let state = SetCell::merge;
            state(&mut whole, cell(second, 100), 100);
            let SetForm::Registers(registers) = whole.form() else { panic!("past the cap") };
            let Form::Registers(ours) = &both.0 else { panic!("past the cap") };
            assert_eq!(&ours[..], registers);
            assert_eq!(both.count(), whole.count());
            assert!(both.is_estimated());
        }
    }

    #[test]
    fn up_to_the_cap_the_union_is_exact() {
        let mut both = set(0..60, 100);
        both.merge(&set(0..100, 100), 100);
        assert_eq!((both.count(), both.is_estimated()), (100, false));
        both.merge(&set(100..101, 100), 100);
        assert!(both.is_estimated());
        assert_eq!(both, set(0..101, 100));
    }

    #[test]
    fn a_rank_past_the_bits_of_a_hash_is_none() {
        let mut registers = Box::new([0; REGISTERS]);
        registers[5] = RANK_MAX;
        assert_eq!(RANK_MAX, 51);
        assert!(Set::of_registers(registers.clone()).is_some());
        registers[5] += 1;
        assert!(Set::of_registers(registers).is_none());
    }
}
