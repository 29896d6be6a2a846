//! What the library's client sends, taken by the doors of a real whippet, over TCP.

use std::time::Duration;

use crate::support::intake::Intake;
use crate::support::program::{Program, Setup, eventually};
use whippet::clock::Clock;
use whippet::telemetry_client::{Client, Dependency, Integration, LogRecord, Origin, Setting};

/// A whippet that takes telemetry and posts what becomes of it.
fn collector(intake: &Intake) -> (Program, String) {
    let setup = Setup::posting_to(intake)
        .set("apm_config.receiver_port", "__random__")
        .set("apm_config.receiver_socket", "")
        .waits_for("http ");
    let program = setup.start();
    let url = format!("http://{}", program.log_word("http "));
    (program, url)
}

/// Requests that the collector refused.
fn refused(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("telemetry") && line.contains("refused")).collect()
}

#[test]
fn every_message_of_the_client_passes_our_own_door() {
    let intake = Intake::start();
    let (program, url) = collector(&intake);
    // A time that the door takes; a rate needs a whole second.
    let clock = Clock::manual(Clock::wall().unix());
    let client = Client::builder("shop")
        .env("prod")
        .service_version("1.2")
        .tracer_version("9.9")
        .hostname("web-7")
        .clock(clock.clone())
        .agent_url(&url)
        .build()
        .unwrap();
    client.configuration([Setting::new("a", true, Origin::EnvVar)]);
    client.product_failed("uds", 13, "permission denied");
    client.integration(Integration::new("redis", "1"));
    client.dependencies(|| vec![Dependency { name: "serde".into(), version: "1".into() }]);
    client.start_manually();
    assert_eq!((client.flush().delivered, client.losses().payloads), (2, 0));
    client.count("general", "orders", &["kind:book"]).submit(3.0);
    client.gauge("general", "depth", &[]).submit(4.5);
    client.rate("general", "views", &[]).submit(12.0);
    client.distribution("general", "size", &[]).submit(7.0);
    client.distribution("general", "size", &[]).submit(9.0);
    client.log(&LogRecord::error("boom"));
    client.log(&LogRecord::error("boom"));
    clock.advance(Duration::from_secs(5));
    assert_eq!(client.flush().failure, None);
    clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(client.flush().failure, None, "an extended heartbeat");
    assert_eq!(client.stop().failure, None);
    let log = program.end();
    assert!(refused(&log).is_empty(), "{log}");
    let tags = ["service:shop", "env:prod", "version:1.2", "language:rust", "tracer_version:9.9"];
    let name = |metric: &str| format!("dd.instrumentation_telemetry_data.general.{metric}");
    intake.read(|state| {
        let with = |tag: &'static str| [&tags[..], &[tag]].concat();
        assert_eq!(state.sum_of_counter(&name("orders"), &with("kind:book")), 3.0);
        assert_eq!(state.last_value(&name("depth"), &tags), Some(4.5));
        // A rate is divided here and multiplied there.
        assert_eq!(state.sum_of_counter(&name("views"), &tags).round(), 12.0);
        assert_eq!(state.count_of_sketches(&name("size"), &tags), 2);
        assert_eq!(state.sum_of_counter("whippet.telemetry.logs", &with("level:error")), 2.0);
    });
}

#[test]
fn one_whippet_reports_to_another() {
    let intake = Intake::start();
    let (program, url) = collector(&intake);
    let reporting = Setup::bare()
        .set("output", "none")
        .set("interval", 1)
        .set("dogstatsd_flush_incomplete_buckets", true)
        .env("WHIPPET_INSTRUMENTATION_TELEMETRY", "true")
        .env("WHIPPET_INSTRUMENTATION_TELEMETRY_URL", &url);
    let reporter = reporting.start();
    for _ in 0..3 {
        reporter.unix_datagram("page.views:1|c\npage.views:x|c|#user:7");
    }
    // A refused line is logged when it came.
    reporter.logs("refused");
    let log = reporter.end();
    assert!(!log.contains("was not sent"), "{log}");
    let log = program.end();
    assert!(refused(&log).is_empty(), "{log}");
    let name = |metric: &str| format!("dd.instrumentation_telemetry_data.general.{metric}");
    let all = eventually_read(&intake);
    intake.read(|state| {
        let count = |metric: &str, tags: &[&str]| state.sum_of_counter(&name(metric), tags);
        assert_eq!(count("statsd.packets", &["listener:uds", "service:whippet"]), 3.0, "{all}");
        assert_eq!(count("statsd.messages", &["listener:uds"]), 6.0, "{all}");
        assert_eq!(count("statsd.parse_errors", &[]), 3.0, "{all}");
        assert_eq!(count("aggregator.contexts_created", &[]), 1.0, "{all}");
        assert!(state.last_value(&name("process.rss_bytes"), &[]).is_some_and(|rss| rss > 1e6));
    });
}

/// The names that arrived, for messages.
fn eventually_read(intake: &Intake) -> String {
    let mut names = Vec::new();
    eventually(Duration::from_secs(10), "series at the intake", || {
        names = intake.read(|state| {
            state
                .all_series()
                .map(|one| format!("{} {:?} {:?}", one.metric, one.tags, one.points))
                .collect::<Vec<_>>()
        });
        !names.is_empty()
    });
    names.join("\n")
}
