//! The forwarder against a fake intake over real sockets: every row of the response table, order,
//! bounds, books, keys and shutdown.

use crate::support::decode::{
    Dogsketch, MetricPayload, MetricPoint, MetricSeries, Resource, Sketch, SketchPayload,
};
use crate::support::front::{ConnectProxy, TlsFront};
use crate::support::intake::{Answer, Intake};
use crate::support::log;
use bytes::Bytes;
use prost::Message;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use whippet::clock::Clock;
use whippet::encode::{ContentEncoding, Payload, Route};
use whippet::forward::{
    ClientSettings, DropReason, Endpoint, ErrorKind, ForwardAccounting, Forwarder, ForwarderConfig,
    KeyStatus, RetryPolicy, RouteCounts, SpoolSettings,
};

const KEY: &str = "4f1c2a9b7d3e5f60718293a4b5c6d7e8";

// ------------------------------------------------------------------------------------- helpers

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn packed(route: Route, encoding: ContentEncoding, plain: &[u8], items: usize) -> Payload {
    let zlib = flate2::Compression::fast();
    let body = match encoding {
        ContentEncoding::Identity => plain.to_vec(),
        ContentEncoding::Zstd => zstd::encode_all(plain, 1).expect("in memory"),
        ContentEncoding::Deflate => {
            let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), zlib);
            writer.write_all(plain).expect("in memory");
            writer.finish().expect("in memory")
        }
        ContentEncoding::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), zlib);
            writer.write_all(plain).expect("in memory");
            writer.finish().expect("in memory")
        }
    };
    Payload {
        route,
        body: Bytes::from(body),
        encoding,
        items,
        points: items,
        uncompressed_bytes: plain.len(),
        built_at: unix_now(),
    }
}

/// One rate of 1/s over 10 s per name.
fn counters(names: &[String]) -> Payload {
    let series = names
        .iter()
        .map(|name| MetricSeries {
            resources: vec![Resource { kind: "host".to_owned(), name: "web-1".to_owned() }],
            metric: name.clone(),
            tags: vec!["env:prod".to_owned(), "a:b".to_owned()],
            points: vec![MetricPoint { value: 1.0, timestamp: 1_700_000_000 }],
            kind: 2,
            interval: 10,
            ..MetricSeries::default()
        })
        .collect();
    let plain = MetricPayload { series }.encode_to_vec();
    packed(Route::SeriesV2, ContentEncoding::Zstd, &plain, names.len())
}

fn counter(name: &str) -> Payload {
    counters(&[name.to_owned()])
}

/// Halves a payload of [`counters`].
fn halve(payload: &Payload) -> Result<Option<(Payload, Payload)>, Box<dyn std::error::Error>> {
    let plain = zstd::decode_all(&payload.body[..])?;
    let names: Vec<String> =
        MetricPayload::decode(&plain[..])?.series.into_iter().map(|series| series.metric).collect();
    if names.len() < 2 {
        return Ok(None);
    }
    let (first, second) = names.split_at(names.len() / 2);
    Ok(Some((counters(first), counters(second))))
}

/// Backoff of 20 to 80 ms, no chance, no key checks.
fn quick() -> ForwarderConfig {
    log::start();
    let mut config = ForwarderConfig::new(Arc::new(halve));
    config.retry = RetryPolicy {
        base: Duration::from_millis(10),
        max: Duration::from_millis(80),
        ..RetryPolicy::default()
    };
    config.jitter = Arc::new(|| 0.0);
    config.validation_interval = None;
    config
}

/// Once failed, a route stays blocked for as long as a test lasts.
fn slow_to_forgive() -> ForwarderConfig {
    let mut config = quick();
    config.retry = RetryPolicy {
        base: Duration::from_secs(600),
        max: Duration::from_secs(600),
        ..RetryPolicy::default()
    };
    config
}

fn start(urls: &[String], config: ForwarderConfig) -> Forwarder {
    start_with(urls, config, Clock::wall())
}

fn start_with(urls: &[String], config: ForwarderConfig, clock: Clock) -> Forwarder {
    let endpoints = urls.iter().map(|url| Endpoint::at(url, KEY).expect("a URL")).collect();
    Forwarder::start(endpoints, config, clock).expect("valid settings")
}

fn submit(forwarder: &Forwarder, payload: &Payload) {
    forwarder.submit(payload, Instant::now() + Duration::from_secs(5));
}

fn shutdown_now(forwarder: &Forwarder) {
    forwarder.shutdown(Instant::now() + Duration::from_secs(2));
}

/// Waits for a state of the books, which must balance all the time.
#[track_caller]
fn wait_books(
    forwarder: &Forwarder,
    condition: impl Fn(&ForwardAccounting) -> bool,
) -> ForwardAccounting {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let books = forwarder.accounting();
        assert!(books.balances(), "{books:?}");
        if condition(&books) {
            return books;
        }
        assert!(Instant::now() < until, "not within 5 s: {books}; {books:?}");
        std::thread::yield_now();
    }
}

fn waiting(books: &ForwardAccounting) -> u64 {
    books.total(|route| route.waiting).payloads
}

fn delivered(books: &ForwardAccounting) -> u64 {
    books.total(|route| route.delivered).payloads
}

