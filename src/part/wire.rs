//! The bytes of a record, and the numbers of its fields.
//!
//! ```text
//! bytes 0-1 "WG"   2 format   3 flags   4-7 CRC-32 of all that follows, little-endian
//! part:    varint length of Head, Head (protobuf), body = Cells (protobuf), compressed or not
//! barrier: 16 bytes of its owner, 8 of its number, little-endian
//! ```
//!
//! ```proto
//! message Head { bytes sender = 1; string host = 2; uint64 start = 3; uint32 interval = 4;
//!   uint32 partition = 5; uint32 partitions = 6; uint32 sequence = 7; uint32 cells = 8;
//!   uint32 raw_bytes = 9; uint64 built_ms = 10; repeated Style styles = 11; }
//! message Style { repeated string aggregates = 1; repeated double percentiles = 2; bool as_count = 3;
//!   string unit = 4; }
//! message Cells { repeated Cell cell = 1; }
//! message Cell { bytes key = 1; uint32 stamp = 2; uint32 style = 3;
//!   oneof value { double counter = 4; double gauge = 5; Set set = 6; Histogram histogram = 7; }
//!   repeated double rest = 8; }       // with the counter: what rounding it left out
//! message Set { repeated fixed64 hashes = 1; bytes registers = 2; }
//! message Histogram { repeated double values = 1; repeated double scales = 2;
//!   uint64 count = 3; double sum = 4; double min = 5; double max = 6;
//!   repeated sint32 k = 7; repeated uint64 n = 8;
//!   repeated double rest = 9; }       // with the sum: what rounding it left out
//! ```
//!
//! Field 15 of Head and Cell is for parts that stay on their host; readers of other hosts skip it, as they
//! skip what they do not know.

/// The first bytes of every record.
pub(super) const MAGIC: [u8; 2] = *b"WG";
/// The version that is written here.
pub(super) const FORMAT: u8 = 1;
/// The body is a zstd frame.
pub(super) const ZSTD: u8 = 1;
/// It is a barrier.
pub(super) const BARRIER: u8 = 2;
/// Magic, format, flags and checksum.
pub(super) const SEAL_BYTES: usize = 8;
/// What follows them in a barrier.
pub(super) const BARRIER_BYTES: usize = 24;

pub(super) mod head {
    pub const SENDER: u8 = 1;
    pub const HOST: u8 = 2;
    pub const START: u8 = 3;
    pub const INTERVAL: u8 = 4;
    pub const PARTITION: u8 = 5;
    pub const PARTITIONS: u8 = 6;
    pub const SEQUENCE: u8 = 7;
    pub const CELLS: u8 = 8;
    pub const RAW_BYTES: u8 = 9;
    pub const BUILT_MS: u8 = 10;
    pub const STYLES: u8 = 11;
}

pub(super) mod style {
    pub const AGGREGATES: u8 = 1;
    pub const PERCENTILES: u8 = 2;
    pub const AS_COUNT: u8 = 3;
    pub const UNIT: u8 = 4;
}

pub(super) mod cell {
    /// The field of Cells.
    pub const CELL: u8 = 1;
    pub const KEY: u8 = 1;
    pub const STAMP: u8 = 2;
    pub const STYLE: u8 = 3;
    pub const COUNTER: u8 = 4;
    pub const GAUGE: u8 = 5;
    pub const SET: u8 = 6;
    pub const HISTOGRAM: u8 = 7;
    pub const REST: u8 = 8;
}

pub(super) mod set {
    pub const HASHES: u8 = 1;
    pub const REGISTERS: u8 = 2;
}

pub(super) mod histogram {
    pub const VALUES: u8 = 1;
    pub const SCALES: u8 = 2;
    pub const COUNT: u8 = 3;
    pub const SUM: u8 = 4;
    pub const MIN: u8 = 5;
    pub const MAX: u8 = 6;
    pub const KEYS: u8 = 7;
    pub const COUNTS: u8 = 8;
    pub const REST: u8 = 9;
}

/// Field 15 of Head and Cell.
pub(super) const LOCAL: u8 = 15;

/// The checksum of what follows it.
pub(super) fn seal(record: &mut [u8]) {
    if let Some((head, rest)) = record.split_at_mut_checked(SEAL_BYTES) {
        head[4..].copy_from_slice(&crc32fast::hash(rest).to_le_bytes());
    }
}
