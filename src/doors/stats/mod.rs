//! `/v0.6/stats`: requests, errors and times of spans, summed by the tracers themselves.
//!
//! In: a msgpack payload of buckets of groups. Out, for each group, under the vendor's names:
//!
//! | metric | kind | value |
//! |---|---|---|
//! | `trace.<name>.hits` | counter | `Hits` |
//! | `trace.<name>.errors` | counter | `Errors`, when there are any |
//! | `trace.<name>.duration` | counter | seconds of all hits together |
//! | `trace.<name>` | distribution | seconds: the bins of both sketches |
//!
//! at the start of the bucket. Promise: a body is refused as a whole or read as a whole, and a bad group
//! harms no other; a request that was answered is not counted again. Stats for the vendor are summed first,
//! so that no process overwrites another. Refusal: a statement that the client has not obfuscated becomes
//! no tag and is sent nowhere.

mod duplicates;
mod encode;
mod group;
mod merge;
mod normal;
mod payload;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use super::{Answer, Door, Reason, Refusal, Request, SharedNaming, Sink};
use duplicates::Duplicates;
use group::{Place, Scratch, Valid};
#[cfg(any(test, fuzzing))]
pub(crate) use merge::SendStats;
use merge::Sender;
pub(crate) use merge::StatsForward;
use payload::Payload;

const NANOSECONDS: i128 = 1_000_000_000;

/// The route. See the module.
#[derive(Debug)]
pub(crate) struct Stats {
    naming: SharedNaming,
    /// Groups become metrics here.
    local: bool,
    /// Groups go on to the vendor.
    forward: Option<StatsForward>,
    duplicates: Mutex<Duplicates>,
}

impl Stats {
    /// Makes metrics.
    pub fn new(naming: impl Into<SharedNaming>) -> Self {
        Stats { naming: naming.into(), local: true, forward: None, duplicates: Mutex::default() }
    }

    /// Sends sums on, and makes metrics too when `local`.
    pub fn forwarding(naming: impl Into<SharedNaming>, local: bool, forward: StatsForward) -> Self {
        let naming = naming.into();
        Stats { naming, local, forward: Some(forward), duplicates: Mutex::default() }
    }

    /// True for a request that was answered before; this one counts as answered from now on.
    fn is_duplicate(&self, request: &Request<'_>) -> bool {
        let key = request.header("idempotency-key").filter(|key| !key.is_empty());
        key.is_some_and(|key| {
            let duplicates = &mut self.duplicates.lock().unwrap_or_else(PoisonError::into_inner);
            duplicates.note(key, request.now)
        })
    }
}

impl Door for Stats {
    fn take(&self, request: &Request<'_>, sink: &mut dyn Sink) -> Result<Answer, Refusal> {
        let payload = Payload::read(request.body)
            .map_err(|error| Refusal::decode(format!("stats payload: {error}")))?;
        // From here on nothing can go wrong with the request.
        if self.is_duplicate(request) {
            return Err(Refusal::duplicate());
        }
        let rounding = request.rounding();
        let obfuscated = obfuscated(request);
        let mut scratch = Scratch::default();
        let naming = self.naming.get();
        let env = naming.env(payload.env);
        let forward = self.forward.as_ref();
        let forward = forward
            .map(|forward| (forward, Sender::new(&payload, forward.env(env), request, obfuscated)));
        payload.each_bucket(|bucket| {
            let start = bucket.start.whole().filter(|start| *start >= 0);
            let second = start.and_then(|start| i64::try_from(start / NANOSECONDS).ok());
            bucket.each_group(|group| {
                let taken = second.ok_or(Reason::Time).and_then(|second| {
                    let valid = Valid::of(group, rounding)?;
                    if self.local {
                        let place = Place { naming: &naming, second, obfuscated };
                        scratch.record(&payload, group, &valid, &place, sink)?;
                    }
                    if let Some((forward, sender)) = &forward {
                        let added = forward.add(sender, second, group, &valid);
                        added.map_err(|merge::Full| Reason::Limit)?;
                    }
                    Ok(())
                });
                if let Err(reason) = taken {
                    sink.refuse(reason);
                }
            });
        });
        Ok(Answer::ok())
    }

    fn closing(&self, start: u64, stop: Option<u64>, _: &mut dyn Sink) {
        if let Some(forward) = &self.forward {
            forward.close(start, stop);
        }
    }
}

/// True when the client says that it has taken the values out of statements.
fn obfuscated(request: &Request<'_>) -> bool {
    let version = request.header("datadog-obfuscation-version");
    version
        .and_then(|version| version.trim().parse::<u32>().ok())
        .is_some_and(|version| version >= 1)
}
