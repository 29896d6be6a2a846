//! Reads msgpack from untrusted clients: borrowed, bounded, and strict about the whole body.
//!
//! Everything is a view of the body; a declared length never allocates and never promises more than the
//! bytes that are left. Lenient where clients differ: nil is empty or 0, strings may come as bin,
//! numbers in any width and as floats. An error names the place by the names of *our* tables: a key or a
//! value of the body never gets into a message.

use std::fmt;

use rmp::Marker;

/// Maps and arrays inside each other, at most.
pub(crate) const DEPTH_MAX: usize = 32;

/// Steps of a path in a message at most.
const STEPS_SHOWN: usize = 8;

/// What is read, or where it is not what it should be.
pub(crate) type Read<T> = Result<T, Box<Malformed>>;

/// One field of a record: its key, and how its value gets into `T`. What the call leaves of the value
/// would be taken for the next key: it reads all of it.
pub(crate) type Field<T, R> = (&'static str, fn(&mut T, &mut R) -> Read<()>);

/// A body that is not msgpack, or not the record that was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    message: &'static str,
    /// Bytes before the place.
    offset: usize,
    /// Innermost first.
    path: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Field(&'static str),
    Item(u32),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.path.iter().rev().enumerate() {
            match step {
                // Only what no one reads is so deep.
                _ if place == STEPS_SHOWN => {
                    f.write_str("…")?;
                    break;
                }
                Step::Field(name) if place == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(index) => write!(f, "[{index}]")?,
            }
        }
        let colon = if self.path.is_empty() { "" } else { ": " };
        write!(f, "{colon}{} at byte {}", self.message, self.offset)
    }
}

impl std::error::Error for Malformed {}

/// A number as the client sent it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Integer(i128),
    Float(f64),
}

impl Default for Number {
    fn default() -> Self {
        Number::Integer(0)
    }
}

impl Number {
    /// The nearest float; a float as it is, also when it is not finite.
    pub fn float(self) -> f64 {
        match self {
            Number::Integer(value) => value as f64,
            Number::Float(value) => value,
        }
    }

    /// The whole part. `None` for what is not finite or beyond 128 bits.
    pub fn whole(self) -> Option<i128> {
        match self {
            Number::Integer(value) => Some(value),
            Number::Float(value) => (value.abs() < 1.7e38).then_some(value as i128),
        }
    }

    /// The whole part when 64 bits without a sign hold it.
    pub fn unsigned(self) -> Option<u64> {
        self.whole().and_then(|value| u64::try_from(value).ok())
    }
}

