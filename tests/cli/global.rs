//! Settings of the global tier, as a person checks them.

use super::command::{ran, run, whippet};

/// `check-config` under these variables: what it prints, with spaces as one, and its exit code.
fn checked(env: &[(&str, &str)]) -> (Vec<String>, i32) {
    let mut command = whippet(&["check-config"]);
    env.iter().for_each(|(name, value)| {
        command.env(name, value);
    });
    let got = ran(command.output().unwrap());
    let rows = got.stdout.lines().map(|row| row.split_whitespace().collect::<Vec<_>>().join(" "));
    (rows.collect(), got.code)
}

#[test]
fn the_tier_is_off_and_every_key_is_shown() {
    let (rows, code) = checked(&[]);
    assert_eq!(code, 0);
    for row in [
        "global_mode off",
        "global_brokers []",
        "global_topic whippet-global",
        "global_partitions 64",
        "global_group whippet-global",
        "global_metrics []",
        "global_drop_tags [host, pod_name, container_id, container_name, display_container_name]",
        "global_grace 5s",
        "global_late 1m",
        "global_late_max 55m",
        "global_session_timeout 10s",
        "global_queue_max 67108864",
        "global_spool_path (unset)",
        "global_spool_max 1073741824",
        "global_memory_max 0",
        "global_owner_id (unset)",
        "global_tls false",
        "global_sasl_password (unset)",
        "global_kafka []",
    ] {
        assert!(rows.iter().any(|shown| shown == row), "no {row:?} in {rows:#?}");
    }
}

#[test]
fn variables_are_named_and_passwords_are_not_shown() {
    let (rows, _) = checked(&[
        ("WHIPPET_GLOBAL_BROKERS", "kafka1:9092 kafka2:9092"),
        ("WHIPPET_GLOBAL_SASL_MECHANISM", "SCRAM-SHA-256"),
        ("WHIPPET_GLOBAL_SASL_USERNAME", "whippet"),
        ("WHIPPET_GLOBAL_SASL_PASSWORD", "not for anybody's eyes"),
        ("WHIPPET_GLOBAL_KAFKA", r#"{"client.rack": "a", "ssl.key.password": "eyes too"}"#),
        ("WHIPPET_GLOBAL_TOPIC_NEXT", r#"{"topic": "next", "from": 1800000000}"#),
    ]);
    for row in [
        "global_brokers [kafka1:9092, kafka2:9092] <- WHIPPET_GLOBAL_BROKERS",
        "global_sasl_password ***** <- WHIPPET_GLOBAL_SASL_PASSWORD",
        "global_kafka [client.rack: a, ssl.key.password: *****] <- WHIPPET_GLOBAL_KAFKA",
        "global_topic_next [from: 1800000000, topic: next] <- WHIPPET_GLOBAL_TOPIC_NEXT",
    ] {
        assert!(rows.iter().any(|shown| shown == row), "no {row:?} in {rows:#?}");
    }
    assert!(!rows.iter().any(|row| row.contains("eyes")), "{rows:#?}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let (rows, code) = checked(&[
        ("WHIPPET_GLOBAL_BROKERS", "kafka1"),
        ("WHIPPET_GLOBAL_PARTITIONS", "5000"),
        ("WHIPPET_GLOBAL_LATE", "3"),
        ("WHIPPET_GLOBAL_KAFKA", r#"{"acks": "1"}"#),
        ("WHIPPET_GLOBAL_TOPC", "x"),
    ]);
    assert_eq!(code, 78);
    for row in [
        "error: WHIPPET_GLOBAL_BROKERS: global_brokers: \"kafka1\" has no port; use host:port, \
         such as kafka1:9092",
        "error: WHIPPET_GLOBAL_PARTITIONS: global_partitions: \"5000\" is too large; use a whole \
         number from 1 to 4096 (default 64)",
        "error: WHIPPET_GLOBAL_LATE: global_late: 3s is below global_grace (5s); change one of the \
         two",
        "error: WHIPPET_GLOBAL_KAFKA: global_kafka: acks cannot be set: a part counts as handed \
         over only when all replicas have it; remove it",
        "error: WHIPPET_GLOBAL_TOPC: unknown; did you mean WHIPPET_GLOBAL_TOPIC?",
        "5 errors",
    ] {
        assert!(rows.iter().any(|shown| shown == row), "no {row:?} in {rows:#?}");
    }
}

/// A build without the feature, or without its TLS, does not start and says which one it needs.
#[test]
fn a_build_without_the_feature_does_not_start() {
    let sends = ["run", "--set", "global_mode=send", "--set", "global_brokers=localhost:1"];
    let feature = if cfg!(feature = "global") { "global-tls" } else { "global" };
    if cfg!(feature = "global-tls") {
        return;
    }
    let got = run(&[&sends[..], &["--set", "global_tls=true"]].concat());
    assert_eq!(got.code, 78, "{}", got.stderr);
    let (key, value) =
        if feature == "global" { ("global_mode", "send") } else { ("global_tls", "true") };
    let expect = format!(
        "--set {key}: {key}: {value} needs a whippet built with the feature {feature}; build it \
         with `cargo build --release --features {feature}`, or use an image that has it"
    );
    assert!(got.stderr.contains(&expect), "{}", got.stderr);
}
