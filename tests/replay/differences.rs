//! What another configuration would change, with an exit code for CI.

use std::path::Path;

use serde_json::Value;

use super::agent_file::{file, written};
use crate::support::program::whippet;

/// The first configuration.
const BEFORE: &str = "hostname: h\n";

/// Exit code and lines of a comparison of [`BEFORE`] with that.
fn compared(payloads: &[&str], after: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    let records: Vec<(u64, &[u8], u32)> = payloads
        .iter()
        .enumerate()
        .map(|(number, payload)| (1_700_000_000 + 10 * number as u64, payload.as_bytes(), 1))
        .collect();
    let path = written(folder.path(), "f.dog", &file(2, &records));
    let before = written(folder.path(), "a.yaml", BEFORE.as_bytes());
    let after = written(folder.path(), "b.yaml", after.as_bytes());
    let text = |path: &Path| path.display().to_string();
    let mut command = whippet();
    command.args(["replay", &text(&path), "--offline", "--config", &text(&before)]);
    let output = command.args(["--vs", &text(&after)]).args(arguments).output().unwrap();
    let clean = |bytes: Vec<u8>| {
        String::from_utf8(bytes).unwrap().replace(&format!("{}/", text(folder.path())), "")
    };
    (output.status.code(), clean(output.stdout), clean(output.stderr))
}

/// The differences and the verdict.
#[track_caller]
fn differ(payloads: &[&str], after: &str, expect: &[&str]) {
    let (code, text, errors) = compared(payloads, after, &[]);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| {
            !line.starts_with("a.yaml") && !line.starts_with("b.yaml") && !line.is_empty()
        })
        .collect();
    assert_eq!(lines, expect, "{errors}");
    let same = expect == ["same"];
    assert_eq!(code, Some(if same { 0 } else { 1 }));
}

#[test]
fn the_same_configuration_makes_no_difference() {
    differ(&["a:1|c\nb:2|g|#x", "a:1|c\n_sc|up|0\nd:1|d"], BEFORE, &["same"]);
}

#[test]
fn names_tags_values_and_hosts_are_told_apart() {
    let traffic = ["web.hits:1|c|#env:prod,user:7\nweb.load:3|g", "web.hits:4|c|#env:prod,user:7"];
    differ(
        &traffic,
        "hostname: h\nstatsd_metric_namespace: n\n",
        &[
            "renamed   rate 10s  web.hits {env:prod,user:7} on h -> n.web.hits",
            "renamed   gauge  web.load on h -> n.web.load",
            "different: 2 renamed",
        ],
    );
    differ(
        &traffic,
        "hostname: h\ntags: [team:x]\n",
        &[
            "tags      rate 10s  web.hits {env:prod,user:7} on h  tags +team:x",
            "tags      gauge  web.load on h  tags +team:x",
            "different: 2 tags",
        ],
    );
    differ(
        &traffic,
        "hostname: i\n",
        &[
            "host      rate 10s  web.hits {env:prod,user:7} on h -> i",
            "host      gauge  web.load on h -> i",
            "different: 2 host",
        ],
    );
    differ(
        &traffic,
        "hostname: h\nmetric_filterlist: [web.load]\n",
        &["vanishes  gauge  web.load on h", "different: 1 vanishes"],
    );
    differ(
        &traffic,
        "hostname: h\ndogstatsd_mapper_profiles:\n  - name: p\n    prefix: web.\n    mappings:\n      - {match: 'web.*', name: web, tags: {what: $1}}\n",
        &[
            "renamed   rate 10s  web.hits {env:prod,user:7} on h -> web  tags +what:hits",
            "renamed   gauge  web.load on h -> web  tags +what:load",
            "different: 2 renamed",
        ],
    );
}

#[test]
fn a_filtered_tag_merges_series_and_more_percentiles_appear() {
    let traffic = ["a:1|c|#user:1,z:1\na:2|c|#user:2,z:1\nt:5|h"];
    differ(
        &traffic,
        "hostname: h\nmetric_tag_filterlist: [{metric_name: a, action: exclude, tags: [user]}]\n",
        &[
            "merged    rate 10s  2 series of a into {z:1} on h: {user:1,z:1}, {user:2,z:1}",
            "different: 1 merged",
        ],
    );
    differ(
        &traffic,
        "hostname: h\nhistogram_percentiles: [0.95, 0.5]\nhistogram_aggregates: [max, median, avg, count, min]\n",
        &[
            "appears   gauge  t.50percentile on h",
            "appears   gauge  t.min on h",
            "different: 2 appears",
        ],
    );
    differ(
        &traffic,
        "hostname: h\ninterval: 1\n",
        &[
            "kind      rate 1s  a {user:1,z:1} on h: was rate 10s",
            "kind      rate 1s  a {user:2,z:1} on h: was rate 10s",
            "kind      rate 1s  t.count on h: was rate 10s",
            "different: 3 kind",
        ],
    );
}

/// Both names become one.
const MAPPED: &str = "hostname: h\ndogstatsd_mapper_profiles:\n  - name: p\n    prefix: m.\n    mappings:\n      - {match: 'm.*', name: m.a}\n";

#[test]
fn other_values_are_shown_with_their_first_point() {
    let traffic = ["m.a:1|c", "m.a:1|c\nm.b:2|c"];
    differ(
        &traffic,
        MAPPED,
        &[
            "value     rate 10s  m.a on h: 1 of 2 points, first at 2023-11-14T22:13:30Z: 0.1 -> 0.3",
            "vanishes  rate 10s  m.b on h",
            "different: 1 value, 1 vanishes",
        ],
    );
    let (code, text, _) = compared(&traffic, MAPPED, &["--format", "json"]);
    assert_eq!(code, Some(1));
    let all: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [value, vanishes, summary] = &all[..] else { panic!("{text}") };
    assert_eq!((&value["change"], &value["series"]["name"]), (&"value".into(), &"m.a".into()));
    assert_eq!((&value["before"], &value["after"]), (&0.1.into(), &0.3.into()), "{text}");
    assert_eq!((&value["differing"], &value["timestamp"]), (&1.into(), &1_700_000_010.into()));
    assert_eq!(
        (&vanishes["change"], &vanishes["series"]["name"]),
        (&"vanishes".into(), &"m.b".into())
    );
    assert_eq!((&summary["change"], &summary["differences"]), (&"summary".into(), &2.into()));
    for (side, contexts) in [("before", 2), ("after", 1)] {
        assert_eq!(summary[side]["contexts"], contexts, "{text}");
        assert!(summary[side]["bytes"].as_u64() > Some(0), "{text}");
    }
}

#[test]
fn both_sides_are_summed_up() {
    let (_, text, _) = compared(
        &["a:1|c|#u:1\na:1|c|#u:2"],
        "hostname: h\nmetric_tag_filterlist: [{metric_name: a, action: exclude, tags: [u]}]\n",
        &[],
    );
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(".yaml  ")).collect();
    assert!(lines[0].starts_with("a.yaml  2 series, 2 points, 2 contexts, 1 payloads, "), "{text}");
    assert!(lines[1].starts_with("b.yaml  1 series, 1 points, 1 contexts, 1 payloads, "), "{text}");
}

#[test]
fn an_error_is_neither_same_nor_different() {
    let (code, text, errors) = compared(&["a:1|c"], "dogstatsd_port: 70000\n", &[]);
    assert_eq!((code, text.as_str()), (Some(2), ""), "{errors}");
    assert!(errors.contains("dogstatsd_port: \"70000\" is not a valid port"), "{errors}");
    let output = whippet().args(["replay", "/nonexistent", "--offline"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
