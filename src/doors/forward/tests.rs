use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::forward::{HttpSettings, ProxySettings, RetryPolicy};
use crate::tagger::{Tags, WorkloadBuilder};

/// One request as it came over the wire: its lines, the address apart, sorted behind the first; and
/// its body.
type Received = (Vec<String>, Vec<u8>);

/// Answers every request of one connection at a time with the next status, over and over.
fn intake(statuses: &'static [u16]) -> (String, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (send, received) = mpsc::channel();
    let host = format!("host: {address}");
    thread::spawn(move || {
        let mut statuses = statuses.iter().cycle();
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            while let Some(request) = read_request(&mut stream, &host) {
                let _ = send.send(request);
                let answer =
                    format!("HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n", statuses.next().unwrap());
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    (address, received)
}

fn read_request(stream: &mut impl BufRead, host: &str) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length = |line: &String| line.strip_prefix("content-length: ")?.parse().ok();
    let mut body = vec![0; lines.iter().find_map(length)?];
    stream.read_exact(&mut body).ok()?;
    lines.retain(|line| line != host);
    lines[1..].sort();
    Some((lines, body))
}

fn settings(routes: Vec<(Route, &'static str)>, targets: TargetSettings) -> ForwardSettings {
    let http = HttpSettings { proxies: ProxySettings::default(), ..HttpSettings::default() };
    let retry = RetryPolicy {
        base: Duration::from_millis(1),
        max: Duration::from_millis(2),
        ..RetryPolicy::default()
    };
    ForwardSettings {
        routes,
        targets,
        agent: Agent { hostname: "web-1".to_owned(), env: "prod".to_owned() },
        delivery: Some(DeliverySettings { retry, http, jitter: Arc::new(|| 0.5) }),
        tagger: None,
    }
}

fn start(settings: ForwardSettings) -> Result<Forward, ForwardError> {
    Forward::start(settings, &DoorsAccounting::default(), &Clock::wall())
}

/// Endpoint, forwarded and dropped of each route, by reason.
fn counts(forward: &Forward) -> Vec<(String, u64, [u64; ForwardDrop::ALL.len()])> {
    let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    let of = |counts: &Arc<ForwardCounts>| {
        let dropped = ForwardDrop::ALL.map(|why| read(&counts.dropped[why as usize]));
        (counts.endpoint.clone(), read(&counts.forwarded), dropped)
    };
    forward.counts.values().map(of).collect()
}

fn both() -> Vec<(Route, &'static str)> {
    vec![(Route::DataStreams, "doors_data_streams"), (Route::Telemetry, "doors_telemetry")]
}

fn client() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "agent:8126"),
        ("content-length", "999"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("dd-api-key", "of the client"),
        ("content-encoding", "gzip"),
        ("x-kept", "1"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

const WAIT: Duration = Duration::from_secs(10);

#[test]
fn a_request_goes_on_byte_for_byte_with_the_headers_of_an_agent_and_nothing_else() {
    let (address, received) = intake(&[200]);
    let (telemetry_address, telemetry_received) = intake(&[200]);
    let targets = TargetSettings {
        api_key: "our key".to_owned(),
        apm_url: format!("http://{address}/base"),
        telemetry_url: format!("http://{telemetry_address}"),
        ..TargetSettings::default()
    };
    let forward = start(settings(both(), targets)).unwrap();
    let body = Bytes::from_static(&[0x1f, 0x8b, 0, 255, 10]);
    forward.pass(Route::DataStreams, &client(), b"", body.clone());
    let (version, (lines, got)) = (env!("CARGO_PKG_VERSION"), received.recv_timeout(WAIT).unwrap());
    assert_eq!(got, body);
    let additional =
        format!("x-datadog-additional-tags: host:web-1,default_env:prod,agent_version:{version}");
    let via = format!("via: whippet {version}");
    let expect = [
        "POST /base/api/v0.1/pipeline_stats HTTP/1.1",
        "content-encoding: gzip",
        "content-length: 5",
        "dd-api-key: our key",
        &via,
        &additional,
        "x-kept: 1",
    ];
    assert_eq!(lines, expect);

    let mut telemetry = client();
    telemetry.insert("user-agent", HeaderValue::from_static("telemetry/1"));
    telemetry.insert("datadog-entity-id", HeaderValue::from_static("ci-abc"));
    forward.pass(Route::Telemetry, &telemetry, b"", Bytes::from_static(b"{}"));
    let (lines, _) = telemetry_received.recv_timeout(WAIT).unwrap();
    let expect = [
        "POST /api/v2/apmtelemetry HTTP/1.1",
        "content-encoding: gzip",
        "content-length: 2",
        "datadog-container-id: abc",
        "datadog-entity-id: ci-abc",
        "dd-agent-env: prod",
        "dd-agent-hostname: web-1",
        "dd-api-key: our key",
        "user-agent: telemetry/1",
        &via,
        "x-kept: 1",
    ];
    assert_eq!(lines, expect);
    assert!(forward.shutdown(Instant::now() + WAIT));
    let forwarded: Vec<_> = counts(&forward).iter().map(|row| row.1).collect();
    assert_eq!(forwarded, [1, 1]);
}

#[test]
fn a_failure_is_repeated_and_each_endpoint_has_its_own_key_and_counts() {
    let (good, received) = intake(&[200]);
    let (bad, failing) = intake(&[500, 202, 404]);
    let targets = TargetSettings {
        api_key: "main".to_owned(),
        apm_url: format!("http://{good}"),
        apm_additional: vec![(format!("http://{bad}"), vec!["other".to_owned()])],
        ..TargetSettings::default()
    };
    let routes = vec![(Route::Stats, "doors_stats")];
    let forward = start(settings(routes, targets)).unwrap();
    let mime = ("Content-Type", "application/msgpack");
    for body in ["one", "two"] {
        forward.send(Route::Stats, "/api/v0.2/stats", &[mime], Bytes::from_static(body.as_bytes()));
    }
    forward.pass(Route::Telemetry, &client(), b"", Bytes::new());
    let got = |from: &mpsc::Receiver<Received>| {
        let (lines, body) = from.recv_timeout(WAIT).unwrap();
        (lines[3].clone(), String::from_utf8(body).unwrap())
    };
    let row = |key: &str, body: &str| (format!("dd-api-key: {key}"), body.to_owned());
    assert_eq!([got(&received), got(&received)], [row("main", "one"), row("main", "two")]);
    let failing = [got(&failing), got(&failing), got(&failing)];
    assert_eq!(failing, [row("other", "one"), row("other", "one"), row("other", "two")]);
    forward.shutdown(Instant::now() + WAIT);
    let mut counts = counts(&forward);
    counts.sort_by_key(|row| row.0 != good);
    assert_eq!(counts, [(good, 2, [0; 5]), (bad, 1, [0, 0, 1, 0, 0])]);
}

#[test]
fn without_an_intake_a_shutdown_ends_in_time_and_counts() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let targets = TargetSettings {
        api_key: "main".to_owned(),
        apm_url: format!("http://{unused}"),
        ..TargetSettings::default()
    };
    let routes = vec![(Route::DataStreams, "doors_data_streams")];
    let forward = start(settings(routes, targets)).unwrap();
    for _ in 0..3 {
        forward.pass(Route::DataStreams, &HeaderMap::new(), b"", Bytes::new());
    }
    assert!(!forward.shutdown(Instant::now() + Duration::from_secs(2)));
    assert_eq!(counts(&forward)[0].2[ForwardDrop::Shutdown as usize], 3);
}

#[test]
fn without_delivery_nothing_is_sent_and_everything_is_counted() {
    let (address, received) = intake(&[200]);
    let url = format!("http://{address}");
    let targets = TargetSettings {
        api_key: "main".to_owned(),
        apm_url: url.clone(),
        telemetry_url: url,
        ..TargetSettings::default()
    };
    let forward = start(ForwardSettings { delivery: None, ..settings(both(), targets) }).unwrap();
    assert!(forward.takes(Route::Telemetry));
    for _ in 0..2 {
        forward.pass(Route::DataStreams, &HeaderMap::new(), b"", Bytes::new());
    }
    forward.send(Route::Telemetry, "/", &[], Bytes::new());
    assert!(forward.shutdown(Instant::now() + WAIT), "the stop loses nothing");
    let dropped: Vec<u64> =
        counts(&forward).iter().map(|of| of.2[ForwardDrop::Output as usize]).collect();
    assert_eq!(dropped, [2, 1]);
    assert!(received.try_recv().is_err());
}

#[test]
fn a_missing_key_is_named_with_the_way_out() {
    let settings = settings(both(), TargetSettings::default());
    let error = start(settings).err().unwrap();
    assert_eq!(
        error.to_string(),
        "api_key is empty, and doors_data_streams asks to forward; set DD_API_KEY (or api_key), or \
         set doors_data_streams to local or off"
    );
}

#[test]
fn no_route_needs_no_key_and_takes_nothing() {
    let forward = start(settings(Vec::new(), TargetSettings::default())).unwrap();
    forward.pass(Route::Telemetry, &HeaderMap::new(), b"", Bytes::new());
    assert!(counts(&forward).is_empty() && forward.shutdown(Instant::now()));
}

/// Knows container `abc`, inode 7 and one container of a pod.
#[derive(Debug)]
struct Known;

impl Tagger for Known {
    fn tags(&self, identity: Identity<'_>, cardinality: Cardinality) -> Option<Tags> {
        let name = match identity {
            Identity::Container(b"abc") => "abc",
            Identity::Inode(7) => "seven",
            Identity::PodContainer { pod_uid: b"uid", name: b"app", init: false } => "place",
            _ => return None,
        };
        let mut tags = WorkloadBuilder::default();
        tags.add(Cardinality::Low, "name", name).add(Cardinality::Low, "also", "1");
        Some(Arc::new(tags.build()).up_to(cardinality))
    }

    fn generation(&self) -> u64 {
        0
    }
}

#[test]
fn the_container_is_known_by_the_kernel_or_by_its_own_word() {
    let tagger = Some((Arc::new(Known) as Arc<dyn Tagger>, Cardinality::Low));
    let settings = ForwardSettings { tagger, ..settings(Vec::new(), TargetSettings::default()) };
    let forward = start(settings).unwrap();
    type Row = (
        &'static str,
        &'static [(&'static str, &'static str)],
        Option<&'static str>,
        Option<&'static str>,
    );
    let rows: [Row; 7] = [
        ("", &[], None, None),
        ("abc", &[], Some("abc"), Some("abc")),
        ("", &[("datadog-container-id", "abc")], Some("abc"), Some("abc")),
        ("", &[("datadog-entity-id", "cid-abc")], Some("abc"), Some("abc")),
        ("", &[("datadog-entity-id", "in-7")], None, Some("seven")),
        ("x", &[("datadog-external-env", "it-false,cn-app,pu-uid")], Some("x"), Some("place")),
        ("x", &[("datadog-container-id", "abc")], Some("x"), None),
    ];
    for (sender, sent, id, tags) in rows {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let tags = tags.map(|name| format!("also:1,name:{name}").into_bytes());
        let mut found = forward.container(&headers, sender.as_bytes());
        if let Some(tags) = &mut found.tags {
            let mut sorted: Vec<&[u8]> = tags.split(|byte| *byte == b',').collect();
            sorted.sort();
            *tags = sorted.join(&b',');
        }
        assert_eq!(found, Container { id: id.map(str::to_owned), tags }, "{sender} {sent:?}");
    }
}
