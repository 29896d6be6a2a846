//! Sets: how many distinct members. Members are kept as they are up to a cap, then a HyperLogLog
//! of 16 KiB takes over. A small set costs 64 bytes and about 60 bytes plus its text a member. Where
//! memory is short the HyperLogLog comes early, and no larger than the members it replaces: 128 bytes at
//! least, with a standard error of 9.2 % that halves with four times as many.

use std::collections::HashSet;
use std::hash::Hasher;

use ahash::RandomState;
use siphasher::sip::SipHasher13;

use crate::memory::MemoryShare;

/// log2 of the registers: 16,384 of one byte, a standard error of 1.04 / sqrt(16384) = 0.81 %.
const PRECISION: u32 = 14;
/// Registers of a set that is not coarse.
pub const REGISTERS: usize = 1 << PRECISION;
/// Their largest rank: the bits of a hash that choose none, and one.
pub const RANK_MAX: u8 = (64 - PRECISION + 1) as u8;
/// The same where memory is short.
const PRECISION_MIN: u32 = 7;

/// The members of one set in one bucket.
#[derive(Clone, Debug)]
pub struct SetCell {
    members: Members,
    /// Its context.
    pub context: u32,
    /// When it was last written (see [`super::WriteOrder`]).
    pub write_order: u32,
}

/// What a set holds, to be read.
#[derive(Debug)]
pub enum SetForm<'a> {
    /// Every member, in no order.
    Members(&'a HashSet<Box<[u8]>, RandomState>),
    /// HyperLogLog registers, a power of two of them.
    Registers(&'a [u8]),
}

/// What a set holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetParts {
    /// Every member, in no order.
    Members(Vec<Box<[u8]>>),
    /// HyperLogLog registers, a power of two of them.
    Registers(Box<[u8]>),
}

type Exact = HashSet<Box<[u8]>, RandomState>;

#[derive(Clone, Debug)]
enum Members {
    Exact(Exact),
    /// HyperLogLog registers, a power of two of them.
    Estimate(Box<[u8]>),
}

impl SetCell {
    pub(super) fn new(context: u32, state: RandomState) -> Self {
        SetCell { members: Members::Exact(HashSet::with_hasher(state)), context, write_order: 0 }
    }

    /// Adds a member; past `exact_max` distinct ones, or without room, the count becomes an estimate.
    pub fn insert(&mut self, member: &[u8], exact_max: usize, memory: &mut MemoryShare) {
        if let Members::Exact(members) = &mut self.members {
            if members.contains(member) {
                return;
            }
            if members.len() < exact_max && memory.has_room() {
                let before = table_bytes(members);
                members.insert(Box::from(member));
                memory.charge(table_bytes(members) - before + member_bytes(member));
                return;
            }
        }
        observe(self.registers(memory), member);
    }

    /// Distinct members: exact up to the cap, beyond it rounded from the estimate.
    #[must_use]
    pub fn count(&self) -> u64 {
        match &self.members {
            Members::Exact(members) => members.len() as u64,
            Members::Estimate(registers) => estimate(registers),
        }
    }

    /// True when the count is an estimate.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        matches!(self.members, Members::Estimate(_))
    }

    /// True when memory was short and the estimate is worse than its usual 0.81 %.
    #[must_use]
    pub fn is_coarse(&self) -> bool {
        matches!(&self.members, Members::Estimate(registers) if registers.len() < 1 << PRECISION)
    }

    /// All that it holds, to be looked at.
    #[must_use]
    pub fn form(&self) -> SetForm<'_> {
        match &self.members {
            Members::Exact(members) => SetForm::Members(members),
            Members::Estimate(registers) => SetForm::Registers(registers),
        }
    }

    /// All that it holds, to be written down.
    #[must_use]
    pub fn parts(&self) -> SetParts {
        match &self.members {
            Members::Exact(members) => SetParts::Members(members.iter().cloned().collect()),
            Members::Estimate(registers) => SetParts::Registers(registers.clone()),
        }
    }

    /// The set that has these parts; none when no set can have them.
    #[must_use]
    pub fn from_parts(parts: SetParts, state: &RandomState) -> Option<Self> {
        let mut cell = SetCell::new(0, state.clone());
        match parts {
            SetParts::Members(members) => {
                if let Members::Exact(kept) = &mut cell.members {
                    kept.extend(members);
                }
            }
            SetParts::Registers(registers) => {
                let sizes = 1 << PRECISION_MIN..=1 << PRECISION;
                let sound = registers.len().is_power_of_two()
                    && sizes.contains(&registers.len())
                    && registers.iter().all(|rank| *rank <= 64);
                cell.members = Members::Estimate(Some(registers).filter(|_| sound)?);
            }
        }
        Some(cell)
    }

    /// The merge law: union, as precise as the worse of both.
    pub fn merge(&mut self, other: SetCell, exact_max: usize) {
        self.write_order = self.write_order.max(other.write_order);
        let memory = &mut MemoryShare::default();
        match other.members {
            Members::Exact(members) => {
                members.iter().for_each(|member| self.insert(member, exact_max, memory));
            }
            Members::Estimate(mut theirs) => {
                let ours = self.registers(memory);
                if ours.len() < theirs.len() {
                    theirs = lower(&theirs, ours.len());
                }
                if theirs.len() < ours.len() {
                    self.members = Members::Estimate(lower(ours, theirs.len()));
                }
                let ours = self.registers(memory);
                ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours = theirs.max(*ours));
            }
        }
    }

    /// The registers, into which exact members move first.
    fn registers(&mut self, memory: &mut MemoryShare) -> &mut [u8] {
        if let Members::Exact(members) = &self.members {
            let texts: usize = members.iter().map(|member| member_bytes(member)).sum();
            let freed = texts + table_bytes(members);
            let has_room = memory.has_room();
            memory.refund(freed);
            let precision = if has_room {
                PRECISION
            } else {
                freed.max(1).ilog2().clamp(PRECISION_MIN, PRECISION)
            };
            let mut registers = vec![0; 1 << precision].into_boxed_slice();
            memory.charge(registers.len());
            members.iter().for_each(|member| observe(&mut registers, member));
            self.members = Members::Estimate(registers);
        }
        match &mut self.members {
            Members::Estimate(registers) => registers,
            // Just replaced above.
            Members::Exact(_) => &mut [],
        }
    }
}