fn dropped(books: &ForwardAccounting, reason: DropReason) -> u64 {
    books.total(|route| route.dropped_for(reason)).payloads
}

fn series_books(books: &ForwardAccounting) -> &RouteCounts {
    books.endpoints[0].route(Route::SeriesV2)
}

// ---------------------------------------------------------------------------- the response table

/// One payload meets these answers; then it is delivered, or dropped for that reason, after that
/// many requests.
#[track_caller]
fn meets(answers: &[Answer], lost: Option<DropReason>, requests: u64) -> ForwardAccounting {
    let intake = Intake::start();
    intake.script(answers.iter().cloned());
    let mut config = quick();
    config.client.timeout = Duration::from_millis(400);
    let forwarder = start(&[intake.url()], config);
    submit(&forwarder, &counter("page.views"));
    let books = wait_books(&forwarder, |books| waiting(books) == 0);
    match lost {
        None => assert_eq!(delivered(&books), 1),
        Some(reason) => assert_eq!(dropped(&books, reason), 1),
    }
    let route = series_books(&books);
    assert_eq!(route.requests, requests, "{route:?}");
    assert_eq!(route.retries, requests - 1, "{route:?}");
    assert_eq!(intake.read(|state| state.requests.len() as u64), requests);
    books
}

#[test]
fn success_is_2xx_only() {
    meets(&[Answer::status(202)], None, 1);
    meets(&[Answer::status(200)], None, 1);
    let elsewhere = Answer::status(302).header("Location", "http://127.0.0.1:9/");
    let books = meets(&[elsewhere], None, 2);
    assert_eq!(series_books(&books).statuses.iter().collect::<Vec<_>>(), [(&202, &1), (&302, &1)]);
}

#[test]
fn a_400_is_dropped() {
    meets(&[Answer::status(400)], Some(DropReason::BadRequest), 1);
}

#[test]
fn temporary_answers_are_retried_until_success() {
    for status in [401, 404, 408, 429, 500, 503] {
        meets(&[Answer::status(status), Answer::status(status)], None, 3);
    }
}

#[test]
fn requests_without_an_answer_are_retried() {
    for (answer, kind) in [
        (Answer::cut(), ErrorKind::Disconnect),
        (Answer::cut_within(), ErrorKind::Disconnect),
        (Answer::hang(), ErrorKind::Timeout),
        (Answer::status(202).after(Duration::from_secs(1)), ErrorKind::Timeout),
    ] {
        let books = meets(&[answer], None, 2);
        assert_eq!(series_books(&books).errors[kind as usize], 1, "{kind:?}");
    }
}

#[test]
fn a_payload_is_sent_again_when_its_answer_was_lost_and_series_do_not_double() {
    let intake = Intake::start();
    intake.script([Answer::cut().but_stored()]);
    let forwarder = start(&[intake.url()], quick());
    submit(&forwarder, &counter("page.views"));
    wait_books(&forwarder, |books| delivered(books) == 1);
    intake.wait_until(|state| state.overwritten == 1);
    assert_eq!(intake.read(|state| state.sum_of_counter("page.views", &["env:prod"])), 10.0);
}

#[test]
fn an_intake_that_is_down_gets_everything_when_it_comes_back() {
    let gone = Intake::start();
    let (url, address) = (gone.url(), gone.address());
    drop(gone);
    let forwarder = start(&[url], quick());
    submit(&forwarder, &counter("page.views"));
    wait_books(&forwarder, |books| {
        series_books(books).errors[ErrorKind::Connect as usize]
            + series_books(books).errors[ErrorKind::Disconnect as usize]
            >= 2
    });
    let back = Intake::start_at(&address);
    back.wait_until(|state| state.last_value("page.views", &[]) == Some(1.0));
    wait_books(&forwarder, |books| delivered(books) == 1);
}

#[test]
fn retry_after_is_honoured() {
    let intake = Intake::start();
    intake.script([Answer::status(429).header("Retry-After", "1")]);
    let forwarder = start(&[intake.url()], quick());
    submit(&forwarder, &counter("page.views"));
    intake.wait_until(|state| state.requests.len() == 2);
    let gap = intake.read(|state| state.requests[1].at - state.requests[0].at);
    assert!(gap >= Duration::from_millis(900), "{gap:?}");
}

#[test]
fn a_403_is_kept_and_sent_when_the_same_key_is_accepted_again() {
    let intake = Intake::start();
    intake.script([Answer::status(403)]);
    let forwarder = start(&[intake.url()], slow_to_forgive());
    submit(&forwarder, &counter("first"));
    let books = wait_books(&forwarder, |books| series_books(books).requests == 1);
    assert_eq!((waiting(&books), &books.endpoints[0].key_status), (1, &KeyStatus::Invalid));
    assert_eq!(books.endpoints[0].breaker_errors, [0; 5]);
    submit(&forwarder, &counter("second"));
    let books = wait_books(&forwarder, |books| delivered(books) == 2);
    assert_eq!(books.endpoints[0].key_status, KeyStatus::Valid);
}

