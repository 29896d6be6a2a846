//! In: cells of a closed bucket. Out: one record of them for another process, and back; records of many
//! processes merged, series by series. Promise: merging in any order and grouping gives the same bits;
//! whatever bytes come, reading takes bounded memory and gives a sound part or the reason why not; one bad
//! cell refuses its part whole. Refusal: it knows no log, no sockets and no clock.

mod bins;
mod cell;
mod convert;
mod decode;
mod decode_cell;
mod encode;
mod error;
mod field;
#[doc(hidden)]
pub mod fuzz_api;
mod head;
mod histogram;
mod key;
mod merged;
mod pool;
mod set;
mod sum;
#[cfg(test)]
mod tests;
mod unpack;
mod wire;
mod writer;

pub use cell::{Cell, Value};
pub use decode::{Opened, SealedPart, decode, open};
pub use error::{PartError, PartLimits};
pub use head::{Barrier, Head, Part, PartId, Record, Sender, Style};
pub use histogram::Histogram;
pub use key::{Key, KeyRef};
pub use merged::{Merged, MergedSeries, SeriesNumber};
pub use pool::KeyPool;
pub use set::Set;
pub use sum::Sum;
pub use unpack::Unpacker;
pub use writer::{EncodedPart, PART_RAW_BYTES, Packer, PartWriter, encode_barrier};