/// A place in a body.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Bytes of the body, to tell how far it is read.
    whole: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Self {
        Reader { rest: body, whole: body.len(), depth: 0 }
    }

    /// True when nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// An error unless a map comes next: where nil will not do.
    pub fn expect_map(&self) -> Read<()> {
        if self.rest == [0xc0] { self.fail("expected a map") } else { Ok(()) }
    }

    /// An error when something is left.
    pub fn end(&self) -> Read<()> {
        if self.is_at_end() { Ok(()) } else { self.fail("expected the end of the body") }
    }

    /// A map, field by field into `record`; keys that are not in `fields` are skipped. Nil is a map
    /// without fields. Of a key that comes twice the last value stays.
    pub fn record<T>(&mut self, fields: &[Field<T, Self>], record: &mut T) -> Read<()> {
        // Clients write the fields in the order of their source, and so do the tables: mostly the next
        // key is the next field.
        let mut expected = 0;
        self.entries(|reader, key| {
            let (before, after) = fields.split_at(expected.min(fields.len()));
            let mut in_order = after.iter().chain(before).enumerate();
            let Some((skipped, (name, set))) =
                in_order.find(|(_, (name, _))| name.as_bytes() == key)
            else {
                return reader.skip().map_err(within("(unknown field)"));
            };
            expected = (expected + skipped) % fields.len() + 1;
            set(record, reader).map_err(within(name))
        })
    }

    /// A map, entry by entry: `entry` gets the key, and reads the value. Entries whose key is not a
    /// string are skipped. Nil is an empty map.
    pub fn entries(&mut self, mut entry: impl FnMut(&mut Self, &'a [u8]) -> Read<()>) -> Read<()> {
        let start = self.rest;
        let len = match self.marker()? {
            Marker::Null => return Ok(()),
            Marker::FixMap(len) => usize::from(len),
            Marker::Map16 => usize::from(u16::from_be_bytes(self.chunk()?)),
            Marker::Map32 => u32::from_be_bytes(self.chunk()?) as usize,
            _ => return self.fail_at(start, "expected a map"),
        };
        if len > self.rest.len() / 2 {
            return self.fail_at(start, "a map is longer than the body");
        }
        self.enter(start)?;
        for _ in 0..len {
            match self.key()? {
                Some(key) => entry(self, key)?,
                None => self.skip()?,
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// An array: `item` reads one value. Nil is an empty array.
    pub fn array(&mut self, mut item: impl FnMut(&mut Self) -> Read<()>) -> Read<()> {
        let start = self.rest;
        let len = match self.marker()? {
            Marker::Null => return Ok(()),
            Marker::FixArray(len) => usize::from(len),
            Marker::Array16 => usize::from(u16::from_be_bytes(self.chunk()?)),
            Marker::Array32 => u32::from_be_bytes(self.chunk()?) as usize,
            _ => return self.fail_at(start, "expected an array"),
        };
        if len > self.rest.len() {
            return self.fail_at(start, "an array is longer than the body");
        }
        self.enter(start)?;
        for index in 0..len {
            item(self).map_err(|mut error| {
                error.path.push(Step::Item(index as u32));
                error
            })?;
        }
        self.depth -= 1;
        Ok(())
    }

    /// What `read` reads, as bytes: to be read again later with [`Reader::new`].
    pub fn span(&mut self, read: impl FnOnce(&mut Self) -> Read<()>) -> Read<&'a [u8]> {
        let start = self.rest;
        read(self)?;
        Ok(&start[..start.len() - self.rest.len()])
    }

    /// A string or bin; nil is empty.
    #[inline]
    pub fn text(&mut self) -> Read<&'a [u8]> {
        let start = self.rest;
        let marker = self.marker()?;
        match marker {
            Marker::Null => Ok(b""),
            Marker::FixStr(len) => self.take(usize::from(len)),
            _ => match self.text_len(marker)? {
                Some(len) => self.take(len),
                None => self.fail_at(start, "expected a string"),
            },
        }
    }

    /// A number; nil is 0.
    #[inline]
    pub fn number(&mut self) -> Read<Number> {
        let start = self.rest;
        let integer = match self.marker()? {
            Marker::Null => 0,
            Marker::FixPos(value) => i128::from(value),
            Marker::FixNeg(value) => i128::from(value),
            Marker::U8 => i128::from(u8::from_be_bytes(self.chunk()?)),
            Marker::U16 => i128::from(u16::from_be_bytes(self.chunk()?)),
            Marker::U32 => i128::from(u32::from_be_bytes(self.chunk()?)),
            Marker::U64 => i128::from(u64::from_be_bytes(self.chunk()?)),
            Marker::I8 => i128::from(i8::from_be_bytes(self.chunk()?)),
            Marker::I16 => i128::from(i16::from_be_bytes(self.chunk()?)),
            Marker::I32 => i128::from(i32::from_be_bytes(self.chunk()?)),
            Marker::I64 => i128::from(i64::from_be_bytes(self.chunk()?)),
            Marker::F32 => return Ok(Number::Float(f32::from_be_bytes(self.chunk()?).into())),
            Marker::F64 => return Ok(Number::Float(f64::from_be_bytes(self.chunk()?))),
            _ => return self.fail_at(start, "expected a number"),
        };
        Ok(Number::Integer(integer))
    }

    /// True or false; nil is false, a number is true unless it is 0.
    pub fn boolean(&mut self) -> Read<bool> {
        let start = self.rest;
        match start.first().map(|byte| Marker::from_u8(*byte)) {
            Some(marker @ (Marker::True | Marker::False)) => {
                self.marker()?;
                Ok(marker == Marker::True)
            }
            _ => match self.number() {
                Ok(number) => Ok(number.float() != 0.0),
                Err(_) => self.fail_at(start, "expected true or false"),
            },
        }
    }

    /// Any one value, unread.
    pub fn skip(&mut self) -> Read<()> {
        let start = self.rest;
        let marker = self.marker()?;
        let bytes = match marker {
            Marker::Null | Marker::True | Marker::False => 0,
            Marker::FixPos(_) | Marker::FixNeg(_) => 0,
            Marker::U8 | Marker::I8 => 1,
            Marker::U16 | Marker::I16 | Marker::FixExt1 => 2,
            Marker::FixExt2 => 3,
            Marker::U32 | Marker::I32 | Marker::F32 => 4,
            Marker::FixExt4 => 5,
            Marker::U64 | Marker::I64 | Marker::F64 => 8,
            Marker::FixExt8 => 9,
            Marker::FixExt16 => 17,
            // One byte more for the type.
            Marker::Ext8 => usize::from(u8::from_be_bytes(self.chunk()?)) + 1,
            Marker::Ext16 => usize::from(u16::from_be_bytes(self.chunk()?)) + 1,
            Marker::Ext32 => u32::from_be_bytes(self.chunk()?) as usize + 1,
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
                self.rest = start;
                return self.array(Reader::skip);
            }
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
                self.rest = start;
                return self.entries(|reader, _| reader.skip());
            }
            Marker::Reserved => return self.fail_at(start, "expected a value"),
            _ => match self.text_len(marker)? {
                Some(len) => len,
                None => return self.fail_at(start, "expected a value"),
            },
        };
        self.take(bytes).map(drop)
    }

    /// The key of an entry; `None` when it is not a string, and skipped.
    fn key(&mut self) -> Read<Option<&'a [u8]>> {
        let start = self.rest;
        let marker = self.marker()?;
        if let Some(len) = self.text_len(marker)? {
            return self.take(len).map(Some);
        }
        self.rest = start;
        self.skip().map(|()| None)
    }

    /// The length of a string or bin, `None` for any other marker.
    #[inline]
    fn text_len(&mut self, marker: Marker) -> Read<Option<usize>> {
        Ok(Some(match marker {
            Marker::FixStr(len) => usize::from(len),
            Marker::Str8 | Marker::Bin8 => usize::from(u8::from_be_bytes(self.chunk()?)),
            Marker::Str16 | Marker::Bin16 => usize::from(u16::from_be_bytes(self.chunk()?)),
            Marker::Str32 | Marker::Bin32 => u32::from_be_bytes(self.chunk()?) as usize,
            _ => return Ok(None),
        }))
    }

    fn enter(&mut self, start: &'a [u8]) -> Read<()> {
        if self.depth == DEPTH_MAX {
            return self.fail_at(start, "maps and arrays are nested deeper than 32");
        }
        self.depth += 1;
        Ok(())
    }

    #[inline]
    fn marker(&mut self) -> Read<Marker> {
        let [byte] = self.chunk()?;
        Ok(Marker::from_u8(byte))
    }

    #[inline]
    fn chunk<const BYTES: usize>(&mut self) -> Read<[u8; BYTES]> {
        match self.rest.split_first_chunk() {
            Some((chunk, rest)) => {
                self.rest = rest;
                Ok(*chunk)
            }
            None => self.fail("the body ends inside a value"),
        }
    }

    #[inline]
    fn take(&mut self, bytes: usize) -> Read<&'a [u8]> {
        match self.rest.split_at_checked(bytes) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => self.fail("the body ends inside a value"),
        }
    }

    fn fail<T>(&self, message: &'static str) -> Read<T> {
        self.fail_at(self.rest, message)
    }

    /// `start` is what was left where it went wrong.
    #[cold]
    fn fail_at<T>(&self, start: &'a [u8], message: &'static str) -> Read<T> {
        let offset = self.whole - start.len();
        Err(Box::new(Malformed { message, offset, path: Vec::new() }))
    }
}

fn within(name: &'static str) -> impl FnOnce(Box<Malformed>) -> Box<Malformed> {
    move |mut error| {
        error.path.push(Step::Field(name));
        error
    }
}

#[cfg(test)]
mod tests;