#[test]
fn a_403_is_sent_with_the_new_key_when_it_changes() {
    const NEW: &str = "ffffffffffffffffffffffffffffff99";
    let intake = Intake::start();
    intake.script([Answer::status(403)]);
    let forwarder = start(&[intake.url()], slow_to_forgive());
    submit(&forwarder, &counter("first"));
    wait_books(&forwarder, |books| series_books(books).requests == 1);
    assert!(!forwarder.set_api_key(0, KEY), "the same key is no change");
    assert!(!forwarder.set_api_key(1, NEW), "there is no second endpoint");
    assert!(forwarder.set_api_key(0, NEW));
    wait_books(&forwarder, |books| delivered(books) == 1);
    let keys = intake.read(|state| {
        state.requests.iter().map(|r| r.header("dd-api-key").to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(keys, [KEY, NEW]);
}

/// Events are rare: nothing new on their own route may come before they are too old.
#[test]
fn a_403_on_one_route_is_tried_again_when_another_route_delivers() {
    let intake = Intake::start();
    intake.script([Answer::status(403)]);
    let forwarder = start(&[intake.url()], quick());
    let event = packed(Route::Events, ContentEncoding::Identity, b"{\"events\":{}}", 1);
    submit(&forwarder, &event);
    wait_books(&forwarder, |books| {
        waiting(books) == 1 && books.endpoints[0].route(Route::Events).requests == 1
    });
    submit(&forwarder, &counter("first"));
    let books = wait_books(&forwarder, |books| delivered(books) == 2);
    assert_eq!(books.endpoints[0].route(Route::Events).requests, 2);
}

/// The pause after a second refusal is longer than the test: only the clock ends it.
#[test]
fn a_payload_refused_twice_waits_for_its_pause_and_not_for_another_payload() {
    let intake = Intake::start();
    intake.script([Answer::status(403), Answer::status(202), Answer::status(403)]);
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let forwarder = start_with(&[intake.url()], slow_to_forgive(), clock.clone());
    submit(&forwarder, &counter("refused"));
    wait_books(&forwarder, |books| series_books(books).requests == 1);
    submit(&forwarder, &counter("accepted"));
    wait_books(&forwarder, |books| series_books(books).requests == 3);
    submit(&forwarder, &counter("accepted too"));
    let books = wait_books(&forwarder, |books| delivered(books) == 2);
    assert_eq!((waiting(&books), series_books(&books).requests), (1, 4));
    clock.advance(Duration::from_secs(601));
    forwarder.recheck_clock();
    wait_books(&forwarder, |books| delivered(books) == 3);
}

#[test]
fn a_413_is_split_until_it_fits_and_nothing_is_lost() {
    let intake = Intake::start();
    let too_large = || Answer::status(413);
    intake.script([too_large(), too_large()]);
    let forwarder = start(&[intake.url()], quick());
    let names: Vec<String> = (0..5).map(|n| format!("m{n}")).collect();
    submit(&forwarder, &counters(&names));
    let books = wait_books(&forwarder, |books| books.total(|r| r.delivered).points == 5);
    let route = series_books(&books);
    // Five -> two and three; two -> one and one.
    assert_eq!((route.built.payloads, route.built.points, route.splits), (3, 5, 2));
    assert_eq!(books.endpoints[0].breaker_errors, [0; 5]);
    for name in names {
        assert_eq!(intake.read(|state| state.sum_of_counter(&name, &[])), 10.0);
    }
}

#[test]
fn a_single_item_that_is_too_large_is_dropped_alone() {
    let intake = Intake::start();
    let too_large = || Answer::status(413);
    intake.script([too_large(), too_large()]);
    let forwarder = start(&[intake.url()], quick());
    submit(&forwarder, &counters(&["a".to_owned(), "b".to_owned()]));
    let books = wait_books(&forwarder, |books| waiting(books) == 0);
    assert_eq!((delivered(&books), dropped(&books, DropReason::TooLarge)), (1, 1));
}

// --------------------------------------------------------------------------------- connections

#[test]
fn one_connection_serves_many_payloads() {
    let intake = Intake::start();
    let forwarder = start(&[intake.url()], quick());
    for n in 0..20 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    wait_books(&forwarder, |books| delivered(books) == 20);
    assert_eq!(intake.read(|state| state.connections), 1);
}

#[test]
fn a_connection_closed_while_idle_costs_no_error() {
    let intake = Intake::start();
    intake.script([Answer::close_after(), Answer::status(202), Answer::cut()]);
    let forwarder = start(&[intake.url()], slow_to_forgive());
    for n in 1..=3 {
        submit(&forwarder, &counter(&format!("m{n}")));
        wait_books(&forwarder, |books| delivered(books) == n);
    }
    let books = forwarder.accounting();
    // The third was cut without an answer on a used connection: sent again at once.
    assert!(series_books(&books).stale_connections >= 1, "{books:?}");
    assert_eq!(series_books(&books).errors, [0; 7]);
    assert_eq!(books.endpoints[0].breaker_errors, [0; 5]);
}

#[test]
fn every_route_has_its_path_and_headers() {
    let intake = Intake::start();
    let mut config = quick();
    config.client.allow_arbitrary_tags = true;
    let forwarder = start(&[intake.url()], config);
    let sketches = SketchPayload {
        sketches: vec![Sketch {
            metric: "req.dur".to_owned(),
            host: "web-1".to_owned(),
            tags: vec!["env:prod".to_owned()],
            dogsketches: vec![Dogsketch { ts: 1, cnt: 4, ..Dogsketch::default() }],
        }],
    };
    let v1 = br#"{"series":[{"metric":"old","points":[[1,2.5],[2,3.5]],"tags":["b","a"],
                 "host":"h","device":"eth0","type":"gauge","interval":10}]}"#;
    let events = br#"{"apiKey":"","internalHostname":"h","events":{"api":[{"msg_title":"x"}]}}"#;
    let checks = br#"[{"check":"app.ok","status":0}]"#;
    submit(&forwarder, &counter("page.views"));
    submit(
        &forwarder,
        &packed(Route::Sketches, ContentEncoding::Gzip, &sketches.encode_to_vec(), 1),
    );
    submit(&forwarder, &packed(Route::SeriesV1, ContentEncoding::Deflate, v1, 1));
    submit(&forwarder, &packed(Route::Events, ContentEncoding::Identity, events, 1));
    submit(&forwarder, &packed(Route::ServiceChecks, ContentEncoding::Deflate, checks, 1));
    wait_books(&forwarder, |books| delivered(books) == 5);
    intake.read(|state| {
        assert_eq!(state.undecodable, [] as [String; 0]);
        let version = env!("CARGO_PKG_VERSION");
        for (path, content, encoding, schema) in [
            ("/api/v2/series", "application/x-protobuf", "zstd", "5.0.154"),
            ("/api/beta/sketches", "application/x-protobuf", "gzip", "5.0.154"),
            ("/api/v1/series", "application/json", "deflate", ""),
            ("/intake/", "application/json", "", ""),
            ("/api/v1/check_run", "application/json", "deflate", ""),
        ] {
            let request = state.requests_to(path)[0];
            assert_eq!(request.method, "POST");
            for (header, value) in [
                ("DD-API-KEY", KEY),
                ("User-Agent", &format!("whippet/{version}")),
                ("DD-Agent-Version", version),
                ("DD-Agent-Payload", schema),
                ("Content-Type", content),
                ("Content-Encoding", encoding),
                ("Allow-Arbitrary-Tag-Value", "true"),
            ] {
                assert_eq!(request.header(header), value, "{path} {header}");
            }
        }
        assert_eq!(state.count_of_sketches("req.dur", &["env:prod"]), 4);
        assert_eq!(state.points("old", &["a", "device:eth0"]), [(1, 2.5), (2, 3.5)]);
        assert_eq!(state.events[0]["msg_title"], "x");
        assert_eq!(state.checks[0]["check"], "app.ok");
    });
}

