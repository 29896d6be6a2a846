//! The walk of a datagram through a shard.
//!
//! Runs of plain metrics are taken here, the way of nearly every line: hash the raw key, find the
//! alias, see that it knows its cell of the open bucket, write the cell. What is left between them
//! goes to [`Shard::line`].
//!
//! Plain warning: there are two loops for one job. While the table fits the caches, a line is
//! finished before the next is read. Beyond, lines wait in a short queue until the memory they
//! need was asked for, so that their cache misses overlap; below the limit the queue would only
//! cost instructions.

use super::shard::{Fate, Shard};
use crate::context::{Alias, Kind, RawKey};
use crate::protocol::{self, ParseError, PlainMetric, RATE_MIN};

/// Remembered raw keys up to here (with their contexts and cells some 3 MB) are taken one by one.
const CACHED_ALIASES_MAX: usize = 16_384;
/// Lines whose memory is asked for together.
const AHEAD: usize = 32;

/// A plain metric that waits for its memory.
#[derive(Clone, Copy)]
struct Waiting<'a> {
    metric: PlainMetric<'a>,
    hash: u64,
    /// Its cell, as far as a hash can tell.
    cell: Option<u32>,
}

impl Shard {
    /// Reads every line of a datagram and records it. `sender` is what the sender's identity adds
    /// to the raw key, empty when nothing does. With `eol_required` a last line without newline is
    /// refused. `refused` is called with each line that does not follow the grammar, with its number in
    /// the datagram, from 1.
    pub fn datagram(
        &mut self,
        datagram: &[u8],
        sender: &[u8],
        eol_required: bool,
        mut refused: impl FnMut(u64, &[u8], ParseError),
    ) {
        let unterminated = if eol_required { after_last_newline(datagram) } else { b"" };
        let mut rest = &datagram[..datagram.len() - unterminated.len()];
        let first = self.counts().received;
        loop {
            rest = if self.contexts.aliases() <= CACHED_ALIASES_MAX {
                self.plain_lines(rest, sender)
            } else {
                self.plain_lines_ahead(rest, sender)
            };
            if rest.is_empty() {
                break;
            }
            let mut lines = protocol::lines(rest);
            let Some(line) = lines.next() else { break };
            rest = lines.rest();
            // Before anything else, so that the counts balance even if the line makes us panic.
            self.counts().received += 1;
            if let Fate::Refused(error) = self.line(line.bytes, sender) {
                refused(self.counts().received - first, line.bytes, error);
            }
        }
        if !unterminated.is_empty() {
            let lines = protocol::lines(unterminated).count() as u64;
            self.counts().received += lines;
            self.counts().unterminated += lines;
        }
    }

    /// Records plain metrics one after the other; returns what follows them.
    #[inline(never)]
    fn plain_lines<'a>(&mut self, mut rest: &'a [u8], sender: &[u8]) -> &'a [u8] {
        let options = self.settings.options;
        while let Some((metric, next)) = protocol::plain_metric(rest, options) {
            self.counts().received += 1;
            let raw = raw_key(&metric, sender);
            let hash = self.contexts.hash(&raw);
            self.plain(hash, &raw, &metric, sender);
            rest = next;
        }
        rest
    }

    /// As [`Shard::plain_lines`], for a table larger than the caches.
    #[inline(never)]
    fn plain_lines_ahead<'a>(&mut self, mut rest: &'a [u8], sender: &[u8]) -> &'a [u8] {
        let mut queue = [None::<Waiting<'_>>; AHEAD];
        loop {
            let mut waiting = 0;
            for place in &mut queue {
                let Some((metric, next)) = protocol::plain_metric(rest, self.settings.options)
                else {
                    break;
                };
                let hash = self.contexts.hash(&raw_key(&metric, sender));
                self.contexts.prefetch_alias(hash);
                *place = Some(Waiting { metric, hash, cell: None });
                waiting += 1;
                rest = next;
            }
            self.counts().received += waiting as u64;
            let lines = &mut queue[..waiting];
            for line in lines.iter_mut().flatten() {
                line.cell = self.contexts.prefetch_key(line.hash, self.epoch);
                if let Some(cell) = line.cell {
                    self.bucket.prefetch_cell(line.metric.kind, cell);
                }
            }
            for line in lines.iter().flatten() {
                if let Some(cell) = line.cell {
                    self.bucket.prefetch_samples(line.metric.kind, cell);
                }
            }
            for line in lines.iter().flatten() {
                let raw = raw_key(&line.metric, sender);
                self.plain(line.hash, &raw, &line.metric, sender);
            }
            if waiting < AHEAD {
                return rest;
            }
        }
    }

    /// Records a plain metric.
    #[inline(always)]
    fn plain(&mut self, hash: u64, raw: &RawKey<'_>, metric: &PlainMetric<'_>, sender: &[u8]) {
        // No closure here: the compiler keeps one out of line, and calling it costs every line.
        let written = match self.contexts.alias(hash, raw) {
            Some(Alias { epoch, cell, .. }) if *epoch == self.epoch => {
                let cell = *cell;
                self.write(cell, metric)
            }
            _ => false,
        };
        if !written {
            self.unusual(hash, metric, sender);
        }
    }

    /// Writes the cell of a known metric. False, and nothing is counted, when something about the
    /// line is not ordinary.
    #[inline(always)]
    fn write(&mut self, cell: u32, metric: &PlainMetric<'_>) -> bool {
        let scale = match metric.rate {
            1.0 => 1.0,
            rate if (RATE_MIN..1.0).contains(&rate) => 1.0 / rate,
            _ => return false,
        };
        if self.settings.histogram_copy.is_some() && Kind::from(metric.kind) == Kind::Histogram {
            return false;
        }
        let write_order = self.write_orders.advance();
        let written =
            self.bucket.record(metric.kind, cell, metric.value, metric.rate, scale, write_order);
        if written {
            let counts = &mut self.bucket.counts;
            counts.values += 1;
            counts.metrics += 1;
        }
        written
    }

    /// First sight, first touch in this bucket, a rate out of range, a sum out of range.
    #[cold]
    #[inline(never)]
    fn unusual(&mut self, hash: u64, metric: &PlainMetric<'_>, sender: &[u8]) {
        let fate = self.hashed_metric(&(*metric).into(), sender, hash);
        self.count_fate(fate);
    }
}

#[inline(always)]
fn raw_key<'a>(metric: &PlainMetric<'a>, sender: &'a [u8]) -> RawKey<'a> {
    RawKey { kind: metric.kind, name: metric.name, tags: metric.tags, origin: sender }
}

fn after_last_newline(datagram: &[u8]) -> &[u8] {
    let end = memchr::memrchr(b'\n', datagram).map_or(0, |newline| newline + 1);
    &datagram[end..]
}