/// What the allocator gives for a member: steps of 16 bytes, its own 8 among them.
fn member_bytes(member: &[u8]) -> usize {
    (member.len() + 8).next_multiple_of(16).max(32)
}

/// What the table takes: a place and a byte for each of a power of two, an eighth of them kept free.
fn table_bytes(members: &Exact) -> usize {
    match members.capacity() {
        0 => 0,
        capacity => (capacity * 8 / 7).next_power_of_two() * (size_of::<Box<[u8]>>() + 1) + 32,
    }
}

/// SipHash-1-3 with a zero key: fixed and documented, so that estimates of two processes can be
/// merged. Crafted members can only spoil the count of their own set.
#[must_use]
pub fn fixed_hash(member: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(member);
    hasher.finish()
}

fn observe(registers: &mut [u8], member: &[u8]) {
    observe_hash(registers, fixed_hash(member));
}

/// The first bits of the hash choose a register, which holds the longest run of zeros that follows.
/// The registers are a power of two.
pub fn observe_hash(registers: &mut [u8], hash: u64) {
    let precision = registers.len().trailing_zeros();
    let rank = ((hash << precision).leading_zeros() + 1).min(64 - precision + 1);
    if let Some(register) = registers.get_mut((hash >> (64 - precision)) as usize) {
        *register = (rank as u8).max(*register);
    }
}

/// What fewer registers would hold: the bits that no longer choose one belong to the run of zeros.
fn lower(registers: &[u8], count: usize) -> Box<[u8]> {
    let cut = registers.len().trailing_zeros() - count.trailing_zeros();
    let mut lower = vec![0; count].into_boxed_slice();
    for (at, rank) in registers.iter().enumerate().filter(|(_, rank)| **rank > 0) {
        let low = at & ((1 << cut) - 1);
        let zeros = cut - (usize::BITS - low.leading_zeros());
        let rank = if low == 0 { *rank + cut as u8 } else { zeros as u8 + 1 };
        let register = &mut lower[at >> cut];
        *register = rank.max(*register);
    }
    lower
}

/// As many registers as a set that is not coarse has, with about the count of these, which may be fewer.
///
/// A register of few stands for a row of many. What their ranks would be is drawn: by the number of members
/// each has to hold, by a fixed hash of its place, and so that the row says of itself what the register
/// said. Equal places draw alike, so that sets of equal members stay one set when they are merged.
pub fn raise_registers(coarse: &[u8]) -> Box<[u8; REGISTERS]> {
    let mut raised = Box::new([0; REGISTERS]);
    let cut = PRECISION - coarse.len().trailing_zeros().min(PRECISION);
    if cut == 0 {
        raised.copy_from_slice(&coarse[..REGISTERS]);
        raised.iter_mut().for_each(|rank| *rank = (*rank).min(RANK_MAX));
        return raised;
    }
    let members = estimate(coarse) as f64 / REGISTERS as f64;
    for (at, rank) in coarse.iter().enumerate().filter(|(_, rank)| **rank > 0) {
        let rank = u32::from(*rank);
        let row = &mut raised[at << cut..(at + 1) << cut];
        for (place, register) in row.iter_mut().enumerate().skip(1) {
            // What a member here would give the coarse register.
            let given = cut - place.ilog2();
            if given <= rank {
                *register = drawn_rank(members, (at << cut | place) as u64);
            }
        }
        if rank > cut {
            row[0] = ((rank - cut) as u8).min(RANK_MAX);
        } else if let Some(register) = row.get_mut(1 << (cut - rank)) {
            *register = (*register).max(1);
        }
    }
    raised
}