/// Through TLS with those versions, one payload; then the books when it was delivered or failed.
#[track_caller]
fn through_tls(
    versions: &[&'static rustls::SupportedProtocolVersion],
    set: impl FnOnce(&mut ClientSettings, &TlsFront),
) -> RouteCounts {
    let intake = Intake::start();
    let front = TlsFront::start(&intake.address(), versions);
    let mut config = slow_to_forgive();
    set(&mut config.client, &front);
    let forwarder = start(&[front.url()], config);
    submit(&forwarder, &counter("page.views"));
    let books = wait_books(&forwarder, |books| series_books(books).requests == 1);
    series_books(&books).clone()
}

#[test]
fn certificates_are_verified_unless_told_otherwise() {
    let trusting = |client: &mut ClientSettings, front: &TlsFront| {
        client.ca_pem = Some(front.certificate_pem.clone().into_bytes());
    };
    let tls = ErrorKind::Tls as usize;
    let (old, new) = (&rustls::version::TLS12, &rustls::version::TLS13);
    assert_eq!(through_tls(&[new], trusting).delivered.payloads, 1);
    assert_eq!(through_tls(&[old], trusting).delivered.payloads, 1);
    assert_eq!(through_tls(&[new], |c, _| c.skip_ssl_validation = true).delivered.payloads, 1);
    assert_eq!(through_tls(&[new], |_, _| ()).errors[tls], 1, "an unknown authority");
    let only_new = |client: &mut ClientSettings, front: &TlsFront| {
        trusting(client, front);
        client.tls13_only = true;
    };
    assert_eq!(through_tls(&[old, new], only_new).delivered.payloads, 1);
    assert_eq!(through_tls(&[old], only_new).errors[tls], 1, "a server that is too old");
}

#[test]
fn the_proxy_is_used_with_its_credentials_unless_the_host_is_exempt() {
    let (intake, proxy) = (Intake::start(), ConnectProxy::start());
    let front = TlsFront::start(&intake.address(), &[&rustls::version::TLS13]);
    let mut config = quick();
    config.client.ca_pem = Some(front.certificate_pem.clone().into_bytes());
    config.client.proxies.https = format!("http://user:secret@{}", proxy.address());
    config.client.proxies.no_proxy = vec!["127.0.0.1".to_owned()];
    let forwarder = start(&[front.url(), intake.url()], config.clone());
    submit(&forwarder, &counter("page.views"));
    wait_books(&forwarder, |books| delivered(books) == 2);
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads[0].starts_with(&format!("CONNECT {} ", &front.url()[8..])), "{heads:?}");
    // "user:secret" in base64.
    assert!(heads[0].to_lowercase().contains("proxy-authorization: basic "), "{heads:?}");
    assert!(heads[0].contains("dXNlcjpzZWNyZXQ="), "{heads:?}");
    config.client.proxies.https = "no proxy at all".to_owned();
    let endpoint = Endpoint::at(&front.url(), KEY).expect("a URL");
    let error = Forwarder::start(vec![endpoint], config, Clock::wall()).expect_err("no proxy URL");
    assert_eq!(error.to_string(), "proxy.https: not a proxy URL such as http://proxy.corp:3128");
}

