//! The client as a whole, with a clock in hand and a writer that fails on demand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::clock::Clock;

/// Answers with the outcomes it was given, then with 202, and keeps every body.
#[derive(Clone, Default)]
struct Endpoint {
    outcomes: Arc<Mutex<VecDeque<SendOutcome>>>,
    bodies: Arc<Mutex<Vec<Value>>>,
    panics: Arc<AtomicBool>,
}

impl Endpoint {
    fn answers(&self, outcomes: impl IntoIterator<Item = SendOutcome>) {
        self.outcomes.lock().unwrap().extend(outcomes);
    }

    fn statuses(&self, statuses: &[u16]) {
        self.answers(statuses.iter().map(|status| SendOutcome::answered(*status, "no")));
    }

    /// `seq_id type`, batches taken apart.
    fn sent(&self) -> Vec<String> {
        let bodies = std::mem::take(&mut *self.bodies.lock().unwrap());
        bodies.iter().map(|body| format!("{} {}", body["seq_id"], types(body))).collect()
    }

    fn bodies(&self) -> Vec<Value> {
        std::mem::take(&mut *self.bodies.lock().unwrap())
    }
}

fn types(message: &Value) -> String {
    match message["payload"].as_array() {
        Some(batch) => format!("[{}]", batch.iter().map(types).collect::<Vec<_>>().join(" ")),
        None => message["request_type"].as_str().unwrap().to_owned(),
    }
}

impl Writer for Endpoint {
    fn send(&self, body: &Body<'_>) -> SendResult {
        assert!(!self.panics.load(Ordering::Relaxed), "as asked");
        let json = body.to_json();
        self.bodies.lock().unwrap().push(serde_json::from_slice(&json).unwrap());
        let outcome = self.outcomes.lock().unwrap().pop_front();
        let outcome = outcome.unwrap_or_else(|| SendOutcome::answered(202, ""));
        let (endpoint, took, bytes) = ("agent", Duration::from_millis(3), json.len());
        SendResult { attempts: vec![SendAttempt { endpoint, outcome, bytes, took }] }
    }
}

struct Hand {
    client: Client,
    endpoint: Endpoint,
    clock: Clock,
}

const START: u64 = 1_700_000_000;

impl Hand {
    /// Without metrics, so that the client's own do not stand in every flush.
    fn quiet() -> Self {
        Hand::with(|builder| {
            builder.environment(|name| {
                (name == "DD_TELEMETRY_METRICS_ENABLED").then(|| "false".to_owned())
            })
        })
    }

    fn with(describe: impl FnOnce(Builder) -> Builder) -> Self {
        let (endpoint, clock) = (Endpoint::default(), Clock::manual(Duration::from_secs(START)));
        let builder = Client::builder("shop").clock(clock.clone()).writer(endpoint.clone());
        let client = describe(builder).build().unwrap();
        Hand { client, endpoint, clock }
    }

    fn pass(&self, seconds: u64) -> &Self {
        self.clock.advance(Duration::from_secs(seconds));
        self
    }

    fn flush(&self) -> Vec<String> {
        self.client.flush();
        self.endpoint.sent()
    }

    /// Tells something that makes one payload.
    fn logs(&self) {
        self.client.log(&LogRecord::error("boom"));
    }
}

#[test]
fn nothing_is_sent_before_the_start_and_after_the_end() {
    let hand = Hand::quiet();
    hand.client.product_started("a");
    assert!(hand.flush().is_empty() && !hand.client.is_running());
    assert!(hand.client.start_manually() && !hand.client.start_manually());
    assert_eq!(hand.flush(), ["1 app-started"]);
    hand.client.stop();
    assert_eq!(hand.endpoint.sent(), ["2 app-closing"]);
    hand.logs();
    assert!(hand.flush().is_empty());
    assert_eq!(hand.client.stop(), FlushReport::default());
    assert!(!hand.client.start_manually());
}

