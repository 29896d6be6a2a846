//! What is wrong around the tier: each is said with its place and the way out, or refused and counted; nothing else
//! is lost.

use super::cluster::{Cluster, PARTITIONS, TOPIC, cells, refuses};
use crate::support::intake::Intake;
use crate::support::program::{Program, Setup, eventually};
use serde_json::Value as Json;
use std::time::{Duration, SystemTime};
use whippet::part::{Head, Key, Packer, PartWriter, Style, Value};

const PATIENCE: Duration = Duration::from_secs(60);

fn with_pages(setup: Setup) -> Setup {
    setup.set("admin_address", "127.0.0.1:0")
}

/// Starts an owner of all partitions.
#[track_caller]
fn owner(cluster: &Cluster, intake: &Intake) -> Program {
    let owner = with_pages(cluster.owner(Setup::posting_to(intake))).start();
    eventually(PATIENCE, "an owner of everything", || {
        owner.json("/status")["global"]["owner"]["partitions_owned"] == PARTITIONS
    });
    owner
}

#[test]
fn a_topic_without_rights_ends_the_start() {
    let cluster = Cluster::start();
    cluster.forbid(TOPIC);
    for setup in [cluster.sender(), cluster.owner(Setup::bare().set("output", "none"))] {
        refuses(
            &setup,
            "global_topic: whippet-global: TopicAuthorizationFailed (Broker: Topic authorization failed); grant \
             senders WRITE, owners READ and WRITE on the topic",
        );
    }
}

#[test]
fn a_sender_that_may_not_write_says_so_and_loses_nothing() {
    let cluster = Cluster::start();
    cluster.refuse("produce");
    let program = cluster.sender().start();
    program.udp("g.hits:5|c");
    program.logs(
        "grant senders WRITE, owners READ and WRITE on the topic; it is tried again, 1 cells wait",
    );
    cluster.allow("produce");
    cluster.reader(TOPIC, PARTITIONS).wait_for_sum("g.hits", 5.0);
    assert_eq!(cells(&program.end()).acked, 1);
}

#[test]
fn an_owner_that_may_not_join_says_so_until_it_may() {
    let (cluster, intake) = (Cluster::start(), Intake::start());
    cluster.refuse("join");
    let owner = with_pages(cluster.owner(Setup::posting_to(&intake))).start();
    owner.logs("grant owners READ on the group (global_group)");
    eventually(PATIENCE, "an owner that is not ready", || {
        let (code, ready) = owner.get("/ready");
        code == 500 && ready.contains("global: the consumer group whippet-global has not answered")
    });
    cluster.allow("join");
    eventually(PATIENCE, "an owner of everything", || {
        owner.json("/status")["global"]["owner"]["partitions_owned"] == PARTITIONS
    });
    assert_eq!(owner.get("/ready").0, 200);
}

/// Only owners can know that a number differs; a sender sees that the topic has another one.
#[test]
fn a_sender_whose_number_of_partitions_is_not_the_topics_says_so() {
    let cluster = Cluster::start();
    let sender = with_pages(cluster.sender()).env("WHIPPET_GLOBAL_PARTITIONS", PARTITIONS / 2);
    let doubt = "global_topic: whippet-global has 8 partitions, and global_partitions is 4 here: an owner with \
                 another number refuses every part; set the same number on all senders and owners (8 uses the \
                 whole topic)";
    let program = sender.start();
    program.logs(doubt);
    let doubts = serde_json::json!([doubt]);
    let status = program.wait_json("/status", |status| status["global"]["doubts"] == doubts);
    let global = &status["global"];
    assert_eq!(global["problems"], serde_json::json!([]), "it may be meant");
    assert!(program.says(&["status"]).contains(&format!("  ! {doubt}\n")));
    program.end();
    // Brokers that come only later are asked then.
    cluster.down();
    let program = sender.start();
    program.logs("whippet starts all the same and tries again");
    assert_eq!(program.json("/status")["global"]["doubts"], serde_json::json!([]));
    cluster.up();
    program.logs(doubt);
    program.wait_json("/status", |status| status["global"]["doubts"] == doubts);
}

fn unix_now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs()
}

/// A part of one counter, by a host whose clock shows another time.
fn part_at(name: &str, start: u64) -> (u32, Vec<u8>) {
    let key = Key::new(name.as_bytes(), []).expect("a key");
    let partition = key.partition(PARTITIONS);
    let head = Head {
        sender: [7; 16],
        host: "clock off".to_owned(),
        start,
        interval: 1,
        partition,
        partitions: PARTITIONS,
        built_ms: start * 1_000,
        ..Head::default()
    };
    let (mut writer, mut packer) = (PartWriter::new(head), Packer::new());
    let full = writer.push(&key, 0, &Style::default(), &Value::Counter(1.0.into()), &mut packer);
    assert_eq!(full, Ok(None));
    (partition, writer.finish(&mut packer).expect("a part").bytes.to_vec())
}

/// The parts of these senders are refused by reason, each sender is named with what differs, and those of a sender
/// that does as it should are posted all the same.
#[test]
fn senders_with_another_interval_partitions_or_clock_are_refused_and_named() {
    let (cluster, intake) = (Cluster::start(), Intake::start());
    let owner = owner(&cluster, &intake);
    let send = |setup: Setup, name: &str| {
        let sender = setup.set("hostname", name).start();
        sender.udp("g.hits:7|c");
        assert_eq!(cells(&sender.end()).acked, 1);
    };
    send(cluster.sender().set("interval", 2), "slower");
    send(cluster.sender().env("WHIPPET_GLOBAL_PARTITIONS", PARTITIONS / 2), "coarser");
    // Ten minutes ahead is refused; ten behind is late, and exact all the same.
    for (name, start) in [("g.future", unix_now() + 700), ("g.past", unix_now() - 700)] {
        let (partition, record) = part_at(name, start);
        cluster.append(partition, &record);
    }
    send(cluster.sender(), "good");
    for (name, value) in [("g.hits", 7.0), ("g.past", 1.0)] {
        eventually(PATIENCE, name, || {
            intake.read(|state| state.sum_of_counter(name, &[]) == value)
        });
    }
    let refused = |status: &Json| status["global"]["owner"]["refused"]["reasons"].clone();
    let one = serde_json::json!({"parts": 1, "cells": 1});
    let all = serde_json::json!({"interval": one, "partition": one, "future": one});
    let mut status = Json::Null;
    eventually(PATIENCE, "three refused parts", || {
        status = owner.json("/status");
        refused(&status) == all
    });
    let senders = status["global"]["owner"]["senders"].as_array().expect("a list");
    let mut rows: Vec<_> = senders
        .iter()
        .map(|row| {
            (
                row["host"].as_str().expect("a name"),
                row["refused_parts"].as_u64().expect("a number"),
            )
        })
        .collect();
    rows.sort_unstable();
    assert_eq!(rows, [("clock off", 1), ("coarser", 1), ("good", 0), ("slower", 1)]);
    let log = owner.end();
    for line in [
        "owner: parts of slower are refused: its interval is 2 s, here it is 1 s; set the same on both",
        "owner: parts of coarser are refused: its global_partitions is 4, here it is 8; set the same on both",
        "owner: parts of clock off are refused: its interval ends ",
    ] {
        assert!(log.contains(line), "{line:?} is missing:\n{log}");
    }
    assert_eq!(intake.read(|state| state.sum_of_counter("g.hits", &[])), 7.0);
}