// ---------------------------------------------------------------------------- order and bounds

#[test]
fn a_hanging_endpoint_delays_no_other_and_not_the_flusher() {
    let (bad, good) = (Intake::start(), Intake::start());
    bad.respond(Answer::hang());
    let forwarder = start(&[bad.url(), good.url()], quick());
    let began = Instant::now();
    for n in 0..60 {
        forwarder.submit(&counter(&format!("m{n}")), began + Duration::from_secs(60));
    }
    good.wait_until(|state| state.requests.len() == 60);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let books = forwarder.accounting();
    assert!(books.balances());
    assert_eq!(books.endpoints[0].total(|route| route.waiting).payloads, 60);
}

#[test]
fn the_flusher_waits_for_a_slow_endpoint_only_as_long_as_it_said() {
    let intake = Intake::start();
    intake.respond(Answer::status(202).after(Duration::from_millis(20)));
    let mut config = quick();
    config.queue_bytes_max = 1; // nothing fits: what does not wait is lost
    let forwarder = start(&[intake.url()], config);
    for n in 0..40 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    let books = wait_books(&forwarder, |books| waiting(books) == 0);
    assert_eq!(delivered(&books), 40);
    let began = Instant::now();
    for n in 0..40 {
        forwarder.submit(&counter(&format!("m{n}")), began);
    }
    assert!(dropped(&forwarder.accounting(), DropReason::QueueFull) >= 40 - 18);
}

#[test]
fn a_failing_route_blocks_no_other_route() {
    let intake = Intake::start();
    intake.respond_on("/intake/", Answer::status(503));
    let forwarder = start(&[intake.url()], slow_to_forgive());
    let events = br#"{"events":{"api":[{"msg_title":"x"}]}}"#;
    submit(&forwarder, &packed(Route::Events, ContentEncoding::Identity, events, 1));
    for n in 0..3 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    let books = wait_books(&forwarder, |books| delivered(books) == 3);
    let events = books.endpoints[0].route(Route::Events);
    assert_eq!((events.waiting.payloads, events.requests), (1, 1));
}

#[test]
fn newest_goes_first_after_an_outage() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let mut config = quick();
    config.retry = RetryPolicy { recovery_reset: true, ..RetryPolicy::default() };
    let forwarder = start_with(&[intake.url()], config, clock.clone());
    submit(&forwarder, &counter("m0"));
    intake.wait_until(|state| state.requests.len() == 1);
    wait_books(&forwarder, |books| books.endpoints[0].breaker_errors[0] == 1);
    for n in 1..5 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    intake.respond(Answer::status(202));
    clock.advance(Duration::from_secs(2));
    forwarder.recheck_clock();
    wait_books(&forwarder, |books| delivered(books) == 5);
    let sizes = intake.read(|state| {
        let name = |plain: &[u8]| MetricPayload::decode(plain).unwrap().series[0].metric.clone();
        state.requests[1..].iter().map(|request| name(&request.plain)).collect::<Vec<_>>()
    });
    assert_eq!(sizes, ["m4", "m3", "m2", "m1", "m0"]);
}

#[test]
fn past_the_bound_the_oldest_are_dropped_and_counted() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let mut config = slow_to_forgive();
    config.queue_bytes_max = 4 * (counter("m0").body.len() + 300);
    let forwarder = start(&[intake.url()], config);
    submit(&forwarder, &counter("m0"));
    wait_books(&forwarder, |books| books.endpoints[0].breaker_errors[0] == 1);
    for n in 1..10 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    let books = wait_books(&forwarder, |books| dropped(books, DropReason::QueueFull) == 6);
    assert_eq!(waiting(&books), 4);
    assert!(books.endpoints[0].queue_bytes <= books.endpoints[0].queue_bytes_max);
    assert!(books.endpoints[0].queue_full_in.is_some());
    assert_eq!(intake.read(|state| state.requests.len()), 1, "blocked: no further request");
}

