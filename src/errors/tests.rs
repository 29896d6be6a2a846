//! A tracker with a clock in hand, and a sink that remembers.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::clock::Clock;

/// Every call, as text.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<String>>>);

impl Memory {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Sink for Memory {
    fn count(&self, name: &str, count: u64, tags: &[&str]) {
        self.0.lock().unwrap().push(format!("{name} {count} {}", tags.join(",")));
    }

    fn event(&self, title: &str, text: &str, key: &str, tags: &[&str]) {
        let first = text.lines().next().unwrap_or_default();
        self.0.lock().unwrap().push(format!("event {title}: {first} ({key}) {}", tags.len()));
    }
}

#[derive(Debug)]
struct Failed {
    message: &'static str,
    source: Option<std::io::Error>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

fn failed(message: &'static str) -> Failed {
    Failed { message, source: None }
}

/// One place, whoever calls.
fn record_here(tracker: &Tracker, error: &Failed) {
    tracker.record(error);
}

fn flushed(tracker: &Tracker) -> Vec<String> {
    let memory = Memory::default();
    tracker.flush(&memory);
    memory.take()
}

/// The value of a tag in a line of the memory.
fn tag<'a>(line: &'a str, key: &str) -> &'a str {
    let tags = line.rsplit(' ').next().unwrap();
    tags.split(',').find_map(|tag| tag.strip_prefix(key)?.strip_prefix(':')).unwrap_or("absent")
}

#[test]
fn errors_of_one_type_and_place_are_one_series_whatever_they_say() {
    let tracker = Tracker::new(Settings::default());
    for message in ["user 1 is unknown", "user 2 is unknown", "user 3 is unknown"] {
        record_here(&tracker, &failed(message));
    }
    let lines = flushed(&tracker);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("handled_errors 3 "), "{lines:?}");
    assert_eq!(tag(&lines[0], "error_type"), "whippet::errors::tests::Failed");
    assert_eq!(tag(&lines[0], "module"), "program::errors::tests");
    assert_eq!(tag(&lines[0], "kind"), "handled");
    assert!(!lines[0].contains("user"), "{lines:?}");
    assert_eq!(flushed(&tracker), Vec::<String>::new());
}

#[test]
fn place_type_and_sources_each_make_another_fingerprint() {
    let tracker = Tracker::new(Settings::default());
    let with = |kind| Failed { message: "x", source: Some(std::io::Error::from(kind)) };
    record_here(&tracker, &failed("x"));
    record_here(&tracker, &with(std::io::ErrorKind::NotFound));
    record_here(&tracker, &with(std::io::ErrorKind::NotFound));
    record_here(&tracker, &with(std::io::ErrorKind::TimedOut));
    tracker.record(&failed("x"));
    tracker.record(&fmt::Error);
    tracker.record_dyn(&failed("x"));
    let lines = flushed(&tracker);
    let counts: Vec<&str> = lines.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(counts, ["2", "1", "1", "1", "1", "1"], "{lines:?}");
    let mut fingerprints: Vec<&str> = lines.iter().map(|line| tag(line, "fingerprint")).collect();
    fingerprints.sort_unstable();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), 6, "{lines:?}");
}

#[test]
fn a_fingerprint_is_the_same_in_every_run() {
    let occurrence = super::fingerprint::Occurrence::of_panic("src/db.rs", 7, 3);
    assert_eq!(occurrence.fingerprint("program::db"), 0x045e_c371_0f1b_0e60);
}

#[test]
fn only_the_modules_that_settings_name_are_counted() {
    let count = |modules, include: &[&str]| {
        let include = include.iter().map(ToString::to_string).collect();
        let tracker = Tracker::new(Settings { modules, include, ..Settings::default() });
        tracker.record(&fmt::Error);
        tracker.record(&fmt::Error);
        flushed(&tracker).len()
    };
    assert_eq!(count(Modules::User, &[]), 2);
    assert_eq!(count(Modules::ThirdParty, &[]), 0);
    assert_eq!(count(Modules::All, &[]), 2);
    assert_eq!(count(Modules::All, &["program::errors"]), 2);
    assert_eq!(count(Modules::All, &["program::db", "hyper"]), 0);
}

#[test]
fn one_sample_of_a_fingerprint_and_interval_becomes_an_event() {
    let clock = Clock::manual(Duration::from_secs(1_000));
    let settings = Settings { events: true, ..Settings::default() };
    let tracker = Tracker::with_clock(settings, clock.clone());
    let events = |tracker: &Tracker| {
        let lines = flushed(tracker);
        lines.into_iter().filter(|line| line.starts_with("event")).collect::<Vec<_>>()
    };
    let source = Some(std::io::Error::other("disk"));
    record_here(&tracker, &Failed { message: "first", source });
    record_here(&tracker, &failed("second"));
    record_here(&tracker, &failed("third"));
    let sent = events(&tracker);
    // With and without a source are two.
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert!(
        sent[0].starts_with(
            "event Handled error: whippet::errors::tests::Failed: first (fingerprint:"
        )
    );
    assert!(sent[1].contains(": second ("), "{sent:?}");
    clock.advance(Duration::from_secs(300));
    record_here(&tracker, &failed("fourth"));
    assert_eq!(events(&tracker), Vec::<String>::new());
    clock.advance(Duration::from_secs(300));
    assert_eq!(events(&tracker), Vec::<String>::new()); // notices that the interval is over
    record_here(&tracker, &failed("fifth"));
    let sent = events(&tracker);
    assert!(sent.len() == 1 && sent[0].contains("fifth"), "{sent:?}");
}

