//! Names, hosts and tags on what is posted.

use super::kinds::lines;
use crate::support::decode::{MetricPayload, MetricSeries};
use crate::support::intake::Intake;
use crate::support::program::Setup;
use prost::Message;

/// Posts the lines under those settings and compares every series.
#[track_caller]
fn posts(setup: impl Fn(Setup) -> Setup, sent: &[&str], expect: &[&str]) -> Intake {
    let intake = Intake::start();
    let program = setup(Setup::posting_to(&intake)).start();
    program.udp(sent.join("\n"));
    program.terminate().balances();
    intake.read(|state| assert_eq!(lines(state), expect));
    intake
}

#[test]
fn configured_tags_are_on_every_point_event_and_check() {
    let common = |setup: Setup| {
        setup.env("DD_TAGS", "env:prod team:x").env("DD_DOGSTATSD_TAGS", "dc:1 env:prod")
    };
    let sent = ["c:1|c|#own", "g:1|g|#env:prod,b", "d:1|d|#own", "_e{1,1}:a|b|#own", "_sc|up|0"];
    let expect = [
        "c rate 0.1 /10 #dc:1,env:prod,own,team:x @web-1",
        "g gauge 1 /10 #b,dc:1,env:prod,team:x @web-1",
    ];
    let intake = posts(common, &sent, &expect);
    intake.read(|state| {
        let mut tags = state.sketches[0].tags.clone();
        tags.sort();
        assert_eq!(tags, ["dc:1", "env:prod", "own", "team:x"]);
        let own = serde_json::json!(["dc:1", "env:prod", "own", "team:x"]);
        assert_eq!(state.events[0]["tags"], own);
        assert_eq!(state.checks[0]["tags"], serde_json::json!(["dc:1", "env:prod", "team:x"]));
    });
}

#[test]
fn magic_tags_do_their_work_and_leave() {
    let sent = [
        "h1:1|c|#host:web,a",
        "h2:1|c|#host:",
        "h3:1|c|#host:a,host:b",
        "h4:1|c|#host,hosts:x",
        "m1:1|c|#dd.internal.entity_id:none,x",
        "m2:1|c|#dd.internal.card:high,x",
        "m3:1|c|#dd.internal.jmx_check_name:kafka,x",
        "same:1|c|#a,b",
        "same:2|c|#b,a,a",
        "same:4|c|#a,b,host:other",
    ];
    let expect = [
        "h1 rate 0.1 /10 #a @web",
        "h2 rate 0.1 /10 # @",
        "h3 rate 0.1 /10 # @b",
        "h4 rate 0.1 /10 #host,hosts:x @web-1",
        "m1 rate 0.1 /10 #x @web-1",
        "m2 rate 0.1 /10 #x @web-1",
        "m3 rate 0.1 /10 #x @web-1",
        "same rate 0.4 /10 #a,b @other",
        "same rate 0.3 /10 #a,b @web-1",
    ];
    posts(|setup| setup, &sent, &expect);
}

#[test]
fn hosts_of_events_and_checks_come_from_field_tag_or_configuration() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).start();
    program.udp(
        "_e{1,1}:a|x|h:field|#host:tag\n_e{1,1}:b|x|#host:tag,t\n_e{1,1}:c|x\n\
         _sc|a|0|h:field|#host:tag\n_sc|b|1|#host:tag,t\n_sc|c|3",
    );
    program.terminate().balances();
    intake.read(|state| {
        let events: Vec<_> = state
            .events
            .iter()
            .map(|event| format!("{} {}", event["msg_title"], event["host"]))
            .collect();
        let expect = [r#""a" "field""#, r#""b" "tag""#, r#""c" "web-1""#];
        assert_eq!(events, expect);
        let checks: Vec<_> = state
            .checks
            .iter()
            .map(|check| format!("{} {} {}", check["check"], check["host_name"], check["status"]))
            .collect();
        assert_eq!(checks, [r#""a" "field" 0"#, r#""b" "tag" 1"#, r#""c" "web-1" 3"#]);
        assert_eq!(state.events[1]["tags"], serde_json::json!(["t"]));
    });
}

#[test]
fn devices_and_resources_leave_the_tags_of_version_2() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).start();
    program.udp("n:1|c|#device:eth0,a,dd.internal.resource:aws_rds_instance:db1");
    program.terminate().balances();
    intake.read(|state| {
        let request = state.requests_to("/api/v2/series")[0];
        let payload = MetricPayload::decode(&request.plain[..]).expect("protobuf");
        let [MetricSeries { resources, tags, .. }] = &payload.series[..] else {
            panic!("{payload:?}")
        };
        let resources: Vec<_> =
            resources.iter().map(|resource| (&*resource.kind, &*resource.name)).collect();
        let expect = [("host", "web-1"), ("device", "eth0"), ("aws_rds_instance", "db1")];
        assert_eq!(resources, expect);
        assert_eq!(*tags, ["a"]);
    });
}

#[test]
fn devices_are_a_field_of_version_1() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("use_v2_api.series", false).start();
    program.udp("n:1|c|#device:eth0,a");
    program.terminate().balances();
    intake.read(|state| {
        let request = state.requests_to("/api/v1/series")[0];
        let json: serde_json::Value = serde_json::from_slice(&request.plain).expect("JSON");
        let series = &json["series"][0];
        assert_eq!((&series["device"], &series["host"]), (&"eth0".into(), &"web-1".into()));
        assert_eq!(series["tags"], serde_json::json!(["a"]));
    });
}

#[test]
fn a_namespace_goes_before_names_but_for_exempt_ones() {
    let sent = ["n:1|c", "datadog.agent.x:1|c", "kafkaesque:1|c", "h:1|h", "_sc|n|0"];
    let expect = [
        "datadog.agent.x rate 0.1 /10 # @web-1",
        "kafkaesque rate 0.1 /10 # @web-1",
        "ns.h.max gauge 1 /10 # @web-1",
        "ns.n rate 0.1 /10 # @web-1",
    ];
    let namespace = |setup: Setup| {
        let setup = setup.set("statsd_metric_namespace", "ns").set("histogram_aggregates", "max");
        setup.set("histogram_percentiles", "[]")
    };
    let intake = posts(namespace, &sent, &expect);
    intake.read(|state| assert_eq!(state.checks[0]["check"], "n", "checks are not prefixed"));
}

#[test]
fn names_that_are_no_utf_8_are_repaired_and_posted() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).start();
    program.udp(b"\xff\xfe:1|c\n\xe2\x99\xac\xe2\x80\xa0:666|g|#\xff");
    program.terminate().balances();
    let expect = ["♬† gauge 666 /10 #\u{fffd} @web-1", "\u{fffd} rate 0.1 /10 # @web-1"];
    intake.read(|state| assert_eq!(lines(state), expect));
}
