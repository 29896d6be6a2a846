//! The rooms of a server, driven by the clock of a capture.
//!
//! One lane, no socket, no wait: lines go through the same shard, rules, flusher and encoders as in a
//! server with this configuration, and what comes out are the payloads it would have posted.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use ahash::RandomState;
use anyhow::Context;

use super::file::CaptureFile;
use crate::aggregate::{Bucket, LineCounts, Shard, ShardSettings};
use crate::capture::Entry;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::context::Rules;
use crate::encode::Payload;
use crate::flush::{Closed, Flusher};
use crate::net::Transport;
use crate::output::{DatadogOutput, Delivery, Output};
use crate::server::settings;
use crate::telemetry::Hub;

/// What went in and came out.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    pub records: u64,
    pub lines: LineCounts,
    /// The most that were alive at the end of an interval.
    pub contexts: usize,
    pub payloads: u64,
    /// Of the bodies as they are posted.
    pub body_bytes: u64,
}

/// The rooms at work.
pub(super) struct Engine {
    shard_settings: ShardSettings,
    rules: Arc<Rules>,
    state: RandomState,
    /// None before the first record, whose time opens the first bucket.
    shard: Option<Shard>,
    flusher: Flusher,
    output: DatadogOutput,
    payloads: Receiver<Payload>,
    clock: Clock,
    eol_required: Vec<config::Transport>,
    /// After so long without records nothing is left to be continued or forgotten.
    idle_max: Duration,
    totals: Totals,
}

impl Engine {
    /// A server with this configuration. Its host is what the configuration names, else none, so that
    /// the same file gives the same result on every machine.
    pub fn new(config: &Config) -> anyhow::Result<Self> {
        let host = config.hostname.as_deref();
        let rules = Arc::new(settings::rules(config, host, 1, None));
        let shard_settings = settings::shard(config);
        let flush = settings::flush(config);
        let expiries = flush.counter_expiry.saturating_add(shard_settings.context_expiry);
        let idle_max = expiries.saturating_add(shard_settings.interval * 2);
        let state = RandomState::new();
        let clock = Clock::manual(Duration::ZERO);
        let (built, payloads) = mpsc::channel();
        let output = DatadogOutput::new(
            settings::datadog(config, host),
            Delivery::HandOver(built),
            clock.clone(),
            Hub::default(),
        )
        .context("making an encoder")?;
        Ok(Engine {
            flusher: Flusher::new(flush, Arc::clone(&rules), 1, state.clone()),
            shard_settings,
            rules,
            state,
            shard: None,
            output,
            payloads,
            clock,
            eol_required: config.dogstatsd_eol_required.clone(),
            idle_max,
            totals: Totals::default(),
        })
    }

    /// Runs a file to its end; `take` gets the payloads of each flush, in order of time.
    pub fn run(
        mut self,
        path: &Path,
        records: u64,
        mut take: impl FnMut(Vec<Payload>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Totals> {
        let mut file = CaptureFile::open(path, records)?;
        while let Some(entry) = file.next()? {
            self.pass_time(entry.at, &mut take)?;
            self.record(&entry);
        }
        // The last bucket is posted as if it had come to its end.
        if let Some(shard) = &self.shard {
            let end = shard.bucket_end();
            self.close(end, &mut take)?;
        }
        Ok(self.totals)
    }

    /// Closes every bucket that ends before `now`, as a lane does that is on time.
    fn pass_time(
        &mut self,
        now: Duration,
        take: &mut impl FnMut(Vec<Payload>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(shard) = &self.shard else {
            let (settings, rules) = (self.shard_settings.clone(), Arc::clone(&self.rules));
            self.shard = Some(Shard::new(settings, rules, self.state.clone(), now));
            return Ok(());
        };
        let mut end = shard.bucket_end();
        let idle_until = end.saturating_add(self.idle_max);
        while now >= end {
            // A long silence is one step.
            let at = if end >= idle_until { now } else { end };
            end = self.close(at, take)?;
        }
        Ok(())
    }

    /// Closes the open bucket at `now` and posts what is complete; the end of the next one.
    fn close(
        &mut self,
        now: Duration,
        take: &mut impl FnMut(Vec<Payload>) -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let Some(shard) = &mut self.shard else { return Ok(now) };
        let bucket = shard.close(now, Bucket::default());
        while shard.sweep_some() {}
        let end = shard.bucket_end();
        let passed = end.saturating_sub(self.shard_settings.interval).as_secs();
        self.flusher.take(Closed { lane: 0, bucket, passed });
        while let Some(flush) = self.flusher.complete() {
            self.clock.set(Duration::from_secs(flush.start) + self.shard_settings.interval);
            self.totals.lines.add(&flush.counts);
            self.totals.contexts = self.totals.contexts.max(flush.contexts);
            self.output.flush(&self.flusher.view(&flush));
            let payloads: Vec<Payload> = self.payloads.try_iter().collect();
            self.totals.payloads += payloads.len() as u64;
            self.totals.body_bytes += payloads.iter().map(|one| one.body.len() as u64).sum::<u64>();
            take(payloads)?;
        }
        Ok(end)
    }

    fn record(&mut self, entry: &Entry) {
        let Some(shard) = &mut self.shard else { return };
        self.totals.records += 1;
        shard.begin_batch(entry.at);
        let eol_required = needs_newline(&entry.listener, &self.eol_required);
        shard.datagram(&entry.payload, b"", eol_required, |_, _, _| ());
        if entry.cut_bytes > 0 {
            // The cut line, as a lane counts it.
            let counts = shard.counts();
            counts.received += 1;
            counts.truncated += 1;
        }
        shard.sweep_some();
    }
}

/// Whether the last line of what came through this listener needs a newline. An Agent captures Unix
/// sockets and names no listener.
fn needs_newline(listener: &[u8], required: &[config::Transport]) -> bool {
    let word = listener.split(|byte| *byte == b' ').next().unwrap_or_default();
    let transport = if word == Transport::Udp.label().as_bytes() {
        config::Transport::Udp
    } else if word == Transport::Tcp.label().as_bytes() {
        return false;
    } else {
        config::Transport::Uds
    };
    required.contains(&transport)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newline_is_needed_where_the_configuration_says_so() {
        use config::Transport::{Udp, Uds};
        for (listener, required, expect) in [
            ("udp 127.0.0.1:8125", &[Udp][..], true),
            ("udp 127.0.0.1:8125", &[Uds], false),
            ("uds /run/d.sock", &[Uds], true),
            ("uds-stream /run/s.sock", &[Udp, Uds], true),
            ("tcp 127.0.0.1:1", &[Udp, Uds], false),
            // An Agent's file.
            ("", &[Uds], true),
            ("", &[Udp], false),
        ] {
            assert_eq!(needs_newline(listener.as_bytes(), required), expect, "{listener}");
        }
    }
}
