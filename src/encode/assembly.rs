//! Items in, payloads out: the part that all encoders share.
//!
//! Clever: how far the next item shrinks is not known before. Items gather uncompressed and go to the
//! compressor in large pieces; what is out so far plus the worst case of all that is not bounds the
//! payload. Only when that bound reaches the limit is the compressor flushed, which makes the size
//! exact and the room visible again; with little room left the payload is closed instead. So each item
//! is written and compressed once, a payload takes a few flushes, and no limit is ever exceeded.

use bytes::Bytes;

use super::compress::{Compression, Compressor};
use super::limits::{Bounds, PayloadLimits};
use super::{ContentEncoding, Payload, Route};
use crate::protobuf::{BYTES, head, key};

/// Bytes that gather before they go to the compressor: few enough to stay in the first cache.
const PIECE_BYTES: usize = 16 * 1024;
/// A payload whose compressed room fell to this part of the limit is closed rather than flushed again.
const ROOM_PART_MIN: usize = 16;

/// What encoders left out or changed since the last `finish`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeCounts {
    /// Items that alone exceed a limit (`ItemTooBig` in the Agent).
    pub items_too_big: u64,
    /// Points inside those items; for anything but series the items again.
    pub points_too_big: u64,
    /// Runs of invalid UTF-8 replaced by U+FFFD.
    pub invalid_utf8: u64,
    /// Points left out because they are NaN or infinite.
    pub points_not_finite: u64,
    /// Items lost because the compressor failed, which only lack of memory explains.
    pub items_failed: u64,
}

impl std::ops::AddAssign for EncodeCounts {
    fn add_assign(&mut self, other: EncodeCounts) {
        self.items_too_big += other.items_too_big;
        self.points_too_big += other.points_too_big;
        self.invalid_utf8 += other.invalid_utf8;
        self.points_not_finite += other.points_not_finite;
        self.items_failed += other.items_failed;
    }
}

/// Takes finished payloads.
pub type Sink<'a> = &'a mut dyn FnMut(Payload);

/// What stands before an item, depending on its place in the payload.
#[derive(Clone, Copy)]
pub(super) struct Glue<'a> {
    pub(super) first: &'a [u8],
    pub(super) next: &'a [u8],
}

/// The payload being built, and the room for all later ones.
pub(crate) struct Assembly {
    route: Route,
    encoding: ContentEncoding,
    bounds: Bounds,
    compressor: Compressor,
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    built_at: u64,
    /// Written, not yet given to the compressor.
    raw: Vec<u8>,
    /// What came out of the compressor.
    out: Vec<u8>,
    /// Bytes of this payload that the compressor got.
    fed: usize,
    /// Bytes in `out` after the last flush, and bytes fed since.
    settled: usize,
    unsettled: usize,
    items: usize,
    points: usize,
    failed: bool,
    pub(super) counts: EncodeCounts,
}

impl Assembly {
    /// Every body is `prefix`, items with their glue, `suffix`.
    pub(super) fn new(
        route: Route,
        compression: Compression,
        limits: &PayloadLimits,
        prefix: Vec<u8>,
        suffix: Vec<u8>,
    ) -> std::io::Result<Assembly> {
        Ok(Assembly {
            route,
            encoding: compression.encoding(),
            bounds: limits.of(route),
            compressor: Compressor::new(compression)?,
            prefix,
            suffix,
            built_at: 0,
            raw: Vec::new(),
            out: Vec::new(),
            fed: 0,
            settled: 0,
            unsettled: 0,
            items: 0,
            points: 0,
            failed: false,
            counts: EncodeCounts::default(),
        })
    }

    /// Sets the time that the next payloads carry.
    pub(super) fn begin(&mut self, built_at: u64) {
        self.built_at = built_at;
    }

    /// The most points of one item.
    pub(super) fn points_max(&self) -> usize {
        self.bounds.points
    }

    /// Adds one item, closing the payload before it when there is no room.
    pub(super) fn add(&mut self, glue: Glue<'_>, item: &[u8], points: usize, sink: Sink<'_>) {
        if let Some(body) = self.start(glue, item.len(), points, sink) {
            body.extend_from_slice(item);
        }
    }

