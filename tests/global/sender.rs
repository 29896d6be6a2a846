//! A sender at work: global series go into the log, whatever happens to the brokers, and no other.

use super::cluster::{Cells, Cluster, PARTITIONS, TOPIC, cells, refuses, sender_to};
use crate::support::program::{Program, Setup, until};

/// A sender with a spool, and time for its last words.
fn with_spool(setup: Setup) -> Setup {
    let spool = setup.path("spool");
    setup.env("WHIPPET_GLOBAL_SPOOL_PATH", spool.display()).env("DD_FORWARDER_STOP_TIMEOUT", "1")
}

fn spooled_files(setup: &Setup) -> usize {
    let files = setup.files();
    files.iter().filter(|(path, _)| path.extension().is_some_and(|it| it == "record")).count()
}

#[track_caller]
fn ends(program: Program) -> Cells {
    cells(&program.end())
}

#[test]
fn every_kind_arrives_and_nothing_local_does() {
    let cluster = Cluster::start();
    let program = cluster.sender().start();
    for number in 0..20 {
        program.udp(format!(
            "g.hits:{number}|c|#route:r{},host:gone\ng.users:u{number}|s\ng.load:{number}|g\n\
             g.time:{number}|h\ng.size:{number}|d\nlocal:1|c\n\
             tagged:1|c|#whippet_scope:global\ng.kept:1|c|#whippet_scope:local",
            number % 3
        ));
    }
    let balance = ends(program);
    let mut reader = cluster.reader(TOPIC, PARTITIONS);
    reader.wait_for_cells(balance.encoded);
    assert_eq!(balance.acked, balance.encoded);
    let counters = reader.counters();
    assert_eq!(counters["g.hits"], 190.0);
    assert_eq!(counters["tagged"], 20.0);
    assert_eq!(
        reader.keys(),
        [
            "g.hits\nroute:r0",
            "g.hits\nroute:r1",
            "g.hits\nroute:r2",
            "g.load",
            "g.time",
            "g.users",
            "tagged"
        ]
    );
    assert_eq!(reader.twice, 0);
}

#[test]
fn brokers_that_go_away_and_come_back_lose_nothing() {
    let cluster = Cluster::start();
    // A fifth of it is the time a part may be under way.
    let program = cluster.sender().env("WHIPPET_GLOBAL_LATE", "10").start();
    program.udp("g.hits:1|c");
    let mut reader = cluster.reader(TOPIC, PARTITIONS);
    reader.wait_for_sum("g.hits", 1.0);
    cluster.down();
    program.udp("g.hits:10|c");
    program.logs("the brokers took no part");
    program.udp("g.hits:100|c");
    cluster.up();
    reader.wait_for_sum("g.hits", 111.0);
    program.udp("g.hits:1000|c");
    reader.wait_for_sum("g.hits", 1111.0);
    let balance = ends(program);
    assert_eq!((balance.acked, balance.encoded), (4, 4));
}

#[test]
fn a_sender_starts_without_brokers_and_says_so() {
    let cluster = Cluster::start();
    cluster.down();
    let program = cluster.sender().start();
    program.logs("whippet starts all the same and tries again");
    program.udp("g.hits:5|c");
    cluster.up();
    cluster.reader(TOPIC, PARTITIONS).wait_for_sum("g.hits", 5.0);
    assert_eq!(ends(program).acked, 1);
}

#[test]
fn what_a_shutdown_could_not_send_the_next_run_sends_once() {
    let cluster = Cluster::start();
    let setup = with_spool(cluster.sender());
    let program = setup.start();
    program.udp("g.hits:1|c");
    let mut reader = cluster.reader(TOPIC, PARTITIONS);
    reader.wait_for_sum("g.hits", 1.0);
    cluster.down();
    program.udp("g.hits:10|c\ng.more:3|c");
    until("parts on disk", || (spooled_files(&setup) == 2).then_some(()));
    let balance = ends(program);
    assert_eq!((balance.acked, balance.spooled, balance.dropped), (1, 2, 0));
    cluster.up();
    let program = setup.start();
    reader.wait_for_sum("g.hits", 11.0);
    reader.wait_for_sum("g.more", 3.0);
    let balance = ends(program);
    assert_eq!((balance.encoded, balance.acked), (2, 2), "those of the earlier run");
    assert_eq!(spooled_files(&setup), 0);
    assert_eq!(reader.cells(), 3, "each once");
}

