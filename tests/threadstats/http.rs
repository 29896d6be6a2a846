//! Bodies, headers, compression and answers of the HTTP reporter.

use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};
use whippet::ThreadStats;
use whippet::clock::Clock;
use whippet::forward::{HttpSettings, Secret};
use whippet::threadstats::{
    Builder, EventOpts, FlushOutcome, HttpOptions, HttpReporter, Loss, Number, Opts, ReportError,
    Reporter, Series, SeriesType, StartOptions,
};

use super::server::{Answer, Request, Server};

fn builder(server: &Server) -> Builder {
    ThreadStats::builder().env(|_| None).api_host(server.url()).api_key("k3y").flush_on_drop(false)
}

fn started(builder: Builder) -> ThreadStats {
    let stats = builder.build();
    stats.start(&StartOptions { device: Some("dv".to_owned()), ..StartOptions::manual() }).unwrap();
    stats
}

fn at(timestamp: f64) -> Opts<'static> {
    Opts::default().at(timestamp)
}

fn everything(stats: &ThreadStats) -> FlushOutcome {
    stats.flush(Some(f64::INFINITY)).unwrap()
}

fn json_of(request: &Request) -> Value {
    if request.headers.get("content-encoding").map(String::as_str) == Some("deflate") {
        assert_eq!(request.body[..2], [0x78, 0x9c]);
        let mut text = String::new();
        flate2::read::ZlibDecoder::new(&request.body[..]).read_to_string(&mut text).unwrap();
        return serde_json::from_str(&text).unwrap();
    }
    serde_json::from_slice(&request.body).unwrap()
}

/// The body datadogpy 0.56.0 posts for these calls.
#[test]
fn metrics_are_posted_as_measured() {
    for compress in [false, true] {
        let server = Server::start();
        let builder = builder(&server).namespace("ns").constant_tags(["c:1"]).hostname("myhost");
        let stats = started(builder.compress(compress));
        stats.gauge("g", 1, at(100.0));
        stats.gauge("g", 2, at(100.0).on(""));
        stats.increment("c", 3, Opts::tags(&["x"]).at(100.0));
        everything(&stats);
        let requests = server.requests();
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].line, "POST /api/v1/series");
        assert_eq!(
            json_of(&requests[0]),
            json!({"series": [
            {"metric":"ns.g","points":[[100.0,1.0]],"type":"gauge","host":null,"device":"dv","tags":["c:1"],"interval":10},
            {"metric":"ns.g","points":[[100.0,2.0]],"type":"gauge","host":"myhost","device":"dv","tags":["c:1"],"interval":10},
            {"metric":"ns.c","points":[[100.0,0.3]],"type":"rate","host":null,"device":"dv","tags":["x","c:1"],"interval":10}]})
        );
        assert_eq!(requests[0].headers.contains_key("content-encoding"), compress);
    }
}

#[test]
fn distributions_are_posted_as_lists_of_floats_and_integers_stay_in_timestamps() {
    let server = Server::start();
    let stats = started(builder(&server).compress(true));
    stats.distribution("d", 1, Opts::default().at(105));
    stats.distribution("d", 2.5, Opts::default().at(101));
    everything(&stats);
    let requests = server.requests();
    assert_eq!(requests[0].line, "POST /api/v1/distribution_points");
    assert_eq!(requests[0].headers["content-encoding"], "deflate");
    assert_eq!(
        json_of(&requests[0]),
        json!({"series": [{"metric":"d","points":[[100,[1.0,2.5]]],
        "type":"distribution","host":null,"device":"dv","tags":null,"interval":10}]})
    );
}

