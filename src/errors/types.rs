//! The types of an error and its sources, as far as Rust tells.
//!
//! The type of the error itself is known where it is recorded. A source is a `dyn Error`: its type has no
//! name. For some types of the standard library it can be asked; of the others the derived `Debug` begins
//! with the name, and only that much of it is written. A `Debug` that begins with anything else, a message
//! perhaps, gives no name.

use std::error::Error;
use std::fmt::{self, Write};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Sources of one error that are looked at: an error may be its own source.
pub(super) const CHAIN_MAX: usize = 16;

/// The name of a source where none can be found out.
const UNNAMED: &str = "dyn Error";
/// Bytes of a name.
const NAME_MAX: usize = 64;

/// A name without an allocation.
#[derive(Clone, Copy)]
pub(super) struct Name {
    bytes: [u8; NAME_MAX],
    length: usize,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// What came is a name, and its end was seen.
    Whole,
    /// It is none.
    NoName,
}

impl Name {
    fn empty() -> Self {
        Name { bytes: [0; NAME_MAX], length: 0, state: State::Open }
    }

    fn of(text: &str) -> Self {
        let mut name = Name::empty();
        name.length = text.len().min(NAME_MAX);
        name.bytes[..name.length].copy_from_slice(&text.as_bytes()[..name.length]);
        name.state = State::Whole;
        name
    }

    pub fn as_str(&self) -> &str {
        let text = std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default();
        if self.state == State::NoName || text.is_empty() { UNNAMED } else { text }
    }
}

/// Takes the beginning of a `Debug` text and stops the formatting where the name ends.
impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let first = self.length == 0;
            if byte.is_ascii_uppercase() || !first && (byte.is_ascii_alphanumeric() || byte == b'_')
            {
                let Some(place) = self.bytes.get_mut(self.length) else {
                    self.state = State::NoName;
                    return Err(fmt::Error);
                };
                *place = byte;
                self.length += 1;
            } else {
                // `Name { field`, `Name(field`; a name followed by more words is a sentence.
                self.state = match byte {
                    b'(' | b'{' if !first => State::Whole,
                    b' ' if !first && self.state == State::Open => {
                        self.state = State::Whole;
                        continue;
                    }
                    _ => State::NoName,
                };
                return Err(fmt::Error);
            }
            if self.state == State::Whole {
                // A space, and then not a brace.
                self.state = State::NoName;
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

/// The name of a type that is known only as an error.
pub(super) fn name_of(error: &(dyn Error + 'static)) -> Name {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        let mut name = Name::empty();
        // The kind is no message: it says what to do about it. Kinds are short.
        let _ = write!(Plain(&mut name), "std::io::Error::{:?}", error.kind());
        name.state = State::Whole;
        return name;
    }
    let known = [
        (error.is::<std::num::ParseIntError>(), "core::num::ParseIntError"),
        (error.is::<std::num::ParseFloatError>(), "core::num::ParseFloatError"),
        (error.is::<std::str::Utf8Error>(), "core::str::Utf8Error"),
        (error.is::<std::string::FromUtf8Error>(), "alloc::string::FromUtf8Error"),
        (error.is::<fmt::Error>(), "core::fmt::Error"),
    ];
    if let Some((_, name)) = known.iter().find(|(is, _)| *is) {
        return Name::of(name);
    }
    let mut name = Name::empty();
    // An error of the writer only means that the name has ended, and a panic that there is none.
    let write = || {
        let _ = write!(name, "{error:?}");
    };
    if catch_unwind(AssertUnwindSafe(write)).is_err() {
        name.state = State::NoName;
    }
    name
}

/// Writes what fits, whatever it is.
struct Plain<'a>(&'a mut Name);

impl Write for Plain<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let name = &mut *self.0;
        let taken = text.len().min(NAME_MAX - name.length);
        name.bytes[name.length..name.length + taken].copy_from_slice(&text.as_bytes()[..taken]);
        name.length += taken;
        Ok(())
    }
}

/// The sources of an error, nearest first.
pub(super) fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |source| (*source).source()).take(CHAIN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Unit;
    struct Spoken(&'static str);
    impl fmt::Debug for Spoken {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }
    macro_rules! errors {
        ($($name:ty),*) => {$(
            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("message")
                }
            }
            impl Error for $name {}
        )*};
    }
    errors!(Unit, Spoken);

    #[test]
    fn a_derived_debug_tells_the_name_and_a_message_does_not() {
        let boxed: Box<dyn Error> = "a text".into();
        let cases: [(&(dyn Error + 'static), &str); 12] = [
            (&Unit, "Unit"),
            (&"secret".parse::<char>().unwrap_err(), "ParseCharError"),
            (&std::env::VarError::NotUnicode("secret".into()), "NotUnicode"),
            (&Spoken("Connection to 10.0.0.7 failed"), UNNAMED),
            (&Spoken("Secret"), "Secret"),
            (&Spoken("secret { x }"), UNNAMED),
            (&Spoken(""), UNNAMED),
            (&Spoken("Ends "), "Ends"),
            (&*boxed, UNNAMED),
            (&io::Error::from(io::ErrorKind::NotFound), "std::io::Error::NotFound"),
            (&io::Error::other("x"), "std::io::Error::Other"),
            (&"x".parse::<u8>().unwrap_err(), "core::num::ParseIntError"),
        ];
        for (error, name) in cases {
            assert_eq!(name_of(error).as_str(), name, "{error:?}");
        }
        let long = "A".repeat(NAME_MAX + 1);
        assert_eq!(name_of(&Spoken(Box::leak(long.into_boxed_str()))).as_str(), UNNAMED);
    }
}