#[test]
fn a_life_is_a_start_changes_signs_of_life_and_an_end() {
    let hand = Hand::quiet();
    let client = &hand.client;
    client.configuration([Setting::new("a", true, Origin::EnvVar)]);
    client.product_failed("uds", 13, "permission denied");
    client.integration(Integration::new("redis", "1"));
    client.dependencies(|| vec![Dependency { name: "serde".into(), version: "1".into() }]);
    hand.logs();
    client.start_manually();
    assert_eq!(
        hand.flush(),
        ["1 app-started", "2 [app-integrations-change app-dependencies-loaded logs]"]
    );
    hand.pass(59);
    assert!(hand.flush().is_empty());
    hand.pass(1);
    assert_eq!(hand.flush(), ["3 app-heartbeat"]);
    client.configuration([Setting::new("a", false, Origin::EnvVar)]);
    client.product_started("uds");
    assert_eq!(hand.flush(), ["4 [app-product-change app-client-configuration-change]"]);
    hand.pass(60);
    hand.logs();
    assert_eq!(hand.flush(), ["5 [logs app-heartbeat]"]);
    hand.pass(24 * 3600 - 120);
    client.flush();
    let bodies = hand.endpoint.bodies();
    assert_eq!(types(&bodies[0]), "app-extended-heartbeat");
    let everything = &bodies[0]["payload"];
    assert_eq!(everything["configuration"][0]["value"], false);
    assert_eq!(everything["dependencies"][0]["name"], "serde");
    assert_eq!(everything["integrations"][0]["name"], "redis");
    hand.logs();
    client.stop();
    // The plain heartbeat was due with the extended one, and still is.
    assert_eq!(hand.endpoint.sent(), ["7 [logs app-closing app-heartbeat]"]);
}

#[test]
fn a_heartbeat_comes_with_every_flush_of_the_slowest_pace() {
    for (heartbeat, due) in [(60, 60), (600, 60), (20, 20)] {
        let hand = Hand::with(|builder| {
            let variable = move |name: &str| match name {
                "DD_TELEMETRY_HEARTBEAT_INTERVAL" => Some(heartbeat.to_string()),
                "DD_TELEMETRY_METRICS_ENABLED" => Some("0".to_owned()),
                _ => None,
            };
            builder.environment(variable)
        });
        hand.client.start_manually();
        hand.flush();
        // With equal intervals it is due 10 ms before its flush.
        let margin = if due == 60 { 10 } else { 0 };
        hand.clock.advance(Duration::from_secs(due) - Duration::from_millis(margin + 1));
        assert!(hand.flush().is_empty(), "{heartbeat}");
        hand.clock.advance(Duration::from_millis(1));
        assert_eq!(hand.flush(), ["2 app-heartbeat"], "{heartbeat}");
    }
}

#[test]
fn what_fails_waits_in_order_and_goes_first() {
    let hand = Hand::quiet();
    hand.client.start_manually();
    hand.logs();
    hand.endpoint.answers([SendOutcome::Unreachable("connection refused".into())]);
    let report = hand.client.flush();
    let expected = FlushReport {
        waiting: 2,
        failure: Some("agent: connection refused".into()),
        ..FlushReport::default()
    };
    assert_eq!(report, expected);
    assert_eq!(hand.endpoint.sent(), ["1 app-started"], "the second one was not tried");
    hand.client.product_started("a");
    hand.endpoint.statuses(&[202, 500]);
    assert_eq!(hand.client.flush().waiting, 2);
    assert_eq!(hand.endpoint.sent(), ["2 app-started", "3 logs"]);
    assert_eq!(hand.flush(), ["4 logs", "5 app-product-change"]);
    assert!(hand.flush().is_empty());
    assert_eq!(hand.client.losses(), ClientLosses::default());
}

#[test]
fn at_most_32_payloads_wait_and_then_the_oldest_goes() {
    let hand = Hand::quiet();
    hand.client.start_manually();
    for _ in 0..34 {
        hand.endpoint.answers([SendOutcome::TimedOut]);
        hand.logs();
        hand.client.flush();
    }
    hand.endpoint.sent();
    // Of app-started and 34 times logs.
    assert_eq!(hand.client.losses().payloads, 3);
    assert_eq!(hand.flush().len(), 32);
}