#[test]
fn messages_are_sent_only_when_wanted() {
    let tracker = Tracker::new(Settings::default());
    record_here(&tracker, &failed("password 123"));
    let lines = flushed(&tracker);
    assert!(lines.len() == 1 && !lines[0].contains("123"), "{lines:?}");
}

#[test]
fn past_the_limits_counts_go_on_in_one_series() {
    let tracker = Tracker::new(Settings::default());
    let occurrence = |line| super::fingerprint::Occurrence::of_panic("src/many.rs", line, 1);
    for line in 0..20_000 {
        tracker.count(occurrence(line), None, super::tracker::Kind::Handled);
    }
    tracker.count(occurrence(7), None, super::tracker::Kind::Handled);
    let lines = flushed(&tracker);
    let counts = lines.iter().map(|line| line.split(' ').nth(1).unwrap().parse::<u64>().unwrap());
    assert_eq!(lines.len(), 101);
    assert_eq!(counts.sum::<u64>(), 20_001);
    assert!(lines[0].contains(" 2 "), "the most frequent first: {}", lines[0]);
    assert_eq!(tag(&lines[100], "fingerprint"), "other");
    assert_eq!(tracker.losses().grouped, 20_001 - 101);
}

#[test]
fn an_error_whose_text_panics_is_counted_all_the_same() {
    struct Rude;
    impl fmt::Debug for Rude {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no text")
        }
    }
    impl fmt::Display for Rude {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("no text")
        }
    }
    impl Error for Rude {}
    let tracker = Tracker::new(Settings { events: true, ..Settings::default() });
    tracker.record(&Rude);
    tracker.record_dyn(&Rude);
    let counted = flushed(&tracker).iter().filter(|line| line.starts_with("handled")).count();
    assert_eq!(counted, 2);
}

#[test]
fn a_sink_that_panics_loses_one_call() {
    struct Rude(Memory);
    impl Sink for Rude {
        fn count(&self, name: &str, count: u64, tags: &[&str]) {
            assert!(count != 2, "two");
            self.0.count(name, count, tags);
        }
        fn event(&self, _: &str, _: &str, _: &str, _: &[&str]) {}
    }
    let tracker = Tracker::new(Settings::default());
    record_here(&tracker, &failed("x"));
    record_here(&tracker, &failed("x"));
    tracker.record(&fmt::Error);
    let memory = Memory::default();
    tracker.flush(&Rude(memory.clone()));
    assert_eq!(memory.take().len(), 1);
    assert_eq!(tracker.losses().sink_panics, 1);
}

#[test]
fn no_thread_loses_a_count() {
    let tracker = Tracker::new(Settings::default());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10_000).for_each(|_| record_here(&tracker, &failed("x"))));
        }
    });
    let lines = flushed(&tracker);
    assert!(lines.len() == 1 && lines[0].starts_with("handled_errors 40000 "), "{lines:?}");
}

/// The only test of the program's own tracker: there is one for all threads.
#[test]
fn the_tracker_of_the_program_is_found_swapped_and_ended() {
    fn place(error: &Failed) {
        record(error);
    }
    place(&failed("before"));
    let (first, second) = (Memory::default(), Memory::default());
    let settings = || Settings { flush_interval: Duration::ZERO, ..Settings::default() };
    let first_guard = start(settings(), first.clone()).unwrap();
    place(&failed("one"));
    let second_guard = start(settings(), second.clone()).unwrap();
    place(&failed("two"));
    drop(first_guard); // the second stays
    let result: Result<u8, Failed> = Err(failed("three")).tracked();
    assert!(result.is_err());
    install_panic_hook();
    let before = std::panic::catch_unwind(|| panic!("four"));
    assert!(before.is_err());
    drop(second_guard);
    place(&failed("after"));
    let (first, second) = (first.take(), second.take());
    assert!(first.len() == 1 && first[0].starts_with("handled_errors 1 "), "{first:?}");
    // Other tests of this process may panic on purpose while the hook is there.
    let handled = second.iter().filter(|line| tag(line, "kind") == "handled").count();
    let here = |line: &&String| tag(line, "module") == "program::errors::tests";
    let panics = second.iter().filter(|line| tag(line, "kind") == "panic").filter(here).count();
    assert!(handled == 2 && panics >= 1, "{second:?}");
}

#[cfg(feature = "cli")]
#[test]
fn an_error_is_an_event_of_the_current_span_once() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let tracker = Tracker::new(Settings::default());
    tracing::subscriber::with_default(subscriber, || {
        record_here(&tracker, &failed("outside"));
        for request in 0..2 {
            let span = tracing::info_span!("request", request);
            let _entered = span.enter();
            record_here(&tracker, &failed("inside"));
            record_here(&tracker, &failed("again"));
        }
    });
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    for (request, line) in lines.iter().enumerate() {
        assert!(line.contains(&format!("request{{request={request}}}")), "{line}");
        assert!(line.contains("exception.message=\"inside\""), "{line}");
        assert!(line.contains("exception.type=\"whippet::errors::tests::Failed\""), "{line}");
    }
    assert!(flushed(&tracker)[0].starts_with("handled_errors 5 "));
}