#[test]
fn events_are_posted_one_by_one_uncompressed_with_the_host_attached() {
    let server = Server::start();
    let stats = started(builder(&server).compress(true).hostname("myhost"));
    stats.event("first", "text", &EventOpts::default());
    let opts = EventOpts { host: Some("h"), tags: Some(&[]), ..EventOpts::default() };
    stats.event("second", "", &opts);
    stats.event("third", "", &EventOpts { host: Some(""), ..EventOpts::default() });
    everything(&stats);
    let requests = server.requests();
    let bodies: Vec<Value> = requests.iter().map(json_of).collect();
    assert_eq!(
        bodies,
        [
            json!({"title": "first", "text": "text", "host": "myhost"}),
            json!({"title": "second", "text": "", "host": "h", "tags": []}),
            json!({"title": "third", "text": "", "host": "myhost"}),
        ]
    );
    for request in &requests {
        assert_eq!(request.line, "POST /api/v1/events");
        assert!(!request.headers.contains_key("content-encoding"));
    }
}

#[test]
fn without_a_configured_name_empty_hosts_become_null_and_events_get_none() {
    let server = Server::start();
    let stats = started(builder(&server));
    stats.gauge("g", 1, at(100.0).on(""));
    stats.event("t", "m", &EventOpts::default());
    everything(&stats);
    let requests = server.requests();
    assert_eq!(json_of(&requests[0])["series"][0]["host"], Value::Null);
    assert_eq!(json_of(&requests[1]), json!({"title": "t", "text": "m"}));
}

#[test]
fn headers_carry_the_keys_and_our_name() {
    let server = Server::start();
    let environment = |name: &str| match name {
        "DATADOG_API_KEY" => Some("first".to_owned()),
        "DD_API_KEY" => Some("second".to_owned()),
        "DD_APP_KEY" => Some("app".to_owned()),
        _ => None,
    };
    let stats = started(
        ThreadStats::builder().env(environment).api_host(server.url() + "/").flush_on_drop(false),
    );
    stats.gauge("g", 1, at(100.0));
    everything(&stats);
    let headers = &server.requests()[0].headers;
    assert_eq!(headers["dd-api-key"], "first");
    assert_eq!(headers["dd-application-key"], "app");
    assert_eq!(headers["content-type"], "application/json");
    assert!(headers["user-agent"].starts_with("whippet/"));
    let stats = started(builder(&server));
    stats.gauge("g", 1, at(100.0));
    everything(&stats);
    assert!(!server.requests()[0].headers.contains_key("dd-application-key"));
}

#[test]
fn the_environment_names_the_api() {
    let server = Server::start();
    let url = server.url();
    let stats = started(ThreadStats::builder().flush_on_drop(false).env(move |name| match name {
        "DATADOG_HOST" => Some(url.clone()),
        "DD_API_KEY" => Some("k".to_owned()),
        _ => None,
    }));
    stats.gauge("g", 1, at(100.0));
    everything(&stats);
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_missing_key_is_the_one_error_a_flush_returns() {
    let stats = started(ThreadStats::builder().env(|_| None).flush_on_drop(false));
    stats.gauge("g", 1, at(100.0));
    stats.distribution("d", 1, at(100.0));
    stats.event("t", "m", &EventOpts::default());
    let error = stats.flush(Some(f64::INFINITY)).unwrap_err();
    assert!(matches!(error, ReportError::NotInitialised));
    let losses = stats.losses();
    let lost = (losses.of(Loss::MetricsFailed), losses.of(Loss::DistributionsFailed));
    assert_eq!(lost, (1, 1), "what was drained is gone");
    assert!(stats.flush(None).is_err(), "the event waited for this flush");
    assert_eq!(stats.losses().of(Loss::EventsFailed), 1);
    assert_eq!(stats.flush(None).unwrap(), FlushOutcome::Done);
}

/// Posts a gauge and a distribution, and says how many requests came and what was lost.
#[track_caller]
fn after(answer: Answer, mute: bool, requests: usize, lost: &[(Loss, u64)]) {
    let server = Server::start();
    server.answer([answer.clone()]);
    let stats = started(builder(&server).mute(mute));
    stats.gauge("g", 1, at(100.0));
    stats.distribution("d", 1, at(100.0));
    assert_eq!(everything(&stats), FlushOutcome::Done);
    assert_eq!(server.requests().len(), requests, "{answer:?}");
    let counted: Vec<(Loss, u64)> = stats.losses().iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, lost, "{answer:?}");
}

