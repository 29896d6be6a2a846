//! The tier on the pages of a sender and of an owner.

use super::cluster::{Cluster, PARTITIONS, TOPIC};
use crate::support::intake::Intake;
use crate::support::program::{Program, Setup, eventually};
use serde_json::{Value, json};
use std::time::Duration;
use whippet::part::{Barrier, encode_barrier};

#[test]
fn a_sender_shows_its_balance_on_every_page() {
    let cluster = Cluster::start();
    let program = cluster.sender().set("admin_address", "127.0.0.1:0").start();
    program.udp("g.hits:1|c\ng.load:2|g\nlocal:1|c");
    let status = program.wait_json("/status", |status| status["global"]["sender"]["acked"] == 2);
    let global = &status["global"];
    assert_eq!((&global["mode"], &global["topic"]), (&"send".into(), &TOPIC.into()));
    assert_eq!(global["partitions"], PARTITIONS);
    assert_eq!(
        (&global["sender"]["encoded"], &global["sender"]["balances"]),
        (&2.into(), &true.into())
    );
    assert!(global["owner"].is_null() && global["problems"] == serde_json::json!([]), "{global}");

    let (code, metrics) = program.get("/metrics");
    assert_eq!(code, 200);
    for line in [
        "whippet_global_cells_encoded_total 2",
        "whippet_global_cells_acked_total 2",
        "whippet_global_cells_waiting 0",
        "# TYPE whippet_global_cells_dropped_total counter",
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} is missing:\n{metrics}");
    }
    assert!(!metrics.contains("whippet_global_partitions_owned"), "it owns nothing");

    let shown = program.says(&["status"]);
    let cells = "cells sent: 2 encoded = 2 acked + 0 waiting + 0 on disk + 0 dropped\n";
    assert!(shown.contains(cells), "{shown}");
    let (code, ready) = program.get("/ready");
    assert!(code == 200 && ready.contains("\"global\""), "{ready}");
}

fn owner(cluster: &Cluster, intake: &Intake) -> Setup {
    own(Setup::posting_to(intake), cluster)
}

fn own(setup: Setup, cluster: &Cluster) -> Setup {
    cluster.owner(setup.set("admin_address", "127.0.0.1:0"))
}

/// The program's pages show it within the time.
#[track_caller]
fn shows(program: &Program, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let mut status = Value::Null;
    eventually(Duration::from_secs(30), what, || {
        status = program.json("/status");
        wanted(&status["global"]["owner"])
    });
    status["global"].take()
}

/// The value of a metric without labels.
#[track_caller]
fn metric(page: &str, name: &str) -> f64 {
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is missing:\n{page}")).parse().expect("a number")
}

#[test]
fn an_owner_shows_its_balance_on_every_page() {
    let (cluster, intake) = (Cluster::start(), Intake::start());
    let owner = owner(&cluster, &intake).start();
    shows(&owner, "all partitions", |owner| owner["partitions_owned"] == PARTITIONS);
    let sender = cluster.sender().set("admin_address", "127.0.0.1:0").start();
    sender.udp((0..20).map(|n| format!("g.n{n}:1|c")).collect::<Vec<_>>().join("\n"));
    let sent = sender.wait_json("/status", |status| status["global"]["sender"]["acked"] == 20);
    let parts = &sent["global"]["sender"]["parts_acked"];
    cluster.append(0, b"no part at all");

    let read = parts.as_u64().expect("a number") + 1;
    let global = shows(&owner, "all parts, posted and settled", |owner| {
        owner["read"]["parts"] == read
            && owner["intervals_open"] == 0
            && owner["payloads"]["waiting"]["payloads"] == 0
    });
    let shown = &global["owner"];
    assert_eq!(shown["balances"], true, "{shown}");
    assert_eq!(shown["merged"], json!({"parts": parts, "cells": 20}));
    assert_eq!(shown["refused"]["reasons"], json!({"magic": {"parts": 1, "cells": 0}}));
    assert_eq!((&shown["duplicate"]["parts"], &shown["late"]["parts"]), (&0.into(), &0.into()));
    assert_eq!(global["problems"], json!([]), "{global}");
    assert!(shown["group_silent_seconds"].as_f64().expect("it answered") < 6.0, "{shown}");
    let payloads = &shown["payloads"];
    assert!(
        payloads["balances"] == true && payloads["delivered"] == payloads["built"],
        "{payloads}"
    );
    let senders = shown["senders"].as_array().expect("a list");
    assert_eq!(senders.len(), 1, "{senders:?}");
    assert_eq!((&senders[0]["parts"], &senders[0]["cells"]), (parts, &20.into()));

    let (_, page) = owner.get("/metrics");
    let parts = |what: &str| metric(&page, &format!("whippet_global_parts_{what}_total"));
    assert_eq!(parts("read"), read as f64);
    assert_eq!(parts("merged") + parts("duplicate") + parts("too_old") + 1.0, parts("read"));
    assert!(page.contains("whippet_global_parts_refused_total{reason=\"magic\"} 1\n"), "{page}");
    assert_eq!(metric(&page, "whippet_global_partitions_owned"), f64::from(PARTITIONS));
    assert_eq!(metric(&page, "whippet_global_intervals_open"), 0.0);
    for name in ["corrections_total", "fenced_total"] {
        assert_eq!(metric(&page, &format!("whippet_global_{name}")), 0.0);
    }
    assert!(metric(&page, "whippet_global_rebalances_total") >= 1.0);
    for name in ["lag_records", "oldest_unsettled_seconds", "sender_skew_seconds"] {
        metric(&page, &format!("whippet_global_{name}"));
    }
    let text = owner.says(&["status"]);
    let line = format!("parts read: {read} = {} merged + 0 duplicate + 0 late", read - 1);
    assert!(text.contains(&line) && text.contains("1 refused (magic 1)"), "{text}");

    let log = owner.end();
    let line =
        format!("{read} read = {} merged + 0 duplicate + 0 late + 0 too old + 1 refused", read - 1);
    assert!(log.contains(&line), "{log}");
    assert!(log.contains("0 withheld (fence), 0 withdrawn, 0 given up"), "{log}");
}

