//! An independent eye: the messages of a part as prost derives them, and records made of them.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct Head {
    #[prost(bytes = "vec", tag = "1")]
    pub sender: Vec<u8>,
    #[prost(string, tag = "2")]
    pub host: String,
    #[prost(uint64, tag = "3")]
    pub start: u64,
    #[prost(uint32, tag = "4")]
    pub interval: u32,
    #[prost(uint32, tag = "5")]
    pub partition: u32,
    #[prost(uint32, tag = "6")]
    pub partitions: u32,
    #[prost(uint32, tag = "7")]
    pub sequence: u32,
    #[prost(uint32, tag = "8")]
    pub cells: u32,
    #[prost(uint32, tag = "9")]
    pub raw_bytes: u32,
    #[prost(uint64, tag = "10")]
    pub built_ms: u64,
    #[prost(message, repeated, tag = "11")]
    pub styles: Vec<Style>,
    /// Of a version to come.
    #[prost(string, tag = "99")]
    pub unknown: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Style {
    #[prost(string, repeated, tag = "1")]
    pub aggregates: Vec<String>,
    #[prost(double, repeated, tag = "2")]
    pub percentiles: Vec<f64>,
    #[prost(bool, tag = "3")]
    pub as_count: bool,
    #[prost(string, tag = "4")]
    pub unit: String,
    #[prost(fixed32, tag = "90")]
    pub unknown: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Cells {
    #[prost(message, repeated, tag = "1")]
    pub cell: Vec<Cell>,
    #[prost(uint32, tag = "3")]
    pub unknown: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Cell {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub key: Option<Vec<u8>>,
    #[prost(uint32, tag = "2")]
    pub stamp: u32,
    #[prost(uint32, tag = "3")]
    pub style: u32,
    #[prost(oneof = "Value", tags = "4, 5, 6, 7")]
    pub value: Option<Value>,
    #[prost(fixed32, tag = "2000")]
    pub unknown: u32,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    #[prost(double, tag = "4")]
    Counter(f64),
    #[prost(double, tag = "5")]
    Gauge(f64),
    #[prost(message, tag = "6")]
    Set(Set),
    #[prost(message, tag = "7")]
    Histogram(Histogram),
}

#[derive(Clone, PartialEq, Message)]
pub struct Set {
    #[prost(fixed64, repeated, tag = "1")]
    pub hashes: Vec<u64>,
    #[prost(bytes = "vec", tag = "2")]
    pub registers: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Histogram {
    #[prost(double, repeated, tag = "1")]
    pub values: Vec<f64>,
    #[prost(double, repeated, tag = "2")]
    pub scales: Vec<f64>,
    #[prost(uint64, tag = "3")]
    pub count: u64,
    #[prost(double, tag = "4")]
    pub sum: f64,
    #[prost(double, tag = "5")]
    pub min: f64,
    #[prost(double, tag = "6")]
    pub max: f64,
    #[prost(sint32, repeated, tag = "7")]
    pub k: Vec<i32>,
    #[prost(uint64, repeated, tag = "8")]
    pub n: Vec<u64>,
}

/// The head of a sound part whose cells are these.
pub fn head(cells: &Cells) -> Head {
    Head {
        sender: vec![7; 16],
        host: "web-1".to_owned(),
        start: 1_700_000_000,
        interval: 10,
        partition: 3,
        partitions: 64,
        cells: cells.cell.len() as u32,
        raw_bytes: cells.encoded_len() as u32,
        built_ms: 1_700_000_010_123,
        ..Head::default()
    }
}

/// A record with these flags.
pub fn record(flags: u8, content: &[u8]) -> Vec<u8> {
    let mut record = b"WG\x01".to_vec();
    record.push(flags);
    record.extend(crc32fast::hash(content).to_le_bytes());
    record.extend(content);
    record
}

/// A record of an uncompressed part.
pub fn part(head: &Head, cells: &Cells) -> Vec<u8> {
    record(0, &[head.encode_length_delimited_to_vec(), cells.encode_to_vec()].concat())
}

/// The head and the cells of a record.
pub fn read(record: &[u8]) -> (Head, Cells) {
    let (seal, mut content) = record.split_at(8);
    assert_eq!(&seal[..3], b"WG\x01");
    assert_eq!(seal[4..], crc32fast::hash(content).to_le_bytes());
    let head = Head::decode_length_delimited(&mut content).expect("a head");
    let body = match seal[3] {
        0 => content.to_vec(),
        #[cfg(feature = "zstd")]
        1 => zstd::stream::decode_all(content).expect("a frame"),
        flags => panic!("flags {flags}"),
    };
    assert_eq!(body.len(), head.raw_bytes as usize);
    let cells = Cells::decode(&body[..]).expect("cells");
    assert_eq!(cells.cell.len(), head.cells as usize);
    (head, cells)
}