#[test]
fn a_long_outage_loses_only_what_is_too_old() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let clock = Clock::manual(Duration::from_secs(unix_now()));
    let mut config = quick();
    config.retry = RetryPolicy { recovery_reset: true, ..RetryPolicy::default() };
    let forwarder = start_with(&[intake.url()], config, clock.clone());
    for n in 0..70 {
        let mut payload = counter(&format!("m{n}"));
        payload.built_at = clock.unix().as_secs();
        submit(&forwarder, &payload);
        clock.advance(Duration::from_secs(60));
        forwarder.recheck_clock();
    }
    // Minute 70: what was built before minute 10 is older than an hour.
    let books = wait_books(&forwarder, |books| dropped(books, DropReason::TooOld) == 10);
    assert_eq!(waiting(&books), 60);
    intake.respond(Answer::status(202));
    // A request that came before is answered with 503 and must not meet the new time.
    wait_books(&forwarder, |books| {
        series_books(books).requests == intake.read(|state| state.requests.len() as u64)
    });
    clock.advance(Duration::from_secs(64));
    forwarder.recheck_clock();
    let books = wait_books(&forwarder, |books| waiting(books) == 0);
    let lost = dropped(&books, DropReason::TooOld);
    assert_eq!(delivered(&books) + lost, 70);
    assert!((11..=12).contains(&lost), "{lost}");
    let sum: f64 =
        intake.read(|state| (0..70).map(|n| state.sum_of_counter(&format!("m{n}"), &[])).sum());
    assert_eq!(sum, delivered(&books) as f64 * 10.0);
}

// ------------------------------------------------------------------------------------ shutdown

#[test]
fn a_shutdown_ignores_the_breaker_and_delivers_what_waits() {
    let intake = Intake::start();
    intake.script([Answer::status(503)]);
    let forwarder = start(&[intake.url()], slow_to_forgive());
    submit(&forwarder, &counter("m0"));
    wait_books(&forwarder, |books| books.endpoints[0].breaker_errors[0] == 1);
    submit(&forwarder, &counter("m1"));
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(3));
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.endpoints[0].delivered.payloads, 2);
    assert_eq!(intake.read(|state| state.sum_of_counter("m0", &[])), 10.0);
    submit(&forwarder, &counter("late"));
    let books = forwarder.accounting();
    assert!(books.balances());
    assert_eq!(dropped(&books, DropReason::Shutdown), 1);
}

#[test]
fn a_shutdown_gives_each_payload_one_attempt_and_counts_the_rest() {
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let forwarder = start(&[intake.url()], slow_to_forgive());
    for n in 0..3 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    wait_books(&forwarder, |books| books.endpoints[0].breaker_errors[0] == 1);
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(3));
    assert_eq!((report.endpoints[0].lost.payloads, report.endpoints[0].in_doubt.payloads), (3, 0));
    assert_eq!(intake.read(|state| state.requests.len()), 1 + 3);
    assert!(report.accounting.balances());
}

#[test]
fn a_shutdown_ends_at_its_deadline_whatever_the_intake_does() {
    let intake = Intake::start();
    intake.respond(Answer::hang());
    let forwarder = start(&[intake.url()], quick());
    for n in 0..4 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    intake.wait_until(|state| state.requests.len() == 1);
    let began = Instant::now();
    let report = forwarder.shutdown(began + Duration::from_millis(800));
    let took = began.elapsed();
    assert!(took < Duration::from_millis(1300), "{took:?}");
    assert!(report.accounting.balances());
    let endpoint = &report.endpoints[0];
    assert_eq!((endpoint.lost.payloads, endpoint.delivered.payloads), (4, 0));
    assert!(endpoint.in_doubt.payloads >= 2, "the one on the way and at least one more: {report}");
    assert!(report.to_string().contains("4 payloads (4 points) not delivered"), "{report}");
}

#[test]
fn a_stuck_request_leaves_time_for_the_others_at_shutdown() {
    let intake = Intake::start();
    intake.script([Answer::hang()]);
    let forwarder = start(&[intake.url()], quick());
    for n in 0..4 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    intake.wait_until(|state| state.requests.len() == 1);
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(2));
    let endpoint = &report.endpoints[0];
    assert_eq!((endpoint.delivered.payloads, endpoint.in_doubt.payloads), (3, 1), "{report}");
}

// ----------------------------------------------------------------------------------- disk spool

/// A memory bound so small that everything that fails goes to disk.
fn spooling(directory: &std::path::Path) -> ForwarderConfig {
    let mut config = slow_to_forgive();
    config.queue_bytes_max = 1;
    config.spool = Some(SpoolSettings {
        path: directory.to_owned(),
        bytes_max: 64 << 20,
        disk_ratio_max: 1.0,
    });
    config
}

#[test]
fn what_the_intake_missed_is_delivered_by_the_next_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    for n in 0..10 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    wait_books(&forwarder, |books| books.endpoints[0].spool_records == 10);
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(2));
    assert!(report.is_clean() && report.accounting.balances(), "{report}");
    assert_eq!(report.endpoints[0].spooled.payloads, 10, "{report}");
    drop(forwarder);

    intake.respond(Answer::status(202));
    let next = start(&[intake.url()], spooling(directory.path()));
    let books = wait_books(&next, |books| delivered(books) == 10);
    assert_eq!(books.endpoints[0].spool_records, 0);
    let first = intake.read(|state| {
        let last_run = &state.requests[state.requests.len() - 10];
        MetricPayload::decode(&last_run.plain[..]).unwrap().series[0].metric.clone()
    });
    assert_eq!(first, "m9", "newest first");
    let sum: f64 =
        intake.read(|state| (0..10).map(|n| state.sum_of_counter(&format!("m{n}"), &[])).sum());
    assert_eq!(sum, 100.0);
}

