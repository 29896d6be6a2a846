//! `whippet explain`: how a line is parsed, what changes before posting, and what would be posted.
//!
//! Input: lines, and the configuration that `run` would use. Output: a page per line. The line goes
//! through the server's own parser, shard and flusher, so the page shows what the server does. Nothing
//! is sent, and each line is alone in its interval.

mod blame;
mod changes;
mod fields;
mod page;
mod reading;

use std::ffi::OsString;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use anyhow::bail;

use self::page::Page;
use super::config_args::ConfigArgs;
use super::exit::FAILED;
use super::run;
use crate::aggregate::{self, Bucket, Fate, Shard};
use crate::clock::Clock;
use crate::config::{self, Class, Config, Mode};
use crate::context::{Context, DropReason, Rules};
use crate::flush::{self, Closed, Flush, Flusher};
use crate::output::{JsonLines, Output};
use crate::protocol;
use crate::server::settings;
use crate::text::{clock_time, printable, printable_json, printable_lines};

/// Lines longer than any datagram are not explained.
const LINE_BYTES_MAX: u64 = 1 << 16;

/// Explains every line; fails if one of them is refused.
pub(super) fn explain(settings: &ConfigArgs, lines: &[OsString]) -> anyhow::Result<ExitCode> {
    let loaded = config::load(settings.sources(Mode::Run))?;
    // Notes concern a running server only.
    let mistakes = loaded.warnings.iter().filter(|warning| warning.class != Class::Note);
    for warning in mistakes {
        let _ = writeln!(io::stderr(), "whippet: {}", printable_lines(&warning.to_string()));
    }
    let identity = run::identity(&loaded);
    let rooms = Rooms {
        rules: Arc::new(settings::rules(&loaded.config, identity.hostname.as_deref(), 1, None)),
        shard: settings::shard(&loaded.config),
        flush: settings::flush(&loaded.config),
        config: loaded.config,
        host_origin: identity.origin,
        now: Clock::wall().unix(),
    };
    let mut out = io::stdout().lock();
    let (mut explained, mut refused) = (0_u64, 0_u64);
    let mut one = |line: &[u8]| -> io::Result<()> {
        let (page, readable) = rooms.explain(line);
        if explained > 0 {
            writeln!(out)?;
        }
        explained += 1;
        refused += u64::from(!readable);
        out.write_all(page.as_bytes())
    };
    for line in lines {
        if line == "-" {
            from_stdin(&mut one)?;
        } else {
            protocol::lines(line.as_bytes()).try_for_each(|line| one(line.bytes))?;
        }
    }
    if explained == 0 {
        bail!("no lines to explain");
    }
    Ok(if refused > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn from_stdin(one: &mut impl FnMut(&[u8]) -> io::Result<()>) -> anyhow::Result<()> {
    let mut stdin = io::stdin().lock();
    let mut bytes = Vec::new();
    while stdin.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes)? > 0 {
        if bytes.len() as u64 == LINE_BYTES_MAX && !bytes.ends_with(b"\n") {
            bail!("standard input: a line of more than {LINE_BYTES_MAX} bytes");
        }
        protocol::lines(&bytes).try_for_each(|line| one(line.bytes))?;
        bytes.clear();
    }
    Ok(())
}

/// The settings of the server's rooms.
struct Rooms {
    config: Config,
    rules: Arc<Rules>,
    shard: aggregate::ShardSettings,
    flush: flush::FlushSettings,
    host_origin: &'static str,
    now: Duration,
}

/// The result of a line.
struct Walked {
    fate: Fate,
    /// The context of the line itself, then that of its copy.
    contexts: Vec<Context>,
    flusher: Flusher,
    flushed: Option<Flush>,
}

impl Rooms {
    /// The page of one line, and whether it could be parsed.
    fn explain(&self, line: &[u8]) -> (String, bool) {
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
        let walked = self.walk(line);
        self.add_changes(&message, &walked, &mut page);
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
        }
        self.add_posted(&walked, &mut page);
        (page.finish(), true)
    }

    /// Runs the line through its own shard and flusher, to the end of the interval.
    fn walk(&self, line: &[u8]) -> Walked {
        let state = RandomState::new();
        let rules = Arc::clone(&self.rules);
        let mut shard = Shard::new(self.shard.clone(), Arc::clone(&rules), state.clone(), self.now);
        let mut flusher = Flusher::new(self.flush.clone(), rules, 1, state);
        shard.begin_batch(self.now);
        shard.counts().received += 1;
        let fate = shard.line(line, b"");
        let contexts = shard.births().iter().map(|birth| birth.context.clone()).collect();
        let end = shard.bucket_end();
        let bucket = shard.close(end, Bucket::default());
        flusher.take(Closed { lane: 0, bucket, passed: end.as_secs() });
        let flushed = flusher.complete();
        Walked { fate, contexts, flusher, flushed }
    }

    fn add_changes(&self, message: &protocol::Message<'_>, walked: &Walked, page: &mut Page) {
        let notes = match message {
            protocol::Message::Metric(metric) => changes::metric(
                metric,
                walked.contexts.first(),
                &self.rules,
                &self.config,
                self.now,
            ),
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
        let tags: Vec<&[u8]> = context.tags(&self.rules.common_tags).iter().collect();
        page.row("tags", &reading::list(&tags));
        let host = match context.host() {
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

    fn add_posted(&self, walked: &Walked, page: &mut Page) {
        let mut json = Vec::new();
        if let Some(flush) = &walked.flushed {
            JsonLines::new(&mut json).flush(&walked.flusher.view(flush));
        }
        if json.is_empty() {
            page.section("posted: nothing");
            return;
        }
        let interval = self.flush.interval;
        let end = self.now.as_secs() - self.now.as_secs() % interval + interval;
        page.section(&format!(
            "posted when the interval of {interval} s ends, at {}:",
            clock_time(end)
        ));
        for line in String::from_utf8_lossy(&json).lines() {
            page.line(&printable_json(line));
        }
    }
}
