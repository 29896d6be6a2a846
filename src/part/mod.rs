//! In: cells of a closed bucket. Out: one record of them for another process, and back; records of many
//! processes merged, series by series. Promise: merging in any order and grouping gives the same bits;
//! whatever bytes come, reading takes bounded memory and gives a sound part or the reason why not; one bad
//! cell refuses its part whole. Refusal: it knows no log, no sockets and no clock.

mod bins;
mod cell;
mod convert;
mod head;
mod histogram;
mod key;
mod merged;
mod pool;
mod set;
mod sum;

pub use cell::{Cell, Value};
pub use head::{Barrier, Head, Part, PartId, Record, Sender, Style};
pub use histogram::Histogram;
pub use key::Key;
pub use merged::{Merged, MergedSeries, SeriesNumber};
pub use pool::KeyPool;
pub use set::Set;
pub use sum::Sum;