/// Memory holds nothing, so what is refused goes to disk at once, and could come back at once.
#[test]
fn what_is_on_disk_is_not_offered_to_an_intake_that_refuses_the_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let intake = Intake::start();
    intake.respond(Answer::status(403));
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    for n in 1..=5 {
        submit(&forwarder, &counter(&format!("m{n}")));
        wait_books(&forwarder, |books| {
            books.endpoints[0].spool_records == n && waiting(books) == n as u64
        });
    }
    assert_eq!(intake.read(|state| state.requests.len()), 5);
    intake.respond(Answer::status(202));
    submit(&forwarder, &counter("m6"));
    let books = wait_books(&forwarder, |books| delivered(books) == 6);
    assert_eq!((series_books(&books).requests, books.endpoints[0].spool_records), (11, 0));
}

#[test]
fn a_shutdown_tries_what_is_on_disk_until_its_route_fails() {
    let directory = tempfile::tempdir().expect("a directory");
    let intake = Intake::start();
    intake.respond(Answer::status(503));
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    for n in 0..5 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    wait_books(&forwarder, |books| books.endpoints[0].spool_records == 5);
    intake.script([Answer::status(202), Answer::status(202), Answer::status(500)]);
    let report = forwarder.shutdown(Instant::now() + Duration::from_secs(5));
    let endpoint = &report.endpoints[0];
    assert_eq!((endpoint.delivered.payloads, endpoint.spooled.payloads), (2, 3), "{report}");
    assert_eq!(intake.read(|state| state.requests.len()), 1 + 3);
    assert!(report.is_clean() && report.accounting.balances(), "{report}");
}

#[test]
fn a_request_cut_off_by_the_shutdown_is_spooled_as_in_doubt() {
    let directory = tempfile::tempdir().expect("a directory");
    let intake = Intake::start();
    intake.respond(Answer::hang());
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    submit(&forwarder, &counter("m"));
    intake.wait_until(|state| state.requests.len() == 1);
    let report = forwarder.shutdown(Instant::now() + Duration::from_millis(300));
    let endpoint = &report.endpoints[0];
    assert_eq!((endpoint.spooled.payloads, endpoint.in_doubt.payloads), (1, 1), "{report}");
    assert!(report.accounting.balances());
}

#[test]
fn a_split_of_a_spooled_payload_stays_on_disk_until_its_parts_arrive() {
    let directory = tempfile::tempdir().expect("a directory");
    let intake = Intake::start();
    intake.script([Answer::status(503)]);
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    submit(&forwarder, &counters(&["a".to_owned(), "b".to_owned()]));
    wait_books(&forwarder, |books| books.endpoints[0].spool_records == 1);
    drop(forwarder);
    intake.script([Answer::status(413), Answer::status(503)]);
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    let books = wait_books(&forwarder, |books| books.endpoints[0].breaker_errors[0] == 1);
    assert_eq!(books.endpoints[0].spool_records, 2);
    assert_eq!(books.total(|route| route.waiting).points, 2);
    drop(forwarder);
    let forwarder = start(&[intake.url()], spooling(directory.path()));
    let books = wait_books(&forwarder, |books| delivered(books) == 2);
    assert_eq!(books.endpoints[0].spool_records, 0);
}

#[test]
fn no_file_of_the_spool_holds_the_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let forwarder = start(&["http://127.0.0.1:1".to_owned()], spooling(directory.path()));
    submit(&forwarder, &packed(Route::Events, ContentEncoding::Identity, b"{}", 1));
    wait_books(&forwarder, |books| books.endpoints[0].spool_records == 1);
    let mut files = 0;
    for below in std::fs::read_dir(directory.path()).expect("the spool") {
        for file in std::fs::read_dir(below.expect("an entry").path()).expect("an endpoint") {
            let bytes = std::fs::read(file.expect("an entry").path()).expect("a file");
            assert!(!bytes.windows(KEY.len()).any(|window| window == KEY.as_bytes()));
            files += 1;
        }
    }
    assert_eq!(files, 2, "the record and the lock");
}

/// Run by the next test in a process of its own, which is killed while it spools: says the number
/// of every payload that is on disk.
#[test]
fn spools_until_killed() {
    let Ok(directory) = std::env::var("WHIPPET_TEST_SPOOL") else { return };
    let forwarder = start(&["http://127.0.0.1:1".to_owned()], spooling(directory.as_ref()));
    submit(&forwarder, &counter("warm-up"));
    wait_books(&forwarder, |books| books.endpoints[0].breaker_errors[0] == 1);
    let first: u64 = std::env::var("WHIPPET_TEST_FIRST").expect("set").parse().expect("a number");
    for n in first.. {
        submit(&forwarder, &counter(&format!("k{n}")));
        // On a line of its own: the test runner prints too.
        println!("\nspooled {n}");
    }
}