    /// Adds a message as one more of the repeated field 1.
    pub(super) fn add_message(&mut self, message: &[u8], points: usize, sink: Sink<'_>) {
        if let Some(body) = self.start_message(message.len(), points, sink) {
            body.extend_from_slice(message);
        }
    }

    /// As [`Assembly::start`], for a message that is one more of the repeated field 1.
    pub(super) fn start_message(
        &mut self,
        length: usize,
        points: usize,
        sink: Sink<'_>,
    ) -> Option<&mut Vec<u8>> {
        let (head, head_length) = head(key(1, BYTES), length);
        let head = &head[..head_length];
        self.start(Glue { first: head, next: head }, length, points, sink)
    }

    /// Makes room for one item of `length` bytes, closing the payload before it when there is none.
    /// Returns where the caller appends exactly so many; none when it exceeds a limit by itself.
    pub(super) fn start(
        &mut self,
        glue: Glue<'_>,
        length: usize,
        points: usize,
        sink: Sink<'_>,
    ) -> Option<&mut Vec<u8>> {
        if self.raw.len() >= PIECE_BYTES {
            self.feed();
        }
        if self.items > 0 && !self.has_room(glue.next.len() + length, points) {
            self.close(sink);
        }
        if self.items == 0 {
            let alone = self.prefix.len() + glue.first.len() + length + self.suffix.len();
            if alone > self.bounds.uncompressed_bytes || points > self.bounds.points {
                self.counts.items_too_big += 1;
                self.counts.points_too_big += points as u64;
                return None;
            }
            self.raw.extend_from_slice(&self.prefix);
            self.raw.extend_from_slice(glue.first);
        } else {
            self.raw.extend_from_slice(glue.next);
        }
        self.items += 1;
        self.points += points;
        Some(&mut self.raw)
    }

    /// Hands over the payload begun, if any, and the counts.
    pub(crate) fn finish(&mut self, sink: Sink<'_>) -> EncodeCounts {
        self.close(sink);
        std::mem::take(&mut self.counts)
    }

    fn has_room(&mut self, added: usize, points: usize) -> bool {
        let bytes = self.fed + self.raw.len() + added + self.suffix.len();
        if bytes > self.bounds.uncompressed_bytes || self.points + points > self.bounds.points {
            return false;
        }
        if self.fits(added) {
            return true;
        }
        self.feed();
        let flushed = self.compressor.flush(&mut self.out);
        self.failed |= flushed.is_err();
        self.settled = self.out.len();
        self.unsettled = 0;
        let room = self.bounds.compressed_bytes.saturating_sub(self.settled);
        room >= self.bounds.compressed_bytes / ROOM_PART_MIN && self.fits(added)
    }

    /// True when the payload would keep the compressed limit even if nothing shrank any more.
    fn fits(&self, added: usize) -> bool {
        let pending = self.unsettled + self.raw.len() + added + self.suffix.len();
        self.settled + self.compressor.bound(pending) <= self.bounds.compressed_bytes
    }

    fn feed(&mut self) {
        let written = self.compressor.write(&self.raw, &mut self.out);
        self.failed |= written.is_err();
        self.fed += self.raw.len();
        self.unsettled += self.raw.len();
        self.raw.clear();
    }

    fn close(&mut self, sink: Sink<'_>) {
        if self.items == 0 {
            return;
        }
        self.raw.extend_from_slice(&self.suffix);
        self.feed();
        let finished = self.compressor.finish(&mut self.out);
        self.failed |= finished.is_err();
        if self.failed {
            self.counts.items_failed += self.items as u64;
            // A compressor that cannot even reset fails the next payload too, which is counted again.
            let _ = self.compressor.reset();
        } else if self.out.len() > self.bounds.compressed_bytes {
            // One item only: it was let in to see how far it shrinks.
            self.counts.items_too_big += self.items as u64;
            self.counts.points_too_big += self.points as u64;
        } else {
            sink(Payload {
                route: self.route,
                body: Bytes::copy_from_slice(&self.out),
                encoding: self.encoding,
                items: self.items,
                points: self.points,
                uncompressed_bytes: self.fed,
                built_at: self.built_at,
            });
        }
        self.out.clear();
        (self.fed, self.settled, self.unsettled) = (0, 0, 0);
        (self.items, self.points, self.failed) = (0, 0, false);
    }
}
