//! Connections, headers, TLS and proxies.

use crate::support::decode::{Dogsketch, Sketch, SketchPayload};
use crate::support::front::{ConnectProxy, TlsFront};
use crate::support::intake::{Answer, Intake};
use prost::Message;
use whippet::clock::Clock;
use whippet::encode::{ContentEncoding, Route};
use whippet::forward::{Endpoint, ErrorKind, Forwarder, HttpSettings, RouteCounts};

use super::forwarder::{
    KEY, counter, delivered, packed, quick, series_counts, slow_to_forgive, start, submit,
    wait_accounting,
};

#[test]
fn one_connection_serves_many_payloads() {
    let intake = Intake::start();
    let forwarder = start(&[intake.url()], quick());
    for n in 0..20 {
        submit(&forwarder, &counter(&format!("m{n}")));
    }
    wait_accounting(&forwarder, |accounting| delivered(accounting) == 20);
    assert_eq!(intake.read(|state| state.connections), 1);
}

#[test]
fn a_connection_closed_while_idle_costs_no_error() {
    let intake = Intake::start();
    intake.script([Answer::close_after(), Answer::status(202), Answer::cut()]);
    let forwarder = start(&[intake.url()], slow_to_forgive());
    for n in 1..=3 {
        submit(&forwarder, &counter(&format!("m{n}")));
        wait_accounting(&forwarder, |accounting| delivered(accounting) == n);
    }
    let accounting = forwarder.accounting();
    // The third was cut without an answer on a used connection: sent again at once.
    assert!(series_counts(&accounting).stale_connections >= 1, "{accounting:?}");
    assert_eq!(series_counts(&accounting).errors, [0; 7]);
    assert_eq!(accounting.endpoints[0].breaker_errors, [0; 5]);
}

#[test]
fn every_route_has_its_path_and_headers() {
    let intake = Intake::start();
    let mut config = quick();
    config.allow_arbitrary_tags = true;
    let forwarder = start(&[intake.url()], config);
    let sketches = SketchPayload {
        sketches: vec![Sketch {
            metric: "req.dur".to_owned(),
            host: "web-1".to_owned(),
            tags: vec!["env:prod".to_owned()],
            dogsketches: vec![Dogsketch { ts: 1, cnt: 4, ..Dogsketch::default() }],
            ..Sketch::default()
        }],
        ..SketchPayload::default()
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
    wait_accounting(&forwarder, |accounting| delivered(accounting) == 5);
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

/// Through TLS with those versions, one payload; then the counts when it was delivered or failed.
#[track_caller]
fn through_tls(
    versions: &[&'static rustls::SupportedProtocolVersion],
    set: impl FnOnce(&mut HttpSettings, &TlsFront),
) -> RouteCounts {
    let intake = Intake::start();
    let front = TlsFront::start(&intake.address(), versions);
    let mut config = slow_to_forgive();
    set(&mut config.http, &front);
    let forwarder = start(&[front.url()], config);
    submit(&forwarder, &counter("page.views"));
    let accounting =
        wait_accounting(&forwarder, |accounting| series_counts(accounting).requests == 1);
    series_counts(&accounting).clone()
}

#[test]
fn certificates_are_verified_unless_configured_otherwise() {
    let trusting = |client: &mut HttpSettings, front: &TlsFront| {
        client.ca_pem = Some(front.certificate_pem.clone().into_bytes());
    };
    let tls = ErrorKind::Tls as usize;
    let (old, new) = (&rustls::version::TLS12, &rustls::version::TLS13);
    assert_eq!(through_tls(&[new], trusting).delivered.payloads, 1);
    assert_eq!(through_tls(&[old], trusting).delivered.payloads, 1);
    assert_eq!(through_tls(&[new], |c, _| c.skip_ssl_validation = true).delivered.payloads, 1);
    assert_eq!(through_tls(&[new], |_, _| ()).errors[tls], 1, "an unknown authority");
    let only_new = |client: &mut HttpSettings, front: &TlsFront| {
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
    config.http.ca_pem = Some(front.certificate_pem.clone().into_bytes());
    config.http.proxies.https = format!("http://user:secret@{}", proxy.address());
    config.http.proxies.no_proxy = vec!["127.0.0.1".to_owned()];
    let forwarder = start(&[front.url(), intake.url()], config.clone());
    submit(&forwarder, &counter("page.views"));
    wait_accounting(&forwarder, |accounting| delivered(accounting) == 2);
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(heads[0].starts_with(&format!("CONNECT {} ", &front.url()[8..])), "{heads:?}");
    // "user:secret" in base64.
    assert!(heads[0].to_lowercase().contains("proxy-authorization: basic "), "{heads:?}");
    assert!(heads[0].contains("dXNlcjpzZWNyZXQ="), "{heads:?}");
    config.http.proxies.https = "no proxy at all".to_owned();
    let endpoint = Endpoint::at(&front.url(), KEY).expect("a URL");
    let error = Forwarder::start(vec![endpoint], config, Clock::wall()).expect_err("no proxy URL");
    assert_eq!(error.to_string(), "proxy.https: not a proxy URL such as http://proxy.corp:3128");
}
