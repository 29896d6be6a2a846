//! Sums of stats for the vendor.
//!
//! Its intake keeps one value per host, series and second: of two processes that count the same spans, one
//! would vanish. So their groups are added up, per 10 s, and every sum is sent once, when no more is to
//! come. Memory is bounded by [`BYTES_MAX`]; what finds no room is refused, which the caller counts.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ahash::RandomState;
use bytes::Bytes;

use super::encode::{self, Sent, Sums};
use super::group::{self, Valid};
use super::payload::{Group, Payload};
use crate::ddsketch::DdSketch;
use crate::doors::schedule::stamp;
use crate::doors::{Agent, Forward, Grace, Request, Route};

/// Width of a bucket, in seconds.
const BUCKET_SECONDS: u64 = 10;
/// Groups in a request at most.
const GROUPS_MAX: usize = 4000;
/// [`StatsForward::bytes_max`] by default.
const BYTES_MAX: usize = 64 << 20;
/// What a group takes beside its key and its sketches: two sketches, four numbers, a slot of a table.
const GROUP_BYTES: usize = 512;

const PATH: &str = "/api/v0.2/stats";

/// Forwards a request without waiting.
pub(crate) trait SendStats: Send + Sync {
    fn send(&self, headers: &[(&'static str, &str)], body: Bytes);
}

impl SendStats for Forward {
    fn send(&self, headers: &[(&'static str, &str)], body: Bytes) {
        Forward::send(self, Route::Stats, PATH, headers, body);
    }
}

/// Adds up groups, and sends the sums when their buckets close.
pub(crate) struct StatsForward {
    agent: Agent,
    /// Seconds of a bucket of the doors, whose end closes ours.
    interval: u64,
    to: Arc<dyn SendStats>,
    /// What all open buckets may take together.
    bytes_max: usize,
    open: Mutex<Open>,
}

impl std::fmt::Debug for StatsForward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatsForward").finish_non_exhaustive()
    }
}

/// There is no room for another group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Debug, Default)]
struct Open {
    /// By their starts in Unix seconds.
    buckets: BTreeMap<u64, Bucket>,
    /// Buckets that start before are sent.
    closed_until: u64,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Bucket {
    /// By what [`encode::head`] writes.
    payloads: HashMap<Vec<u8>, Merged, RandomState>,
    /// The longest time by which a late group was moved into the bucket, in nanoseconds.
    time_shift: i64,
}

#[derive(Debug, Default)]
struct Merged {
    lang: String,
    /// By what [`encode::identity`] writes.
    groups: HashMap<Vec<u8>, Sums, RandomState>,
    /// Sketches of another mapping than the first of their group.
    others: Vec<(Vec<u8>, Sums)>,
}

/// Whose groups are to be added, and to which bucket.
pub(super) struct Sender<'a> {
    /// Of the request, which came at `now`.
    payload: Payload<'a>,
    head: Vec<u8>,
    now: Duration,
    obfuscated: bool,
}

impl<'a> Sender<'a> {
    /// `env` is the environment of the payload, or ours.
    pub fn new(
        payload: &Payload<'a>,
        env: &'a [u8],
        request: &Request<'a>,
        obfuscated: bool,
    ) -> Self {
        let header = |name, sent: &'a [u8]| match request.header(name) {
            Some(value) if !value.is_empty() => value.as_bytes(),
            _ => sent,
        };
        let mut payload = *payload;
        payload.env = env;
        payload.lang = header("datadog-meta-lang", payload.lang);
        payload.tracer_version = header("datadog-meta-tracer-version", payload.tracer_version);
        Sender { payload, head: encode::head(&payload), now: request.now, obfuscated }
    }
}

impl StatsForward {
    /// `interval` is the width of the doors' buckets, in seconds.
    pub fn new(agent: Agent, interval: u64, to: Arc<dyn SendStats>) -> Self {
        StatsForward { agent, interval, to, bytes_max: BYTES_MAX, open: Mutex::default() }
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The environment to send; that of the Agent when the payload has none.
    pub(super) fn env<'a>(&'a self, env: &'a [u8]) -> &'a [u8] {
        if env.is_empty() { self.agent.env.as_bytes() } else { env }
    }

    /// Adds a group of the bucket that starts at `second`.
    pub(super) fn add(
        &self,
        sender: &Sender<'_>,
        second: i64,
        group: &Group<'_>,
        valid: &Valid,
    ) -> Result<(), Full> {
        let key = encode::identity(group, group::resource(group, sender.obfuscated));
        let part = Sums {
            hits: group.hits.unsigned().unwrap_or(u64::MAX),
            errors: group.errors.unsigned().unwrap_or(u64::MAX),
            top_level_hits: group.top_level_hits.unsigned().unwrap_or(u64::MAX),
            duration: group.duration.unsigned().unwrap_or(u64::MAX),
            ok: None,
            error: None,
        };
        let limits = (self.interval, self.bytes_max);
        self.open().add(sender, second, (key, &part), valid, limits)
    }

    /// The bucket of the doors that starts at `start` closes: sends every bucket of ours that starts in it
    /// or before. At shutdown, at the second `stop`, they are parts: the intake keeps the last value of a
    /// second, so a second that is not their start keeps them apart from what a successor sends.
    pub fn close(&self, start: u64, stop: Option<u64>) {
        let closed = {
            let mut open = self.open();
            let until = start + self.interval;
            open.closed_until = open.closed_until.max(until);
            let later = open.buckets.split_off(&until);
            let closed = std::mem::replace(&mut open.buckets, later);
            if open.buckets.is_empty() {
                open.bytes = 0;
            } else {
                let bytes: usize = closed.values().map(Bucket::bytes).sum();
                open.bytes = open.bytes.saturating_sub(bytes);
            }
            closed
        };
        let payloads: Vec<Sent<'_>> =
            closed.iter().flat_map(|(start, bucket)| bucket.sent(*start, stop)).collect();
        self.send(payloads);
    }

    fn send(&self, payloads: Vec<Sent<'_>>) {
        let requests = split(payloads);
        let is_split = requests.len() > 1;
        for payloads in requests {
            match encode::request(&self.agent, &payloads, is_split) {
                Ok((languages, body)) => {
                    let mut headers =
                        vec![("Content-Type", "application/msgpack"), ("Content-Encoding", "gzip")];
                    if !languages.is_empty() {
                        headers.push(("X-Datadog-Reported-Languages", &languages));
                    }
                    self.to.send(&headers, body);
                }
                // Memory takes every byte: this cannot be.
                Err(error) => tracing::error!(target: "doors", "cannot write stats: {error}"),
            }
        }
    }
}

impl Open {
    fn add(
        &mut self,
        sender: &Sender<'_>,
        second: i64,
        (key, part): (Vec<u8>, &Sums),
        valid: &Valid,
        (interval, bytes_max): (u64, usize),
    ) -> Result<(), Full> {
        let now = sender.now.as_secs();
        let start = u64::try_from(second).unwrap_or_default();
        let start = start - start % BUCKET_SECONDS;
        // Too late goes into the oldest that is open, too early into the current one.
        let grace = Grace::of(Route::Stats).seconds() + interval;
        let oldest =
            self.closed_until.max(now.saturating_sub(grace)).next_multiple_of(BUCKET_SECONDS);
        let newest = (now - now % BUCKET_SECONDS).max(oldest);
        let place = start.clamp(oldest, newest);
        let shift = i64::try_from(place.saturating_sub(start).saturating_mul(1_000_000_000));

        let bucket = self.buckets.entry(place).or_default();
        let payload = match bucket.payloads.get_mut(&sender.head) {
            Some(payload) => payload,
            None => {
                if self.bytes + sender.head.len() + GROUP_BYTES > bytes_max {
                    return Err(Full);
                }
                self.bytes += sender.head.len() + GROUP_BYTES;
                let lang = String::from_utf8_lossy(sender.payload.lang).into_owned();
                let merged = Merged { lang, ..Merged::default() };
                bucket.payloads.entry(sender.head.clone()).or_insert(merged)
            }
        };
        let size = key.len() + GROUP_BYTES + valid.ok.heap_bytes() + valid.error.heap_bytes();
        let known = payload.groups.get_mut(&key);
        if known.is_none() && self.bytes + size > bytes_max {
            return Err(Full);
        }
        bucket.time_shift = bucket.time_shift.max(shift.unwrap_or(i64::MAX));
        let Some(sums) = known else {
            let sums = Sums { ok: some(&valid.ok), error: some(&valid.error), ..part.clone() };
            payload.groups.insert(key, sums);
            self.bytes += size;
            return Ok(());
        };
        let before = sums.bytes();
        sums.hits = sums.hits.saturating_add(part.hits);
        sums.errors = sums.errors.saturating_add(part.errors);
        sums.top_level_hits = sums.top_level_hits.saturating_add(part.top_level_hits);
        sums.duration = sums.duration.saturating_add(part.duration);
        let ok = merge(&mut sums.ok, &valid.ok);
        let error = merge(&mut sums.error, &valid.error);
        self.bytes += sums.bytes().saturating_sub(before);
        if ok.is_some() || error.is_some() {
            // The numbers are added; only the shape finds no room.
            if self.bytes + size > bytes_max {
                return Err(Full);
            }
            self.bytes += size;
            payload.others.push((key, Sums { ok, error, ..Sums::default() }));
        }
        Ok(())
    }
}

/// A sketch, unless it counts nothing.
fn some(sketch: &DdSketch) -> Option<DdSketch> {
    (!sketch.is_empty()).then(|| sketch.clone())
}

/// Adds `other` to `sum`, or gives it back.
fn merge(sum: &mut Option<DdSketch>, other: &DdSketch) -> Option<DdSketch> {
    match sum {
        Some(sum) => (!sum.merge(other)).then(|| other.clone()),
        None => {
            *sum = some(other);
            None
        }
    }
}

impl Sums {
    fn bytes(&self) -> usize {
        let sketches = [&self.ok, &self.error];
        GROUP_BYTES + sketches.into_iter().flatten().map(DdSketch::heap_bytes).sum::<usize>()
    }
}

impl Bucket {
    fn bytes(&self) -> usize {
        let payloads = self.payloads.iter().map(|(head, payload)| {
            let groups = payload.groups.iter();
            let others = payload.others.iter().map(|(key, sums)| (key, sums));
            let groups = groups.chain(others).map(|(key, sums)| key.len() + sums.bytes());
            head.len() + GROUP_BYTES + groups.sum::<usize>()
        });
        payloads.sum()
    }

    fn sent(&self, start: u64, stop: Option<u64>) -> impl Iterator<Item = Sent<'_>> {
        let stamp = stop.map_or(start, |stop| stamp(start, BUCKET_SECONDS, stop));
        let moved = i64::try_from((stamp - start) * 1_000_000_000).unwrap_or_default();
        let time_shift = self.time_shift.saturating_add(moved);
        self.payloads.iter().flat_map(move |(head, merged)| {
            let sent = move |distributions, groups| Sent {
                head,
                lang: &merged.lang,
                distributions,
                start: stamp,
                time_shift,
                groups,
            };
            let groups = merged.groups.iter().map(|(key, sums)| (&key[..], sums)).collect();
            let others: Vec<_> = merged.others.iter().map(|(key, sums)| (&key[..], sums)).collect();
            let others = (!others.is_empty()).then(|| sent(true, others));
            std::iter::once(sent(false, groups)).chain(others)
        })
    }
}

/// Requests of at most [`GROUPS_MAX`] groups; a payload may go on in the next one.
fn split(payloads: Vec<Sent<'_>>) -> Vec<Vec<Sent<'_>>> {
    let mut requests = Vec::new();
    let (mut request, mut room) = (Vec::new(), GROUPS_MAX);
    for mut payload in payloads {
        while payload.groups.len() > room {
            let rest = payload.groups.split_off(room);
            let rest = Sent { groups: rest, ..payload };
            let part = std::mem::replace(&mut payload, rest);
            if !part.groups.is_empty() {
                request.push(part);
            }
            requests.push(std::mem::take(&mut request));
            room = GROUPS_MAX;
        }
        room -= payload.groups.len();
        request.push(payload);
    }
    if !request.is_empty() {
        requests.push(request);
    }
    requests
}

#[cfg(test)]
mod tests;
