//! The walk of a datagram through a shard.
//!
//! Runs of plain metrics are taken here, the way of nearly every line: hash the raw key, find the
//! alias, see that it knows its cell of the open bucket, write the cell. What is left between them
//! goes to [`Shard::line`], and so does every line whose raw key is not known: the reader of plain
//! metrics does not look for what would make a name none, so only bytes that the full reader has
//! taken for a key before are trusted.
//!
//! Plain warning: there are two loops for one job. While the table fits the caches, a line is
//! finished before the next is read. Beyond, and where lines are long (so are their keys, and a thousand of
//! them fill a cache), lines wait in a short queue until the memory they need was asked for, so that their
//! cache misses overlap; otherwise the queue would only cost instructions.

use super::shard::{Fate, Shard};
use super::write_order::WriteOrder;
use super::writes::Write;
use crate::context::{Alias, RawKey};
use crate::protocol::processor::{self, Work};
use crate::protocol::{self, MetricType, ParseError, PlainLines, PlainMetric, WINDOW_BYTES};

/// Remembered raw keys up to here (with their contexts and cells some 3 MB) are taken one by one.
const CACHED_ALIASES_MAX: usize = 16_384;
/// Lines whose memory is asked for together.
const AHEAD: usize = 32;

/// A plain metric that waits for its memory.
#[derive(Clone, Copy)]
struct Waiting<'a> {
    metric: PlainMetric<'a>,
    hash: u64,
    /// The mark behind its line.
    end: usize,
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
            self.write_orders.announce(WINDOW_BYTES);
            loop {
                if self.contexts.aliases() <= CACHED_ALIASES_MAX && !lines.are_long() {
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
        let seeds = self.contexts.seeds(sender);
        while let Some(metric) = reader.metric() {
            let raw = raw_key(&metric, sender);
            let hash = raw.hash_from(&seeds);
            if !self.plain(hash, &raw, &metric) {
                let line = reader.between(reader.start_of(&metric), reader.mark());
                self.unusual(hash, metric, line, walk);
            }
        }
        self.bucket.apply(&mut self.writes);
        *lines = reader;
    }

    /// As [`Shard::plain_lines`], for a table larger than the caches.
    #[inline(always)]
    fn plain_lines_ahead(&mut self, lines: &mut PlainLines<'_, '_>, walk: &mut Walk<'_>) {
        let mut reader = *lines;
        let seeds = self.contexts.seeds(walk.sender);
        let are_long = reader.are_long();
        let mut queue = [None::<Waiting<'_>>; AHEAD];
        loop {
            let mut waiting = 0;
            for place in &mut queue {
                let Some(metric) = reader.metric() else { break };
                let hash = raw_key(&metric, walk.sender).hash_from(&seeds);
                self.contexts.prefetch_alias(hash);
                *place = Some(Waiting { metric, hash, end: reader.mark() });
                waiting += 1;
            }
            let taken = &queue[..waiting];
            for line in taken.iter().flatten() {
                self.contexts.prefetch_key(line.hash, are_long);
            }
            for line in taken.iter().flatten() {
                let raw = raw_key(&line.metric, walk.sender);
                if !self.plain(line.hash, &raw, &line.metric) {
                    let Waiting { metric, hash, end } = *line;
                    self.unusual(hash, metric, reader.between(reader.start_of(&metric), end), walk);
                }
            }
            self.bucket.prefetch(&self.writes);
            self.bucket.apply(&mut self.writes);
            if waiting < AHEAD {
                break;
            }
        }
        *lines = reader;
    }

    /// Lets what a plain metric writes wait if its raw key knows its cell; else false.
    #[inline(always)]
    fn plain(&mut self, hash: u64, raw: &RawKey<'_>, metric: &PlainMetric<'_>) -> bool {
        // No closure here: the compiler keeps one out of line, and calling it costs every line.
        match self.contexts.known(hash, raw) {
            Some(Alias { epoch, cell, .. }) if epoch == self.epoch => self.write(cell, metric),
            _ => false,
        }
    }

    /// Lets the write of a known metric wait. False, and nothing is counted, when its kind may not.
    #[inline(always)]
    fn write(&mut self, cell: u32, metric: &PlainMetric<'_>) -> bool {
        let PlainMetric { kind, value, rate, .. } = *metric;
        let write_order = self.write_orders.advance_announced();
        // Its numbers, since a whole one would have to be in memory for the call, and the processor would
        // wait for it there.
        self.writes.push(kind, Write { value, rate, cell, write_order })
            || self.push_again(kind, value, rate, cell, write_order)
    }

    /// Makes room in the list of this kind; false when none of it may wait.
    #[cold]
    #[inline(never)]
    fn push_again(
        &mut self,
        kind: MetricType,
        value: f64,
        rate: f64,
        cell: u32,
        write_order: WriteOrder,
    ) -> bool {
        self.bucket.apply(&mut self.writes);
        self.writes.push(kind, Write { value, rate, cell, write_order })
    }

    /// First touch in this bucket, a histogram that is copied; or first sight, then the full reader decides
    /// what the line is.
    #[cold]
    #[inline(never)]
    fn unusual(&mut self, hash: u64, metric: PlainMetric<'_>, line: &[u8], walk: &mut Walk<'_>) {
        // It may write the same cell as a line before it.
        self.bucket.apply(&mut self.writes);
        self.counts().received += 1;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::{Bucket, ShardSettings};
    use crate::context::Rules;
    use proptest::prelude::*;
    use proptest::sample::select;
    use std::sync::Arc;
    use std::time::Duration;

    fn shard(copied: bool) -> Shard {
        let state = ahash::RandomState::with_seeds(1, 2, 3, 4);
        let now = Duration::from_secs(1_000);
        let histogram_copy = copied.then(|| Box::from(&b"copy."[..]));
        let settings = ShardSettings { histogram_copy, ..ShardSettings::default() };
        Shard::new(settings, Arc::new(Rules::default()), state, now)
    }

    /// All that a bucket holds; and its cells in the order in which they were last written.
    fn shown(bucket: &Bucket) -> (String, Vec<(u32, u32)>) {
        let mut text = format!("{:?}", bucket.counts);
        let mut orders = Vec::new();
        for cell in &bucket.counters {
            text += &format!("\nc {} {}", cell.context, cell.sum);
            orders.push((cell.write_order, cell.context));
        }
        for cell in &bucket.gauges {
            text += &format!("\ng {} {}", cell.context, cell.value);
            orders.push((cell.write_order, cell.context));
        }
        for cell in &bucket.histograms {
            text += &format!("\nh {} {:?}", cell.context, cell.parts());
            orders.push((cell.write_order, cell.context));
        }
        for cell in &bucket.distributions {
            text += &format!("\nd {} {:?}", cell.context, cell.sketch);
        }
        for cell in &bucket.sets {
            text += &format!("\ns {} {:?}", cell.context, cell.count());
        }
        orders.sort_unstable();
        (text, orders)
    }

    fn line() -> impl Strategy<Value = String> {
        let value =
            select(&["0", "1", "2.5", "33", "12345678901", "-7", "1e3", "1e308", "1:2"][..]);
        let kind = select(&["c", "g", "h", "ms", "d", "s"][..]);
        let rate = select(&["", "", "", "|@0.5", "|@0.3", "|@2", "|@0", "|@x"][..]);
        let tags = select(&["", "|#a:1", "|#env:prod,service:checkout,pod:web-0000007"][..]);
        let names = select(&["a", "b", "http.request.duration", "_e{", ""][..]);
        (names, value, kind, rate, tags).prop_map(|(name, value, kind, rate, tags)| {
            format!("{name}:{value}|{kind}{rate}{tags}")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_datagram_is_its_lines_one_by_one(
            lines in prop::collection::vec(line(), 1..400),
            many in select(&[1, 1, 1, CACHED_ALIASES_MAX + 1][..]),
            copied in any::<bool>(),
            long in select(&[0, 0, 500][..]),
        ) {
            let (mut whole, mut single) = (shard(copied), shard(copied));
            let lines: Vec<String> =
                lines.into_iter().map(|line| line.replace("service", &"s".repeat(long + 7))).collect();
            let others: String = (0..many).map(|n| format!("n{n}:1|c\n")).collect();
            for text in [others, lines.join("\n"), lines.join("\n")] {
                let mut refused = 0;
                whole.datagram(text.as_bytes(), b"", false, |_, _, _| refused += 1);
                for line in text.lines() {
                    single.counts().received += 1;
                    if matches!(single.line(line.as_bytes(), b""), Fate::Refused(_)) {
                        refused -= 1;
                    }
                }
                prop_assert_eq!(refused, 0);
            }
            let close = |shard: &mut Shard| {
                let mut closed = shard.close(shard.bucket_end(), Bucket::default());
                closed.counters.retain(|cell| cell.sum != 1.0);
                closed
            };
            let (whole, single) = (shown(&close(&mut whole)), shown(&close(&mut single)));
            prop_assert_eq!(whole.0, single.0);
            let contexts = |orders: Vec<(u32, u32)>| {
                orders.into_iter().map(|(_, context)| context).collect::<Vec<_>>()
            };
            prop_assert_eq!(contexts(whole.1), contexts(single.1));
        }
    }
}