#[test]
fn a_payload_that_is_too_large_is_dropped_and_the_others_go_on() {
    let hand = Hand::quiet();
    hand.client.start_manually();
    hand.logs();
    hand.endpoint.statuses(&[413]);
    let report = hand.client.flush();
    assert_eq!((report.delivered, report.dropped, report.waiting), (1, 1, 0));
    assert_eq!(hand.endpoint.sent(), ["1 app-started", "2 logs"]);
    assert_eq!(hand.client.losses().payloads, 1);
    assert!(hand.flush().is_empty());
}

#[test]
fn large_bodies_speed_up_and_an_empty_queue_slows_down() {
    let hand = Hand::quiet();
    hand.client.start_manually();
    let seconds = || hand.client.flush_interval().as_secs();
    let large = |name: &str| {
        // Another value each time: one that is in force already is not told again.
        let value = hand.clock.monotonic().as_nanos().to_string() + &"x".repeat(3 << 20);
        hand.clock.advance(Duration::from_nanos(1));
        hand.client.configuration([Setting::new(name, value, Origin::Code)]);
    };
    let mut seen = Vec::new();
    large("a");
    // Two large ones in one flush are one reason.
    hand.endpoint.answers([SendOutcome::TimedOut]);
    hand.client.flush();
    seen.push(seconds());
    large("b");
    hand.client.flush();
    seen.push(seconds());
    for _ in 0..2 {
        large("b");
        hand.client.flush();
        seen.push(seconds());
    }
    // Something waits: neither faster nor slower.
    hand.logs();
    hand.endpoint.answers([SendOutcome::TimedOut]);
    hand.client.flush();
    seen.push(seconds());
    for _ in 0..3 {
        hand.client.flush();
        seen.push(seconds());
    }
    assert_eq!(seen, [60, 30, 15, 15, 15, 30, 60, 60]);
}

#[test]
fn the_client_counts_its_own_requests() {
    let hand = Hand::with(|builder| builder);
    hand.client.start_manually();
    hand.endpoint.statuses(&[500, 202]);
    hand.endpoint.answers([SendOutcome::TimedOut]);
    hand.client.flush();
    hand.client.flush();
    hand.endpoint.bodies();
    hand.client.flush();
    let series = |body: &Value, what: usize| -> Vec<String> {
        let list = body["payload"][what]["payload"]["series"].as_array().unwrap();
        list.iter()
            .map(|one| {
                let tags: Vec<&str> = one["tags"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|tag| tag.as_str().unwrap())
                    .collect();
                let points = one["points"].as_array().unwrap();
                let points = match points[0].as_array() {
                    Some(point) => point[1].to_string(),
                    None => points.len().to_string(),
                };
                let (namespace, metric) = (&one["namespace"], &one["metric"]);
                format!("{namespace} {metric} {} {points}", tags.join(",")).replace('"', "")
            })
            .collect()
    };
    let bodies = hand.endpoint.bodies();
    // What waited, then what the second flush counted; the first flush's numbers wait in it too.
    assert_eq!(types(&bodies[0]), "[generate-metrics distributions]");
    assert_eq!(
        series(&bodies[0], 0),
        [
            "telemetry telemetry_api.errors endpoint:agent,type:status_code 1.0",
            "telemetry telemetry_api.requests endpoint:agent 1.0",
            "telemetry telemetry_api.responses endpoint:agent,status_code:500 1.0",
        ]
    );
    assert_eq!(
        series(&bodies[1], 0),
        [
            "telemetry telemetry_api.errors endpoint:agent,type:timeout 1.0",
            "telemetry telemetry_api.requests endpoint:agent 2.0",
            "telemetry telemetry_api.responses endpoint:agent,status_code:202 1.0",
        ]
    );
    assert_eq!(
        series(&bodies[1], 1),
        [
            "telemetry telemetry_api.bytes endpoint:agent 2",
            "telemetry telemetry_api.ms endpoint:agent 2",
        ]
    );
}