#[test]
fn an_owner_is_unready_while_a_partition_is_held_or_the_group_is_silent() {
    let (cluster, intake) = (Cluster::start(), Intake::start());
    let owner = owner(&cluster, &intake).start();
    shows(&owner, "all partitions", |owner| owner["partitions_owned"] == PARTITIONS);
    let (code, ready) = owner.get("/ready");
    assert!(code == 200 && ready.contains("\"global\""), "{ready}");

    let mut newer = encode_barrier(&Barrier { owner: [1; 16], number: 1 });
    newer[2] = 2;
    cluster.append(3, &newer);
    shows(&owner, "a partition that is held", |owner| owner["partitions_held"] == 1);
    let (code, ready) = owner.get("/ready");
    assert!(code == 500 && ready.contains("global: a partition is held"), "{ready}");
    assert_eq!(metric(&owner.get("/metrics").1, "whippet_global_partitions_held"), 1.0);

    cluster.down();
    let silent = "global: the consumer group whippet-global has not answered for";
    eventually(Duration::from_secs(30), "a group that is silent", || {
        let (code, ready) = owner.get("/ready");
        code == 500 && ready.contains(silent)
    });
}

/// The keys of the requests that held a series.
fn keys(intake: &Intake, series: &str) -> Vec<String> {
    let holds = |plain: &[u8]| plain.windows(series.len()).any(|part| part == series.as_bytes());
    intake.read(|state| {
        let requests = state.requests.iter().filter(|request| holds(&request.plain));
        requests.map(|request| request.header("dd-api-key").to_owned()).collect()
    })
}

#[test]
fn the_key_of_an_owner_follows_a_reload() {
    const FIRST: &str = "first-key-0123456789abcdef012345";
    const SECOND: &str = "second-key-0123456789abcdef01234";
    let (cluster, intake) = (Cluster::start(), Intake::start());
    let setup = Setup::bare().env("DD_DD_URL", intake.url());
    let mut setup = own(setup, &cluster).in_file().set("api_key", FIRST);
    let owner = setup.start();
    shows(&owner, "all partitions", |owner| owner["partitions_owned"] == PARTITIONS);
    let sender = cluster.sender().start();
    let delivered = |series: &str| {
        sender.udp(format!("{series}:1|c"));
        let at = || !keys(&intake, series).is_empty();
        eventually(Duration::from_secs(30), "a value at the intake", at);
    };
    delivered("g.before");
    assert!(keys(&intake, "g.before").iter().all(|key| key == FIRST));
    setup.change("api_key", SECOND);
    setup.write();
    owner.signal("HUP");
    owner.logs_until(|log| log.contains("configuration reloaded"));
    delivered("g.after");
    assert!(keys(&intake, "g.after").iter().all(|key| key == SECOND));
}
