//! Traces: answered, counted, and never kept.

use super::client::{Client, open};

#[test]
fn every_version_gets_its_answer() {
    let program = open().start();
    let mut client = Client::of(&program);
    for version in 1..=5 {
        for kind in ["traces", "spans", "services"] {
            for method in ["POST", "PUT"] {
                let path = format!("/v0.{version}/{kind}");
                let answer = client.request(method, &path, "", b"\x91\x90");
                let (content_type, body) = match version {
                    4 | 5 => ("application/json", r#"{"rate_by_service":{}}"#),
                    _ => ("text/plain", "OK\n"),
                };
                assert_eq!((answer.status, answer.body.as_str()), (200, body), "{path}");
                assert_eq!(answer.header("content-type"), Some(content_type), "{path}");
            }
        }
    }
    for path in ["/v0.6/traces", "/v0.7/traces", "/v1.0/traces", "/v0.4/traces/x", "/v0.40/traces"]
    {
        assert_eq!(client.post(path, b"\x90").status, 404, "{path}");
    }
}

#[test]
fn what_is_no_list_is_refused() {
    let program = open().start();
    let mut client = Client::of(&program);
    for body in [&b"\x90"[..], b"\x9f", b"\xdc\x00\x00", b"\xdd\x00\x00\x00\x00", b"[[]]"] {
        assert_eq!(client.post("/v0.4/traces", body).status, 200, "{body:?}");
    }
    for body in [&b""[..], b"\x80", b"{}", b"\xc0", b" []", b"\xde\x00\x00"] {
        let answer = client.post("/v0.4/traces", body);
        assert_eq!(answer.status, 400, "{body:?}");
        assert_eq!(answer.body, r#"{"errors":["expected a msgpack or JSON list of traces"]}"#);
    }
}
