//! How a line is parsed, what changes before posting, and what would be posted.
//!
//! In: a line, and the settings of a server. Out: a page of text. Promise: the line goes through the
//! server's own parser, shard and flusher, so the page shows what the server does, for a line that is
//! alone in its interval. Refusal: nothing is sent, and nothing of a running server is touched.

mod blame;
mod changes;
mod fields;
mod global;
mod page;
mod reading;

use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use self::page::Page;
use crate::aggregate::{self, Bucket, Fate, Shard};
use crate::config::Config;
use crate::context::{Context, DropReason, Rules};
use crate::flush::{self, Closed, Flush, Flusher};
use crate::output::{JsonLines, Output};
use crate::protocol;
use crate::text::{clock_time, printable, printable_json};

/// The settings of a server, as far as they decide what becomes of a line.
pub(crate) struct Explainer {
    pub config: Config,
    pub rules: Arc<Rules>,
    pub shard: aggregate::ShardSettings,
    pub flush: flush::FlushSettings,
    /// Where the default host's name comes from, in a word.
    pub host_origin: &'static str,
}

/// The result of a line.
struct Walked {
    fate: Fate,
    /// The context of the line itself, then that of its copy.
    contexts: Vec<Context>,
    flusher: Flusher,
    flushed: Option<Flush>,
}

impl Explainer {
    /// The page of one line that arrives at `now` (Unix time), and whether it could be parsed.
    pub fn explain(&self, line: &[u8], now: Duration) -> (String, bool) {
        let mut page = Page::new(&printable(line, usize::MAX));
        let message = match protocol::read(line, self.shard.options) {
            Ok(message) => message,
            Err(error) => {
                page.section(&format!("refused: {}", error.render(line)));
                return (page.finish(), false);
            }
        };
        reading::rows(&message, &mut page);
        for (field, reason) in fields::ignored(line, &message, self.shard.options) {
            page.row("ignored", &format!("{}: {reason}", printable(field, usize::MAX)));
        }
        let walked = self.walk(line, now);
        self.add_changes(&message, &walked, now, &mut page);
        if let Fate::Dropped(reason) = walked.fate {
            let by = match &message {
                protocol::Message::Metric(metric) if reason == DropReason::Filtered => {
                    blame::filter(&self.config, &self.rules, metric.name)
                }
                _ => None,
            };
            let by = by.map(|by| format!(" ({by})")).unwrap_or_default();
            page.section(&format!("dropped: {}{by}", reason.word().replace('_', " ")));
        }
        for context in &walked.contexts {
            self.add_context(context, &mut page);
            if let protocol::Message::Metric(metric) = &message {
                global::scope_row(metric, context, &self.rules, &self.config, &mut page);
            }
        }
        self.add_posted(&walked, now, &mut page);
        (page.finish(), true)
    }

    /// Runs the line through its own shard and flusher, to the end of the interval.
    fn walk(&self, line: &[u8], now: Duration) -> Walked {
        let state = RandomState::new();
        let rules = Arc::clone(&self.rules);
        let mut shard = Shard::new(self.shard.clone(), Arc::clone(&rules), state.clone(), now);
        let mut flusher = Flusher::new(self.flush.clone(), rules, 1, state);
        shard.begin_batch(now);
        shard.counts().received += 1;
        let fate = shard.line(line, b"");
        let contexts = shard.births().iter().map(|birth| birth.context.clone()).collect();
        let end = shard.bucket_end();
        let bucket = shard.close(end, Bucket::default());
        flusher.take(Closed { lane: 0, bucket, passed: end.as_secs() });
        let flushed = flusher.complete();
        Walked { fate, contexts, flusher, flushed }
    }

    fn add_changes(
        &self,
        message: &protocol::Message<'_>,
        walked: &Walked,
        now: Duration,
        page: &mut Page,
    ) {
        let notes = match message {
            protocol::Message::Metric(metric) => {
                changes::metric(metric, walked.contexts.first(), &self.rules, &self.config, now)
            }
            protocol::Message::Event(event) => {
                let records = walked.flushed.as_ref().map(|flush| flush.events());
                changes::event(event, records.and_then(<[_]>::first), &self.rules)
            }
            protocol::Message::ServiceCheck(check) => {
                let records = walked.flushed.as_ref().map(|flush| flush.checks());
                changes::check(check, records.and_then(<[_]>::first), &self.rules)
            }
        };
        page.section("changes:");
        if notes.is_empty() {
            page.line("none");
        }
        notes.iter().for_each(|note| page.line(note));
    }

    fn add_context(&self, context: &Context, page: &mut Page) {
        page.section("context:");
        page.row("kind", context.kind().word());
        page.row("name", &printable(context.name(), usize::MAX));
        let tags: Vec<&[u8]> = context.tags(self.rules.common_tags_of(context)).iter().collect();
        page.row("tags", &reading::list(&tags));
        let host = match context.host() {
            None if context.is_global() => "none (the series is global)".to_owned(),
            Some(b"") => "none (an empty host: tag)".to_owned(),
            Some(host) => format!("{} (from the host: tag)", printable(host, usize::MAX)),
            None if self.rules.default_host.is_empty() => "none".to_owned(),
            None => format!(
                "{} (from {})",
                printable(&self.rules.default_host, usize::MAX),
                self.host_origin
            ),
        };
        page.row("host", &host);
    }

    fn add_posted(&self, walked: &Walked, now: Duration, page: &mut Page) {
        let mut json = Vec::new();
        if let Some(flush) = &walked.flushed {
            JsonLines::new(&mut json).flush(&walked.flusher.view(flush));
        }
        let interval = self.flush.interval;
        let end = now.as_secs() - now.as_secs() % interval + interval;
        if walked.flushed.as_ref().is_some_and(|flush| flush.global_count() > 0) {
            page.section(&format!(
                "handed to its owner when the interval of {interval} s ends, at {}",
                clock_time(end)
            ));
            if json.is_empty() {
                return;
            }
        }
        if json.is_empty() {
            page.section("posted: nothing");
            return;
        }
        page.section(&format!(
            "posted when the interval of {interval} s ends, at {}:",
            clock_time(end)
        ));
        for line in String::from_utf8_lossy(&json).lines() {
            page.line(&printable_json(line));
        }
    }
}
