//! Sets: how many distinct members. Members are kept as they are up to a cap, then a HyperLogLog
//! of 16 KiB takes over. A small set costs 64 bytes and about 40 bytes plus its text a member.

use std::collections::HashSet;
use std::hash::Hasher;

use ahash::RandomState;
use siphasher::sip::SipHasher13;

/// log2 of the registers: 16,384 of one byte, a standard error of 1.04 / sqrt(16384) = 0.81 %.
const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;

/// The members of one set in one bucket.
#[derive(Clone, Debug)]
pub struct SetCell {
    members: Members,
    /// Its context.
    pub context: u32,
    /// When it was last written (see [`super::WriteOrder`]).
    pub write_order: u32,
}

#[derive(Clone, Debug)]
enum Members {
    Exact(HashSet<Box<[u8]>, RandomState>),
    Estimate(Box<[u8]>),
}

impl SetCell {
    pub(super) fn new(context: u32, state: RandomState) -> Self {
        SetCell { members: Members::Exact(HashSet::with_hasher(state)), context, write_order: 0 }
    }

    /// Adds a member; past `exact_max` distinct ones the count becomes an estimate.
    pub fn insert(&mut self, member: &[u8], exact_max: usize) {
        if let Members::Exact(members) = &mut self.members {
            if members.contains(member) {
                return;
            }
            if members.len() < exact_max {
                members.insert(Box::from(member));
                return;
            }
        }
        observe(self.registers(), member);
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

    /// The merge law: union.
    pub fn merge(&mut self, other: SetCell, exact_max: usize) {
        self.write_order = self.write_order.max(other.write_order);
        match other.members {
            Members::Exact(members) => {
                members.iter().for_each(|member| self.insert(member, exact_max));
            }
            Members::Estimate(theirs) => {
                let ours = self.registers();
                ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours = theirs.max(*ours));
            }
        }
    }

    /// The registers, into which exact members move first.
    fn registers(&mut self) -> &mut [u8] {
        if let Members::Exact(members) = &self.members {
            let mut registers = vec![0; REGISTERS].into_boxed_slice();
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

/// SipHash-1-3 with a zero key: fixed and documented, so that estimates of two processes can be
/// merged. Crafted members can only spoil the count of their own set.
fn fixed_hash(member: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(member);
    hasher.finish()
}

fn observe(registers: &mut [u8], member: &[u8]) {
    let hash = fixed_hash(member);
    let rank = ((hash << PRECISION).leading_zeros() + 1).min(64 - PRECISION + 1);
    if let Some(register) = registers.get_mut((hash >> (64 - PRECISION)) as usize) {
        *register = (rank as u8).max(*register);
    }
}

/// Flajolet and others, "HyperLogLog: the analysis of a near-optimal cardinality estimation
/// algorithm" (2007), with its small-range correction. 64-bit hashes need no large-range one.
fn estimate(registers: &[u8]) -> u64 {
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

    fn set(members: std::ops::Range<u32>, exact_max: usize) -> SetCell {
        let mut cell = SetCell::new(0, RandomState::with_seeds(1, 2, 3, 4));
        members.for_each(|member| cell.insert(member.to_string().as_bytes(), exact_max));
        cell
    }

    #[test]
    fn exact_up_to_the_cap() {
        assert_eq!(set(0..1_000, 1_000).count(), 1_000);
        let mut twice = set(0..1_000, 1_000);
        twice.insert(b"7", 1_000);
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
}
