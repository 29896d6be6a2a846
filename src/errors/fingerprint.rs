//! What makes two errors the same: the type, the types of the sources, the place. Never the message.

use std::any::type_name;
use std::error::Error;
use std::hash::Hasher;
use std::panic::Location;

use siphasher::sip::SipHasher13;

use super::types::{name_of, sources};

/// Bytes of a type's name in a tag.
const TYPE_NAME_MAX: usize = 120;

/// An error at a place, as cheaply as it can be told from others: what the table of a tracker is keyed by.
/// Two of them may have one fingerprint, never the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Occurrence {
    /// The name of the type, or of the pointer behind which it is unknown.
    pub type_name: &'static str,
    pub file: &'static str,
    pub line: u32,
    pub column: u32,
    /// Hash of the names of the sources.
    pub chain: u64,
}

impl Occurrence {
    /// An error of a known type.
    pub fn of<E: Error + 'static>(error: &E, at: &'static Location<'static>) -> Self {
        let mut hasher = hasher();
        hash_sources(error, &mut hasher);
        Occurrence::new(type_name::<E>(), at, hasher.finish())
    }

    /// An error behind a pointer: its own name is found as that of a source.
    pub fn of_dyn(error: &(dyn Error + 'static), at: &'static Location<'static>) -> Self {
        let mut hasher = hasher();
        write(&mut hasher, name_of(error).as_str());
        hash_sources(error, &mut hasher);
        Occurrence::new(UNKNOWN_TYPE, at, hasher.finish())
    }

    /// A panic.
    pub fn of_panic(file: &'static str, line: u32, column: u32) -> Self {
        Occurrence { type_name: "panic", file, line, column, chain: 0 }
    }

    fn new(type_name: &'static str, at: &'static Location<'static>, chain: u64) -> Self {
        Occurrence { type_name, file: at.file(), line: at.line(), column: at.column(), chain }
    }

    /// The name to show for the type of `error`.
    pub fn shown_type(&self, error: Option<&(dyn Error + 'static)>) -> String {
        match error {
            Some(error) if self.type_name == UNKNOWN_TYPE => name_of(error).as_str().to_owned(),
            _ => short(self.type_name),
        }
    }

    /// Equal on every machine and in every run of the same source.
    pub fn fingerprint(&self, module: &str) -> u64 {
        let mut hasher = hasher();
        write(&mut hasher, self.type_name);
        write(&mut hasher, module);
        hasher.write_u32(self.line.to_le());
        hasher.write_u32(self.column.to_le());
        hasher.write_u64(self.chain.to_le());
        hasher.finish()
    }
}

/// Stands for the type of an error behind a pointer.
const UNKNOWN_TYPE: &str = "dyn Error";

fn hasher() -> SipHasher13 {
    SipHasher13::new_with_keys(0, 0)
}

fn write(hasher: &mut SipHasher13, text: &str) {
    hasher.write(text.as_bytes());
    hasher.write_u8(0xff);
}

fn hash_sources(error: &(dyn Error + 'static), hasher: &mut SipHasher13) {
    sources(error).for_each(|source| write(hasher, name_of(source).as_str()));
}

/// Without what is generic, which may be long.
fn short(type_name: &str) -> String {
    let end = type_name.find('<').unwrap_or(type_name.len()).min(TYPE_NAME_MAX);
    let end = (0..=end).rev().find(|at| type_name.is_char_boundary(*at)).unwrap_or(0);
    type_name[..end].to_owned()
}