#[test]
fn collectors_run_before_each_point_and_points_between_flushes_travel_together() {
    let hand = Hand::with(|builder| builder.point_interval(Duration::from_secs(10)));
    let gauge = hand.client.gauge("general", "depth", &[]);
    let (depth, held) = (Arc::new(Mutex::new(0.0)), gauge.clone());
    let next = Arc::clone(&depth);
    hand.client.on_collect(move || {
        let mut depth = next.lock().unwrap();
        *depth += 1.0;
        held.submit(*depth);
    });
    hand.client.start_manually();
    hand.client.count("general", "c", &[]).submit(1.0);
    hand.pass(10).client.collect();
    hand.client.count("general", "c", &[]).submit(2.0);
    hand.pass(10).client.flush();
    let bodies = hand.endpoint.bodies();
    let series = &bodies[1]["payload"]["series"];
    let at = |seconds: u64, value: f64| serde_json::json!([START + seconds, value]);
    assert_eq!(series[0]["points"], serde_json::json!([at(10, 1.0), at(20, 2.0)]));
    assert_eq!(series[1]["points"], serde_json::json!([at(10, 1.0), at(20, 2.0)]));
    assert_eq!((&series[0]["metric"], &series[1]["metric"]), (&"c".into(), &"depth".into()));
}

#[test]
fn a_panic_while_flushing_ends_telemetry_and_nothing_else() {
    let hand = Hand::quiet();
    hand.client.start_manually();
    hand.endpoint.panics.store(true, Ordering::Relaxed);
    assert_eq!(hand.client.flush().failure.as_deref(), Some("it panicked"));
    assert!(!hand.client.is_running());
    hand.endpoint.panics.store(false, Ordering::Relaxed);
    hand.logs();
    assert!(hand.flush().is_empty());
    assert_eq!(hand.client.stop(), FlushReport::default());
}

#[test]
fn what_is_switched_off_is_not_sent() {
    let off = |variable: &'static str| {
        let hand = Hand::with(|builder| {
            builder.environment(move |name| (name == variable).then(|| "false".to_owned()))
        });
        hand.logs();
        hand.client.count("general", "c", &[]).submit(1.0);
        hand.client.dependencies(|| vec![Dependency { name: "a".into(), version: "1".into() }]);
        hand.client.start_manually();
        hand.flush()
    };
    assert_eq!(off("none"), ["1 app-started", "2 [app-dependencies-loaded logs generate-metrics]"]);
    assert!(off("DD_INSTRUMENTATION_TELEMETRY_ENABLED").is_empty());
    assert_eq!(
        off("DD_TELEMETRY_METRICS_ENABLED"),
        ["1 app-started", "2 [app-dependencies-loaded logs]"]
    );
    assert_eq!(
        off("DD_TELEMETRY_LOG_COLLECTION_ENABLED"),
        ["1 app-started", "2 [app-dependencies-loaded generate-metrics]"]
    );
    assert_eq!(
        off("DD_TELEMETRY_DEPENDENCY_COLLECTION_ENABLED"),
        ["1 app-started", "2 [logs generate-metrics]"]
    );
}

#[test]
fn a_description_that_cannot_work_is_refused_with_the_way_out() {
    let seconds = Duration::from_secs;
    for (builder, message) in [
        (
            Client::builder(" "),
            "telemetry needs the name of a service; give Client::builder one that is not empty",
        ),
        (
            Client::builder("shop").flush_interval(Range::new(seconds(60), seconds(15))),
            "flush intervals from 60 s to 15 s: the first must be above zero and not larger",
        ),
        (
            Client::builder("shop").without_agent(),
            "telemetry has nowhere to go; name the URL of an agent, or give an API key",
        ),
    ] {
        assert_eq!(builder.build().unwrap_err().to_string(), message);
    }
}

#[test]
fn a_thread_flushes_at_once_and_ends_with_the_client() {
    let endpoint = Endpoint::default();
    let client = Client::builder("shop").writer(endpoint.clone()).build().unwrap();
    client.start().unwrap();
    let began = std::time::Instant::now();
    while endpoint.bodies.lock().unwrap().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(20), "no app-started");
        std::thread::yield_now();
    }
    client.stop();
    let sent = endpoint.sent();
    assert_eq!(sent[0], "1 app-started");
    assert!(sent.last().unwrap().contains("app-closing"), "{sent:?}");
    assert!(!client.is_running());
}