#[test]
fn a_killed_sender_with_a_spool_loses_its_open_bucket_only() {
    let cluster = Cluster::start();
    let setup = with_spool(cluster.sender());
    let program = setup.start();
    program.udp("g.hits:1|c");
    let mut reader = cluster.reader(TOPIC, PARTITIONS);
    reader.wait_for_sum("g.hits", 1.0);
    cluster.down();
    program.udp("g.hits:10|c");
    until("a part on disk", || (spooled_files(&setup) == 1).then_some(()));
    program.signal("KILL");
    program.wait();
    cluster.up();
    let program = setup.start();
    reader.wait_for_sum("g.hits", 11.0);
    assert_eq!(ends(program).acked, 1);
}

#[test]
fn what_a_full_queue_drops_is_counted() {
    let cluster = Cluster::start();
    let setup = cluster.sender().env("WHIPPET_GLOBAL_QUEUE_MAX", "1MiB");
    let program = setup.env("DD_FORWARDER_STOP_TIMEOUT", "1").start();
    cluster.down();
    let socket = program.unix();
    // Tags that hardly compress: 2 MB of parts.
    let (mut seed, mut sent) = (1_u64, 0);
    while sent < 60_000 {
        let mut datagram = String::new();
        for _ in 0..20 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let tag = u128::from(seed) * u128::from(seed.rotate_left(17) | 1);
            datagram.push_str(&format!("g.hits:1|c|#id:{tag:x}\n"));
            sent += 1;
        }
        socket.send(datagram.as_bytes()).expect("sent");
    }
    program.logs("dropped (queue_full): raise global_queue_max or set global_spool_path");
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0), "as when payloads were not delivered");
    let log = ended.stderr;
    let balance = cells(&log);
    assert_eq!((balance.encoded, balance.acked, balance.dropped), (60_000, 0, 60_000));
    assert!(log.contains("queue_full ") && log.contains("shutdown "), "{log}");
    let lost = "cells were not handed over and are lost; set global_spool_path, so that the next run hands them over";
    let last: Vec<&str> = log.lines().filter(|line| line.contains("cells ")).collect();
    let [.., lost_line, balance_line] = last[..] else { panic!("{log}") };
    assert!(lost_line.contains(lost) && balance_line.starts_with("cells "), "{log}");
}

#[test]
fn intervals_from_a_second_on_go_to_the_next_topic() {
    let cluster = Cluster::start();
    cluster.create("next", 4);
    let next = r#"{"topic": "next", "partitions": "4", "from": "1700000000"}"#;
    let program = cluster.sender().env("WHIPPET_GLOBAL_TOPIC_NEXT", next).start();
    program.udp("g.hits:7|c");
    let mut reader = cluster.reader("next", 4);
    reader.wait_for_sum("g.hits", 7.0);
    assert_eq!(reader.parts[0].head.partitions, 4);
    assert_eq!(ends(program).acked, 1);
}

#[test]
fn a_missing_topic_ends_the_start_with_the_command_that_creates_it() {
    let cluster = Cluster::without_topic();
    let brokers = cluster.addresses();
    refuses(
        &cluster.sender(),
        &format!(
            "global_topic: whippet-global does not exist; run: kafka-topics.sh --bootstrap-server {brokers} \
             --create --topic whippet-global --partitions 8 --config retention.ms=14400000 \
             --config message.timestamp.type=LogAppendTime"
        ),
    );
}

#[test]
fn a_topic_with_too_few_partitions_ends_the_start() {
    let cluster = Cluster::without_topic();
    cluster.create(TOPIC, 3);
    refuses(
        &cluster.sender(),
        "whippet-global has 3 partitions, 8 are needed (global_partitions); run: kafka-topics.sh",
    );
}

#[test]
fn a_property_that_does_not_exist_is_named() {
    let setup = sender_to("127.0.0.1:1").env("WHIPPET_GLOBAL_KAFKA", r#"{"client.wrack": "a"}"#);
    refuses(&setup, "global_kafka: client.wrack:");
}

#[test]
fn a_property_that_exactness_rests_on_ends_the_start() {
    let setup = sender_to("127.0.0.1:1").env("WHIPPET_GLOBAL_KAFKA", r#"{"acks": "1"}"#);
    refuses(
        &setup,
        "WHIPPET_GLOBAL_KAFKA: global_kafka: acks cannot be set: a part counts as handed over only when all \
         replicas have it; remove it",
    );
}

#[test]
fn properties_that_contradict_each_other_end_the_start() {
    let both = r#"{"fetch.max.bytes": "1000", "receive.message.max.bytes": "1000"}"#;
    let setup = sender_to("127.0.0.1:1").env("WHIPPET_GLOBAL_KAFKA", both);
    refuses(&setup, "global_kafka: `fetch.max.bytes` must be >= `message.max.bytes`");
}
