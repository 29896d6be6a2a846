//! Every name in the dashboards, the alert rules and their page is one that the program really has.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;

use crate::admin::server::server;
use crate::support::decode;
use crate::support::intake::Intake;

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words of a file that look like names of metrics.
fn words(pattern: &str, name: &str) -> BTreeSet<String> {
    let found = Regex::new(pattern).unwrap();
    found.find_iter(&file(name)).map(|word| word.as_str().to_owned()).collect()
}

#[track_caller]
fn all_known(name: &str, used: &BTreeSet<String>, known: &BTreeSet<String>, least: usize) {
    let unknown: Vec<_> = used.difference(known).collect();
    assert!(unknown.is_empty(), "{name} names what does not exist: {unknown:?}");
    assert!(used.len() >= least, "{name} names only {used:?}");
}

#[test]
fn dashboards_and_rules_name_metrics_that_exist() {
    let intake = Intake::start();
    let program = server(&[
        ("output", "datadog"),
        ("dd_url", &intake.url()),
        ("api_key", "0123456789abcdef0123456789abcdef"),
    ]);
    program.udp("a:1|c\nbad");
    program.wait_lines(2);
    intake.wait_until(|state| state.sum_of_counter("whippet.payloads_delivered", &[]) > 0.0);

    let metrics = program.get("/metrics").1;
    let mut exposed: BTreeSet<String> = BTreeSet::new();
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, kind) = line.split_once(' ').unwrap();
        exposed.insert(name.to_owned());
        if kind == "summary" {
            exposed.extend(["_sum", "_count"].map(|end| format!("{name}{end}")));
        }
    }
    let pattern = r"\b(whippet|process|dogstatsd_|aggregator_|no_aggregation_)_[a-z0-9_]+";
    for (name, least) in [
        ("dist/prometheus/whippet.rules.yaml", 12),
        ("dist/prometheus/whippet.rules.test.yaml", 12),
        ("dist/grafana/whippet.json", 20),
    ] {
        all_known(name, &words(pattern, name), &exposed, least);
    }

    let alerts = |name| words(r"\bWhippet[A-Z]\w+", name);
    let mut rules = alerts("dist/prometheus/whippet.rules.yaml");
    rules.extend(alerts("dist/prometheus/whippet-global.rules.yaml"));
    assert_eq!(alerts("docs/alerts.md"), rules);

    program.end();
    let posted: BTreeSet<String> = intake.read(|state| {
        let bodies = state.requests_to("/api/v2/series").into_iter();
        let series = bodies.flat_map(|request| decode::series_v2(&request.plain).unwrap());
        series.map(|series| series.metric).collect()
    });
    let pattern = r"\b(whippet|datadog\.dogstatsd)\.[a-z_]+";
    all_known("dashboard", &words(pattern, "dist/datadog/whippet.json"), &posted, 12);
}