#[test]
fn calls_before_the_client_are_made_in_order_and_those_after_it_directly() {
    let (global, hand) = (Global::default(), Hand::quiet());
    for value in 0..3 {
        assert!(global.configuration([Setting::new("a", value, Origin::Code)]));
    }
    global.product_stopped("p");
    global.integration(Integration::failed("kafka", "no broker"));
    global.log(LogRecord::error("early"));
    hand.client.start_manually();
    assert!(global.exchange(hand.client.clone()).is_none());
    global.product_started("p");
    hand.client.flush();
    let bodies = hand.endpoint.bodies();
    assert_eq!(bodies[0]["payload"]["configuration"][0]["value"], 2);
    assert_eq!(bodies[0]["payload"]["products"]["p"]["enabled"], true);
    assert_eq!(types(&bodies[1]), "[app-integrations-change logs]");
    global.stop();
    assert_eq!(hand.endpoint.sent(), ["3 app-closing"]);
    // After the end calls wait for another client.
    assert!(global.product_started("p") && global.client().is_none());
}

#[test]
fn more_than_512_calls_before_the_client_lose_the_oldest_and_say_so() {
    let (global, hand) = (Global::default(), Hand::quiet());
    let call = |number: i32| global.configuration([Setting::new("a", number, Origin::Code)]);
    assert!((0..512).all(call));
    assert!(!call(512));
    assert_eq!(global.lost(), 1);
    hand.client.start_manually();
    global.exchange(hand.client.clone());
    hand.client.flush();
    assert_eq!(hand.endpoint.bodies()[0]["payload"]["configuration"][0]["value"], 512);
}

/// The sum of a count over all bodies.
fn total(bodies: &[Value], metric: &str) -> f64 {
    fn add(message: &Value, metric: &str, sum: &mut f64) {
        if let Some(batch) = message["payload"].as_array() {
            batch.iter().for_each(|message| add(message, metric, sum));
        } else if let Some(series) = message["payload"]["series"].as_array() {
            for one in series.iter().filter(|one| one["metric"] == metric) {
                *sum += one["points"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|p| p[1].as_f64().unwrap())
                    .sum::<f64>();
            }
        }
    }
    let mut sum = 0.0;
    bodies.iter().for_each(|body| add(body, metric, &mut sum));
    sum
}

#[test]
fn clients_are_exchanged_under_load_and_every_handle_stays_valid() {
    const EACH: u32 = 30_000;
    let global = Arc::new(Global::default());
    let endpoint = Endpoint::default();
    let next = || {
        let client = Client::builder("shop").writer(endpoint.clone()).build().unwrap();
        client.start_manually();
        client
    };
    let integrations = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let early = global.count("general", "c", &[]);
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let (early, global, integrations) = (early.clone(), &global, &integrations);
                scope.spawn(move || {
                    for _ in 0..EACH / 2 {
                        early.submit(1.0);
                        global.count("general", "c", &[]).submit(1.0);
                    }
                    integrations
                        .store(global.integration(Integration::new("x", "1")), Ordering::Relaxed);
                })
            })
            .collect();
        while !workers.iter().all(|worker| worker.is_finished()) {
            let client = next();
            if let Some(before) = global.exchange(client.clone()) {
                before.stop();
            }
            client.flush();
        }
    });
    assert!(integrations.into_inner(), "no call was lost");
    // The last one, if the load was over before the first.
    if let Some(before) = global.exchange(next()) {
        before.stop();
    }
    global.stop();
    assert_eq!(total(&endpoint.bodies(), "c"), f64::from(2 * EACH));
}

#[test]
fn clients_may_be_used_from_any_thread() {
    fn any_thread<T: Send + Sync + 'static>() {}
    any_thread::<Client>();
    any_thread::<Global>();
    any_thread::<Count>();
    any_thread::<Rate>();
    any_thread::<Gauge>();
    any_thread::<Distribution>();
    any_thread::<ErrorRecords>();
    any_thread::<Recorder<Client>>();
    any_thread::<RingQueue<u8>>();
    any_thread::<HttpWriter>();
}
