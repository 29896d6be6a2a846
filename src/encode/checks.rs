//! Service checks, as a JSON array for `/api/v1/check_run`.

use super::assembly::{Assembly, EncodeCounts, Glue};
use super::compress::Compression;
use super::limits::PayloadLimits;
use super::text::{put_json, put_json_array};
use super::{Payload, Route};
use crate::aggregate::CheckRecord;

/// Writes service checks into payloads.
pub struct CheckEncoder {
    assembly: Assembly,
    item: Vec<u8>,
}

impl CheckEncoder {
    /// # Errors
    /// When zstd refuses its level.
    pub fn new(compression: Compression, limits: &PayloadLimits) -> std::io::Result<CheckEncoder> {
        let (prefix, suffix) = (b"[".to_vec(), b"]".to_vec());
        let assembly = Assembly::new(Route::ServiceChecks, compression, limits, prefix, suffix)?;
        Ok(CheckEncoder { assembly, item: Vec::new() })
    }

    /// Starts a flush: payloads from here on are built at this second.
    pub fn begin(&mut self, built_at: u64) {
        self.assembly.begin(built_at);
    }

    /// Adds one check; gives `sink` the payload before it when that is full.
    pub fn push(&mut self, check: &CheckRecord, sink: &mut dyn FnMut(Payload)) {
        self.item.clear();
        write(&mut self.item, check, &mut self.assembly.counts.invalid_utf8);
        self.assembly.add(Glue { first: b"", next: b"," }, &self.item, 1, sink);
    }

    /// Gives `sink` the last payload, if there is one, and returns what was left out since the last
    /// `finish`.
    pub fn finish(&mut self, sink: &mut dyn FnMut(Payload)) -> EncodeCounts {
        self.assembly.finish(sink)
    }
}

/// All six fields, always; no tags are `null`, as the Agent writes them.
fn write(item: &mut Vec<u8>, check: &CheckRecord, replaced: &mut u64) {
    item.extend_from_slice(br#"{"check":"#);
    put_json(item, &check.name, replaced);
    item.extend_from_slice(br#","host_name":"#);
    put_json(item, &check.host, replaced);
    item.extend_from_slice(br#","timestamp":"#);
    item.extend_from_slice(itoa::Buffer::new().format(check.timestamp).as_bytes());
    item.extend_from_slice(br#","status":"#);
    item.extend_from_slice(itoa::Buffer::new().format(check.status as u8).as_bytes());
    item.extend_from_slice(br#","message":"#);
    put_json(item, &check.message, replaced);
    item.extend_from_slice(br#","tags":"#);
    if check.tags.is_empty() {
        item.extend_from_slice(b"null");
    } else {
        put_json_array(item, check.tags.iter().map(AsRef::as_ref), replaced);
    }
    item.push(b'}');
}
