//! Set members: equal by value across kinds, so that `1`, `1.0` and `true` are one member and
//! `"1"` another.

use std::hash::Hash;

use ahash::RandomState;
use hashbrown::HashTable;

use super::number::Number;

/// A value offered to a set, borrowed from the caller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Member<'a> {
    /// A number; a whole float equals the integer.
    Number(Number),
    /// `false` equals 0, `true` equals 1.
    Bool(bool),
    /// Text; never equal to a number or to bytes.
    Str(&'a str),
    /// Bytes; never equal to text.
    Bytes(&'a [u8]),
}

impl Member<'_> {
    /// The number a handler of another kind takes from it, none for text and bytes.
    pub(crate) fn number(self) -> Option<Number> {
        match self {
            Member::Number(number) => Some(number),
            Member::Bool(value) => Some(Number::Int(i64::from(value))),
            Member::Str(_) | Member::Bytes(_) => None,
        }
    }
}

impl<T: Into<Number>> From<T> for Member<'_> {
    fn from(value: T) -> Self {
        Member::Number(value.into())
    }
}

impl From<bool> for Member<'_> {
    fn from(value: bool) -> Self {
        Member::Bool(value)
    }
}

impl<'a> From<&'a str> for Member<'a> {
    fn from(value: &'a str) -> Self {
        Member::Str(value)
    }
}

impl<'a> From<&'a String> for Member<'a> {
    fn from(value: &'a String) -> Self {
        Member::Str(value)
    }
}

impl<'a> From<&'a [u8]> for Member<'a> {
    fn from(value: &'a [u8]) -> Self {
        Member::Bytes(value)
    }
}

/// A member in its one spelling.
#[derive(Clone, Copy, Hash, PartialEq, Eq)]
enum Canonical<'a> {
    Int(i64),
    /// The bits of a float that is not an `i64`.
    Bits(u64),
    Str(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> From<Member<'a>> for Canonical<'a> {
    fn from(member: Member<'a>) -> Self {
        match member {
            Member::Number(Number::Int(value)) => Canonical::Int(value),
            Member::Number(number @ Number::Float(value)) => {
                let whole = Number::Int(value as i64); // saturates, so the comparison decides
                if whole.cmp_value(number).is_eq() {
                    Canonical::Int(value as i64)
                } else {
                    Canonical::Bits(value.to_bits())
                }
            }
            Member::Bool(value) => Canonical::Int(i64::from(value)),
            Member::Str(value) => Canonical::Str(value),
            Member::Bytes(value) => Canonical::Bytes(value),
        }
    }
}

#[derive(Debug)]
enum Owned {
    Int(i64),
    Bits(u64),
    Str(Box<str>),
    Bytes(Box<[u8]>),
}

impl Owned {
    fn view(&self) -> Canonical<'_> {
        match self {
            Owned::Int(value) => Canonical::Int(*value),
            Owned::Bits(value) => Canonical::Bits(*value),
            Owned::Str(value) => Canonical::Str(value),
            Owned::Bytes(value) => Canonical::Bytes(value),
        }
    }
}

impl From<Canonical<'_>> for Owned {
    fn from(member: Canonical<'_>) -> Self {
        match member {
            Canonical::Int(value) => Owned::Int(value),
            Canonical::Bits(value) => Owned::Bits(value),
            Canonical::Str(value) => Owned::Str(value.into()),
            Canonical::Bytes(value) => Owned::Bytes(value.into()),
        }
    }
}

/// The distinct members of one set in one interval: 24 bytes each and the text they own.
#[derive(Debug, Default)]
pub(crate) struct Members {
    table: HashTable<Owned>,
    hasher: RandomState,
}

impl Members {
    pub(crate) fn contains(&self, member: Member<'_>) -> bool {
        let member = Canonical::from(member);
        self.table.find(self.hash(member), |owned| owned.view() == member).is_some()
    }

    pub(crate) fn insert(&mut self, member: Member<'_>) {
        if self.contains(member) {
            return;
        }
        let member = Canonical::from(member);
        let hasher = &self.hasher;
        self.table
            .insert_unique(self.hash(member), member.into(), |owned| hasher.hash_one(owned.view()));
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    fn hash(&self, member: impl Hash) -> u64 {
        self.hasher.hash_one(member)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn counts(members: &[Member<'_>], expect: usize) {
        let mut set = Members::default();
        members.iter().for_each(|member| set.insert(*member));
        assert_eq!(set.len(), expect, "{members:?}");
    }

    #[test]
    fn members_are_equal_by_value() {
        counts(&[1.into(), 1.0.into(), true.into(), "1".into()], 2);
        counts(&[0.into(), false.into(), (-0.0).into()], 1);
        counts(&["a".into(), (&b"a"[..]).into()], 2);
        counts(&[0.5.into(), 0.5_f32.into(), 0.25.into()], 2);
        counts(&[i64::MAX.into(), 9_223_372_036_854_775_808.0.into()], 2);
        counts(&["".into(), "".into(), 0.into()], 2);
    }
}