#[test]
fn a_process_killed_at_any_moment_loses_nothing_it_reported_as_spooled() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let directory = tempfile::tempdir().expect("a directory");
    let mut reported: Vec<u64> = Vec::new();
    for round in 0_u64..12 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "forward::spools_until_killed", "--nocapture"])
            .env("WHIPPET_TEST_SPOOL", directory.path())
            .env("WHIPPET_TEST_FIRST", (round * 1000).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let number = |line: String| line.strip_prefix("spooled ").and_then(|n| n.parse().ok());
        let mut seen = 0;
        while seen < 3 + 2 * round {
            let line = lines.next().expect("the child runs on").expect("text");
            if let Some(n) = number(line) {
                reported.push(n);
                seen += 1;
            }
        }
        child.kill().expect("still running"); // SIGKILL, in the middle of the next write
        reported.extend(lines.map_while(Result::ok).filter_map(number));
        child.wait().expect("ended");
    }
    let intake = Intake::start();
    let mut config = spooling(directory.path());
    config.queue_bytes_max = 15 << 20;
    // The directory belongs to the endpoint's name, so the next run must use the same address.
    let spooled = directory.path().join("127.0.0.1_1-0");
    std::fs::rename(
        spooled,
        directory.path().join(format!("{}-0", intake.address().replace(':', "_"))),
    )
    .expect("renamed");
    let forwarder = start(&[intake.url()], config);
    let books = wait_books(&forwarder, |books| delivered(books) > 0 && waiting(books) == 0);
    assert!(books.total(RouteCounts::dropped_total).payloads == 0, "{books}");
    assert!(reported.len() >= 12 * 3);
    intake.read(|state| {
        let missing: Vec<&u64> = reported
            .iter()
            .filter(|n| state.sum_of_counter(&format!("k{n}"), &[]) != 10.0)
            .collect();
        assert!(missing.is_empty(), "{missing:?} of {}", reported.len());
        // Nothing was settled before, so nothing may have come twice, but for the warm-ups.
        assert!(state.overwritten < 12, "{}", state.overwritten);
    });
}

// ---------------------------------------------------------------------------------------- keys

#[test]
fn the_key_is_checked_in_the_background() {
    for (answer, status) in [
        (Answer::status(200), KeyStatus::Valid),
        (Answer::status(403), KeyStatus::Invalid),
        (Answer::status(500), KeyStatus::Unknown("status 500".to_owned())),
    ] {
        let intake = Intake::start();
        intake.validate_with(answer);
        let mut config = quick();
        config.validation_interval = Some(Duration::from_secs(3600));
        let forwarder = start(&[intake.url()], config);
        wait_books(&forwarder, |books| books.endpoints[0].key_status == status);
        intake.read(|state| {
            assert_eq!(state.validations[0].header("dd-api-key"), KEY);
            assert_eq!(state.validations[0].target, format!("/api/v1/validate?api_key={KEY}"));
        });
        forwarder.check_keys();
        intake.wait_until(|state| state.validations.len() == 2);
        // Whatever the check says, payloads are sent.
        submit(&forwarder, &counter("m"));
        wait_books(&forwarder, |books| delivered(books) == 1);
    }
    let log = log::text();
    assert!(log.contains("API key ending in *****6d7e8 is valid"), "{log}");
    assert!(log.contains("API key ending in *****6d7e8 is refused (403)"), "{log}");
}

#[test]
fn the_key_of_zeros_is_never_checked() {
    let intake = Intake::start();
    let endpoint = Endpoint::at(&intake.url(), &"0".repeat(32)).expect("a URL");
    let mut config = quick();
    config.validation_interval = Some(Duration::from_secs(3600));
    let forwarder = Forwarder::start(vec![endpoint], config, Clock::wall()).expect("valid");
    wait_books(&forwarder, |books| books.endpoints[0].key_status == KeyStatus::Valid);
    assert_eq!(intake.read(|state| state.validations.len()), 0);
}

#[test]
fn no_log_line_and_no_report_shows_a_key() {
    let secret = "5ec7e75ec7e75ec7e75ec7e75ec7e700";
    let quoting = Answer::status(503).header("X-Key", secret);
    for url in ["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:1/with/a/path".to_owned()] {
        let mut config = quick();
        config.validation_interval = Some(Duration::from_secs(3600));
        let endpoint = Endpoint::at(&url, secret).expect("a URL");
        let forwarder = Forwarder::start(vec![endpoint], config, Clock::wall()).expect("valid");
        submit(&forwarder, &counter("m"));
        wait_books(&forwarder, |books| {
            books.endpoints[0].key_status != KeyStatus::Unknown("not checked yet".to_owned())
                && series_books(books).requests > 1
        });
        shutdown_now(&forwarder);
        assert!(!format!("{:?}", forwarder.accounting()).contains(secret));
    }
    let intake = Intake::start();
    intake.script([quoting, Answer::status(403), Answer::status(400), Answer::status(413)]);
    let endpoint = Endpoint::at(&intake.url(), secret).expect("a URL");
    assert!(!format!("{endpoint:?}").contains(secret));
    let forwarder = Forwarder::start(vec![endpoint], quick(), Clock::wall()).expect("valid");
    for n in 0..4 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    intake.wait_until(|state| state.requests.len() >= 4);
    shutdown_now(&forwarder);
    let log = log::text();
    assert!(log.contains("7e700"), "the end of the key is there to be recognised");
    assert!(log.contains("status 400"), "and the troubles were logged");
    assert!(!log.contains(secret));
    assert!(!log.contains("api_key="));
}