#[test]
fn answers_are_judged_as_the_model_does() {
    const REFUSED: &[(Loss, u64)] = &[(Loss::Rejected, 1)];
    const FAILED: &[(Loss, u64)] = &[(Loss::MetricsFailed, 1), (Loss::DistributionsFailed, 1)];
    let errors = r#"{"errors":["no"]}"#;
    after(Answer::Status(202, ""), true, 2, &[]);
    after(Answer::Status(200, "{}"), true, 2, &[]);
    after(Answer::Status(202, r#"{"errors":[]}"#), false, 2, &[]);
    after(Answer::Status(202, "thanks"), true, 1, FAILED);
    after(Answer::Status(202, errors), true, 2, REFUSED);
    for status in [400, 401, 403, 404, 409, 429] {
        after(Answer::Status(status, errors), true, 2, REFUSED);
        after(Answer::Status(status, errors), false, 1, FAILED);
        after(Answer::Status(status, "<html>"), true, 1, FAILED);
    }
    for status in [301, 302, 408, 413, 500, 503] {
        after(Answer::Status(status, errors), true, 1, FAILED);
    }
}

#[test]
fn an_unknown_alert_type_is_left_out_and_harms_no_other_event() {
    let server = Server::start();
    let stats = started(builder(&server));
    for alert_type in ["error", "fatal", "success"] {
        let opts = EventOpts { alert_type: Some(alert_type), ..EventOpts::default() };
        stats.event(alert_type, "m", &opts);
    }
    everything(&stats);
    let requests = server.requests();
    let titles: Vec<Value> =
        requests.iter().map(|request| json_of(request)["title"].clone()).collect();
    assert_eq!(titles, ["error", "success"]);
    assert_eq!(stats.losses().of(Loss::Rejected), 1);
}

#[test]
fn nobody_listening_is_a_counted_loss() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let stats = started(
        ThreadStats::builder().env(|_| None).api_key("k").api_host(url).flush_on_drop(false),
    );
    stats.gauge("g", 1, at(100.0));
    assert_eq!(everything(&stats), FlushOutcome::Done);
    assert_eq!(stats.losses().of(Loss::MetricsFailed), 1);
}

#[test]
fn after_three_timeouts_nothing_is_sent_for_300_s() {
    let server = Server::start();
    server.answer([Answer::Silence, Answer::Silence, Answer::Silence]);
    let clock = Clock::manual(Duration::from_secs(1000));
    let reporter = HttpReporter::new(HttpOptions {
        api_key: Some(Secret::new("k")),
        api_host: server.url(),
        http: HttpSettings { timeout: Duration::from_millis(100), ..HttpSettings::default() },
        clock: clock.clone(),
        ..HttpOptions::default()
    });
    let stats =
        started(ThreadStats::builder().env(|_| None).reporter(reporter).flush_on_drop(false));
    let flush = || {
        stats.gauge("g", 1, at(100.0));
        everything(&stats);
        server.requests().len()
    };
    assert_eq!([flush(), flush(), flush()], [1, 1, 1]);
    assert_eq!(flush(), 0, "the pause begins");
    clock.advance(Duration::from_secs(299));
    assert_eq!(flush(), 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!([flush(), flush()], [1, 1]);
    assert_eq!(stats.losses().of(Loss::MetricsFailed), 5);
}

#[test]
fn starting_again_ends_the_pause() {
    let server = Server::start();
    server.answer([Answer::Silence, Answer::Silence, Answer::Silence]);
    let reporter = HttpReporter::new(HttpOptions {
        api_key: Some(Secret::new("k")),
        api_host: server.url(),
        http: HttpSettings { timeout: Duration::from_millis(100), ..HttpSettings::default() },
        ..HttpOptions::default()
    });
    let stats =
        started(ThreadStats::builder().env(|_| None).reporter(reporter).flush_on_drop(false));
    let flush = || {
        stats.gauge("g", 1, at(100.0));
        everything(&stats);
        server.requests().len()
    };
    assert_eq!([flush(), flush(), flush(), flush()], [1, 1, 1, 0]);
    stats.start(&StartOptions::manual()).unwrap();
    assert_eq!(flush(), 1);
}

fn gauge() -> Series {
    Series {
        metric: "g".to_owned(),
        timestamp: Number::Int(100),
        value: Number::Int(1).into(),
        kind: SeriesType::Gauge,
        host: None,
        device: None,
        tags: None,
        interval: Number::Int(10),
    }
}

#[test]
fn errors_never_quote_a_key() {
    const KEY: &str = "0123456789abcdef0123456789abcdef";
    const APP_KEY: &str = "fedcba9876543210fedcba9876543210fedcba98";
    let server = Server::start();
    let mut reporter = HttpReporter::new(HttpOptions {
        api_key: Some(Secret::new(KEY)),
        app_key: Some(Secret::new(APP_KEY)),
        api_host: server.url(),
        mute: false,
        http: HttpSettings::default(),
        ..HttpOptions::default()
    });
    for (answer, shown) in [
        (
            r#"{"errors":["0123456789abcdef0123456789abcdef is unknown"]}"#,
            r#"refused: ["*****bcdef is unknown"]"#,
        ),
        ("fedcba9876543210fedcba9876543210fedcba98?", r#"not JSON: "*****cba98?""#),
    ] {
        server.answer([Answer::Status(403, answer)]);
        let text = reporter.flush_metrics(&[gauge()]).unwrap_err().to_string();
        assert!(text.contains(shown), "{text}");
        assert!(!text.contains(KEY) && !text.contains(APP_KEY), "{text}");
    }
}

#[test]
fn a_proxy_that_cannot_be_used_fails_the_flush_and_is_counted() {
    let server = Server::start();
    let environment = |name: &str| (name == "HTTP_PROXY").then(|| "no proxy at all".to_owned());
    let stats = ThreadStats::builder().env(environment).api_host(server.url()).api_key("k3y");
    let stats = started(stats.flush_on_drop(false));
    stats.gauge("g", 1, at(100.0));
    assert_eq!(everything(&stats), FlushOutcome::Done);
    assert_eq!(server.requests().len(), 0, "not sent past the proxy");
    assert_eq!(stats.losses().of(Loss::MetricsFailed), 1);
}

/// The client is the forwarder's: its proxies and its TLS serve here too.
#[cfg(all(feature = "cli", feature = "zstd"))]
mod on_the_way {
    use super::*;
    use crate::support::front::{ConnectProxy, TlsFront};

    #[test]
    fn the_proxy_of_the_environment_is_used_unless_the_host_is_exempt() {
        for (no_proxy, expect) in [("", 1), ("127.0.0.1", 0), ("127.0.0.0/8", 0)] {
            let (server, proxy) = (Server::start(), ConnectProxy::start());
            let address = format!("http://{}", proxy.address());
            let environment = move |name: &str| match name {
                "HTTP_PROXY" => Some(address.clone()),
                "NO_PROXY" => Some(no_proxy.to_owned()),
                _ => None,
            };
            let stats = ThreadStats::builder().env(environment).api_host(server.url());
            let stats = started(stats.api_key("k3y").flush_on_drop(false));
            stats.gauge("g", 1, at(100.0));
            everything(&stats);
            assert_eq!(server.requests().len(), 1);
            assert_eq!(proxy.heads().len(), expect, "{no_proxy}");
        }
    }

    #[test]
    fn certificates_are_verified_against_the_authorities_given() {
        for trusting in [true, false] {
            let server = Server::start();
            let address = server.url().replace("http://", "");
            let front = TlsFront::start(&address, &[&rustls::version::TLS13]);
            let ca_pem = trusting.then(|| front.certificate_pem.clone().into_bytes());
            let mut reporter = HttpReporter::new(HttpOptions {
                api_key: Some(Secret::new("k3y")),
                api_host: front.url(),
                http: HttpSettings { ca_pem, ..HttpSettings::default() },
                ..HttpOptions::default()
            });
            let result = reporter.flush_metrics(&[gauge()]).map_err(|error| error.to_string());
            assert_eq!(result.is_ok(), trusting, "{result:?}");
            let text = result.err().unwrap_or_default();
            assert_eq!(text.contains("tls error"), !trusting, "{text}");
        }
    }
}