/// The largest rank of some members, as many as a Poisson distribution with this mean gives: at most `k`
/// with the probability `exp(-mean / 2^k)`.
fn drawn_rank(mean: f64, place: u64) -> u8 {
    let share = (fixed_hash(&place.to_le_bytes()) >> 11) as f64 / (1_u64 << 53) as f64;
    let needed = -mean / share.max(f64::MIN_POSITIVE).ln();
    // Rank 0, no member, when exp(-mean) is not below the share.
    needed.log2().ceil().clamp(0.0, f64::from(RANK_MAX)) as u8
}

/// Flajolet and others, "HyperLogLog: the analysis of a near-optimal cardinality estimation
/// algorithm" (2007), with its small-range correction. 64-bit hashes need no large-range one.
#[must_use]
pub fn estimate(registers: &[u8]) -> u64 {
    let count = registers.len() as f64;
    let alpha = 0.7213 / (1.0 + 1.079 / count);
    let harmonic: f64 = registers.iter().map(|rank| (-f64::from(*rank)).exp2()).sum();
    let raw = alpha * count * count / harmonic;
    let empty = registers.iter().filter(|rank| **rank == 0).count();
    if raw <= 2.5 * count && empty > 0 {
        return (count * (count / empty as f64).ln()).round() as u64;
    }
    raw.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryLimit;
    use std::sync::Arc;

    fn set(members: std::ops::Range<u32>, exact_max: usize) -> SetCell {
        let mut cell = SetCell::new(0, RandomState::with_seeds(1, 2, 3, 4));
        members.for_each(|member| {
            cell.insert(member.to_string().as_bytes(), exact_max, &mut MemoryShare::default());
        });
        cell
    }

    #[test]
    fn exact_up_to_the_cap() {
        assert_eq!(set(0..1_000, 1_000).count(), 1_000);
        let mut twice = set(0..1_000, 1_000);
        twice.insert(b"7", 1_000, &mut MemoryShare::default());
        assert_eq!(twice.count(), 1_000);
    }

    #[test]
    fn the_estimate_stays_inside_three_standard_errors() {
        for count in [1_001, 5_000, 40_000, 100_000, 300_000] {
            let error = set(0..count, 1_000).count() as f64 / f64::from(count) - 1.0;
            assert!(error.abs() < 3.0 * 0.0081, "{count}: {error}");
        }
    }

    #[test]
    fn merging_is_a_union_whatever_the_form() {
        let pairs = [(0..500, 300..700), (0..2_000, 1_000..1_200), (0..3_000, 2_000..9_000)];
        for (a, b) in pairs {
            let together = set(0..a.end.max(b.end), 1_000).count();
            for (mut first, second) in [
                (set(a.clone(), 1_000), set(b.clone(), 1_000)),
                (set(b.clone(), 1_000), set(a.clone(), 1_000)),
            ] {
                first.merge(second, 1_000);
                assert_eq!(first.count(), together);
            }
        }
    }

    /// A set that may use so much memory.
    fn tight(members: std::ops::Range<u32>, bytes_max: usize) -> SetCell {
        let mut memory = MemoryShare::of(&Arc::new(MemoryLimit::new(bytes_max)));
        let mut cell = SetCell::new(0, RandomState::with_seeds(1, 2, 3, 4));
        members.for_each(|member| cell.insert(member.to_string().as_bytes(), 1_000, &mut memory));
        cell
    }

    #[test]
    fn without_room_a_set_estimates_with_what_its_members_took() {
        for (bytes_max, members, error) in
            [(0, 5_000, 0.28), (9_000, 800, 0.04), (9_000, 50_000, 0.04)]
        {
            let cell = tight(0..members, bytes_max);
            assert!(cell.is_coarse() && cell.is_estimated());
            let got = cell.count() as f64 / f64::from(members) - 1.0;
            assert!(got.abs() < error, "{members} in {bytes_max}: {got}");
        }
        assert!(!tight(0..100, 9_000).is_estimated());
    }

    #[test]
    fn estimates_of_any_precision_merge_to_the_worse_of_both() {
        let cells =
            [set(0..4_000, 10), tight(3_000..9_000, 0), tight(0..2_000, 9_000), set(5..9, 10)];
        let whole = {
            let mut whole = tight(0..0, 0);
            let memory = &mut MemoryShare::of(&Arc::new(MemoryLimit::new(0)));
            (0..9_000_u32).for_each(|n| whole.insert(n.to_string().as_bytes(), 10, memory));
            whole.count()
        };
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut merged = cells[order[0]].clone();
            order[1..].iter().for_each(|at| merged.merge(cells[*at].clone(), 10));
            assert_eq!((merged.count(), merged.is_coarse()), (whole, true));
        }
    }
}
