//! The walk of a datagram through a shard.
//!
//! Runs of plain metrics are taken here, the way of nearly every line: hash the raw key, find the
//! alias, see that it knows its cell of the open bucket, write the cell. What is left between them
//! goes to [`Shard::line`], and so does every line whose raw key is not known: the reader of plain
//! metrics does not look for what would make a name none, so only bytes that the full reader has
//! taken for a key before are trusted.
//!
//! Plain warning: there are two loops for one job. While the table fits the caches, a line is
//! finished before the next is read. Beyond, lines wait in a short queue until the memory they
//! need was asked for, so that their cache misses overlap; below the limit the queue would only
//! cost instructions.

use super::shard::{Fate, Shard};
use crate::context::{Alias, Kind, RawKey};
use crate::protocol::processor::{self, Work};
use crate::protocol::{self, ParseError, PlainLines, PlainMetric, RATE_MIN};

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
    /// Marks of its line.
    line: (usize, usize),
}

/// What a datagram brings along, and who hears of its bad lines.
struct Walk<'a> {
    sender: &'a [u8],
    /// Lines received before it.
    before: u64,
    refused: &'a mut dyn FnMut(u64, &[u8], ParseError),
}

/// [`Shard::plain_lines`].
struct OneByOne<'w, 'a, 's, 'd> {
    shard: &'w mut Shard,
    lines: &'w mut PlainLines<'a, 's>,
    walk: &'w mut Walk<'d>,
}

impl Work for OneByOne<'_, '_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.shard.plain_lines(self.lines, self.walk);
    }
}

/// [`Shard::plain_lines_ahead`].
struct Ahead<'w, 'a, 's, 'd> {
    shard: &'w mut Shard,
    lines: &'w mut PlainLines<'a, 's>,
    walk: &'w mut Walk<'d>,
}

impl Work for Ahead<'_, '_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.shard.plain_lines_ahead(self.lines, self.walk);
    }
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
        let rest = &datagram[..datagram.len() - unterminated.len()];
        let mut walk = Walk { sender, before: self.counts().received, refused: &mut refused };
        self.lines(rest, &mut walk);
        if !unterminated.is_empty() {
            let lines = protocol::lines(unterminated).count() as u64;
            self.counts().received += lines;
            self.counts().unterminated += lines;
        }
    }

    fn lines(&mut self, mut rest: &[u8], walk: &mut Walk<'_>) {
        // Lost, and made anew, when a line makes us panic.
        let mut separators = std::mem::take(&mut self.separators);
        while !rest.is_empty() {
            let mut lines = separators.read(rest, self.settings.options);
            loop {
                if self.contexts.aliases() <= CACHED_ALIASES_MAX {
                    processor::run(OneByOne { shard: self, lines: &mut lines, walk });
                } else {
                    processor::run(Ahead { shard: self, lines: &mut lines, walk });
                }
                let Some(line) = lines.line() else { break };
                self.any_line(line, walk);
            }
            rest = lines.rest();
        }
        self.separators = separators;
    }

    /// A line for the full reader.
    fn any_line(&mut self, line: &[u8], walk: &mut Walk<'_>) {
        // Before anything else, so that the counts balance even if the line makes us panic.
        self.counts().received += 1;
        self.read_line(line, walk);
    }

    fn read_line(&mut self, line: &[u8], walk: &mut Walk<'_>) {
        if let Fate::Refused(error) = self.line(line, walk.sender) {
            (walk.refused)(self.counts().received - walk.before, line, error);
        }
    }

    /// Records plain metrics one after the other.
    #[inline(always)]
    fn plain_lines(&mut self, lines: &mut PlainLines<'_, '_>, walk: &mut Walk<'_>) {
        // A copy, which no other code can reach, stays in registers.
        let (mut reader, sender) = (*lines, walk.sender);
        loop {
            let from = reader.mark();
            let Some(metric) = reader.metric() else { break };
            self.counts().received += 1;
            let raw = raw_key(&metric, sender);
            let hash = self.contexts.hash(&raw);
            if !self.plain(hash, &raw, &metric) {
                let line = reader.between(from, reader.mark());
                self.unusual(hash, metric, line, walk);
            }
        }
        *lines = reader;
    }

    /// As [`Shard::plain_lines`], for a table larger than the caches.
    #[inline(always)]
    fn plain_lines_ahead(&mut self, lines: &mut PlainLines<'_, '_>, walk: &mut Walk<'_>) {
        let mut reader = *lines;
        let mut queue = [None::<Waiting<'_>>; AHEAD];
        loop {
            let mut waiting = 0;
            for place in &mut queue {
                let from = reader.mark();
                let Some(metric) = reader.metric() else { break };
                let hash = self.contexts.hash(&raw_key(&metric, walk.sender));
                self.contexts.prefetch_alias(hash);
                *place = Some(Waiting { metric, hash, cell: None, line: (from, reader.mark()) });
                waiting += 1;
            }
            let taken = &mut queue[..waiting];
            for line in taken.iter_mut().flatten() {
                line.cell = self.contexts.prefetch_key(line.hash, self.epoch);
                if let Some(cell) = line.cell {
                    self.bucket.prefetch_cell(line.metric.kind, cell);
                }
            }
            for line in taken.iter().flatten() {
                if let Some(cell) = line.cell {
                    self.bucket.prefetch_samples(line.metric.kind, cell);
                }
            }
            for line in taken.iter().flatten() {
                self.counts().received += 1;
                let raw = raw_key(&line.metric, walk.sender);
                if !self.plain(line.hash, &raw, &line.metric) {
                    let (from, to) = line.line;
                    self.unusual(line.hash, line.metric, reader.between(from, to), walk);
                }
            }
            if waiting < AHEAD {
                break;
            }
        }
        *lines = reader;
    }

    /// Records a plain metric whose raw key knows its cell; else false.
    #[inline(always)]
    fn plain(&mut self, hash: u64, raw: &RawKey<'_>, metric: &PlainMetric<'_>) -> bool {
        // No closure here: the compiler keeps one out of line, and calling it costs every line.
        match self.contexts.known(hash, raw) {
            Some(Alias { epoch, cell, .. }) if epoch == self.epoch => self.write(cell, metric),
            _ => false,
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
        let copies = self.settings.histogram_copy.is_some();
        if copies && Kind::from(metric.kind) == Kind::Histogram {
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

    /// First touch in this bucket, a rate out of range, a sum out of range; or first sight, then the full
    /// reader decides what the line is.
    #[cold]
    #[inline(never)]
    fn unusual(&mut self, hash: u64, metric: PlainMetric<'_>, line: &[u8], walk: &mut Walk<'_>) {
        if self.contexts.known(hash, &raw_key(&metric, walk.sender)).is_some() {
            let fate = self.hashed_metric(&metric.into(), walk.sender, hash);
            self.count_fate(fate);
        } else {
            // One carriage return belongs to the line's end.
            self.read_line(line.strip_suffix(b"\r").unwrap_or(line), walk);
        }
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
