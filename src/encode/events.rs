//! Events, as JSON for `/intake/`: one object per payload, events grouped by source type.

use std::borrow::Cow;

use super::assembly::{Assembly, EncodeCounts, Glue};
use super::compress::Compression;
use super::limits::PayloadLimits;
use super::text::{put_json, put_json_array, put_json_str};
use super::{Payload, Route};
use crate::aggregate::EventRecord;
use crate::context::utf8;

/// The group of events that name no source type.
const NO_SOURCE: &str = "api";

/// Writes events into payloads.
pub struct EventEncoder {
    assembly: Assembly,
    item: Vec<u8>,
}

impl EventEncoder {
    /// `hostname` is that of this machine (`internalHostname`), possibly empty.
    ///
    /// # Errors
    /// When zstd refuses its level.
    pub fn new(
        compression: Compression,
        limits: &PayloadLimits,
        hostname: &[u8],
    ) -> std::io::Result<EventEncoder> {
        // The key travels in the header; the field has to be there all the same.
        let mut prefix = br#"{"apiKey":"","internalHostname":"#.to_vec();
        put_json(&mut prefix, hostname, &mut 0);
        prefix.extend_from_slice(br#","events":{"#);
        let assembly = Assembly::new(Route::Events, compression, limits, prefix, b"]}}".to_vec())?;
        Ok(EventEncoder { assembly, item: Vec::new() })
    }

    /// Starts a flush: payloads from here on are built at this second.
    pub fn begin(&mut self, built_at: u64) {
        self.assembly.begin(built_at);
    }

    /// Adds all events of a flush, sorted by source type and otherwise in their order, and ends the last
    /// payload with them: a group must not come twice in one object, so events cannot trickle in. A
    /// group may go on in the next payload. Returns what was left out.
    pub fn encode(
        &mut self,
        events: &[EventRecord],
        sink: &mut dyn FnMut(Payload),
    ) -> EncodeCounts {
        let mut sorted: Vec<&EventRecord> = events.iter().collect();
        sorted.sort_by(|left, right| group(left).cmp(&group(right)));
        let (mut open, mut next) = (Vec::new(), Vec::new());
        let mut previous = None;
        for event in sorted {
            let group = group(event);
            if previous.as_ref() != Some(&group) {
                open.clear();
                put_json_str(&mut open, &group);
                previous = Some(group);
                open.extend_from_slice(b":[");
                next.clear();
                next.extend_from_slice(b"],");
                next.extend_from_slice(&open);
            }
            self.item.clear();
            write(&mut self.item, event, &mut self.assembly.counts.invalid_utf8);
            self.assembly.add(Glue { first: &open, next: &next }, &self.item, 1, sink);
            // Its group is open now, or it was dropped and the next one opens a payload.
            next.clear();
            next.push(b',');
        }
        self.assembly.finish(sink)
    }
}

/// The key an event stands under, as text: two that read the same once repaired are one.
fn group(event: &EventRecord) -> Cow<'_, str> {
    if event.source_type.is_empty() {
        return Cow::Borrowed(NO_SOURCE);
    }
    // Repairs are counted where the field itself is written.
    utf8(&event.source_type, &mut 0)
}

/// Empty fields are left out, but for text and host. No `event_type`: the wire has no field for it.
fn write(item: &mut Vec<u8>, event: &EventRecord, replaced: &mut u64) {
    item.extend_from_slice(br#"{"msg_title":"#);
    put_json(item, &event.title, replaced);
    item.extend_from_slice(br#","msg_text":"#);
    put_json(item, &event.text, replaced);
    item.extend_from_slice(br#","timestamp":"#);
    item.extend_from_slice(itoa::Buffer::new().format(event.timestamp).as_bytes());
    item.extend_from_slice(br#","priority":"#);
    put_json_str(item, event.priority.word());
    item.extend_from_slice(br#","host":"#);
    put_json(item, &event.host, replaced);
    if !event.tags.is_empty() {
        item.extend_from_slice(br#","tags":"#);
        put_json_array(item, event.tags.iter().map(AsRef::as_ref), replaced);
    }
    item.extend_from_slice(br#","alert_type":"#);
    put_json_str(item, event.alert_type.word());
    if !event.aggregation_key.is_empty() {
        item.extend_from_slice(br#","aggregation_key":"#);
        put_json(item, &event.aggregation_key, replaced);
    }
    if !event.source_type.is_empty() {
        item.extend_from_slice(br#","source_type_name":"#);
        put_json(item, &event.source_type, replaced);
    }
    item.push(b'}');
}
