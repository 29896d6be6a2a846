//! The keys of the global tier: rows of values, what is refused and how it is said.

use super::checks::host_port;
use super::properties::refused_properties;
use super::*;
use crate::config::effective::EffectiveValues;
use crate::config::value::Value;
use crate::config::{Loaded, Mode, Problem, Sources, examine, load};

const BROKERS: (&str, &str) = ("global_brokers", "localhost:9092");
/// `global_mode` cannot be used in every build; what is asked here does not depend on it.
fn of_the_build(problem: &Problem) -> bool {
    problem.message.contains("needs a whippet built with the feature")
}

fn sources(flags: &[(&str, &str)], mode: Mode) -> Sources<[(String, String); 0]> {
    let flags = flags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    Sources { file: None, env: [], flags, mode }
}

fn look(flags: &[(&str, &str)]) -> (Config, Vec<String>) {
    let examined = examine(sources(flags, Mode::Run));
    let show = |problem: &Problem| {
        let word = if problem.is_error(Mode::Run) { "error" } else { "note" };
        format!("{word} {}: {}", problem.key, problem.message)
    };
    let problems = examined.problems.iter().filter(|problem| !of_the_build(problem));
    (examined.loaded.unwrap().config, problems.map(show).collect())
}

#[track_caller]
fn refuses(flags: &[(&str, &str)], expect: &[&str]) {
    let (_, problems) = look(flags);
    assert_eq!(problems, expect, "{flags:?}");
}

#[test]
fn off_by_default_and_a_mode_is_all_with_brokers() {
    assert_eq!(look(&[]).0.global(), None);
    let (config, problems) = look(&[("global_mode", "both"), BROKERS]);
    assert_eq!(problems, [""; 0]);
    let memory_bytes_max = config.global().unwrap().memory_bytes_max;
    assert!(memory_bytes_max >= 1 << 20);
    assert_eq!(
        config.global().unwrap(),
        GlobalSettings {
            mode: GlobalMode::Both,
            brokers: vec!["localhost:9092".to_owned()],
            topic: "whippet-global".to_owned(),
            create_topic: false,
            partitions: 64,
            topic_next: None,
            group: "whippet-global".to_owned(),
            owner_id: None,
            grace: Duration::from_secs(5),
            late: Duration::from_secs(60),
            late_max: Duration::from_secs(3300),
            session_timeout: Duration::from_secs(10),
            queue_bytes_max: 64 << 20,
            spool_path: None,
            spool_bytes_max: 1 << 30,
            memory_bytes_max,
            skip_unknown: false,
            tls: None,
            sasl: None,
            kafka: Vec::new(),
        }
    );
    assert_eq!(
        config.global_drop_tags,
        ["host", "pod_name", "container_id", "container_name", "display_container_name"]
    );
}

#[test]
fn every_key_is_read_from_the_environment() {
    let env = [
        ("WHIPPET_GLOBAL_MODE", "send"),
        ("WHIPPET_GLOBAL_BROKERS", "127.0.0.1:1 [::1]:2"),
        ("WHIPPET_GLOBAL_TOPIC", "t"),
        ("WHIPPET_GLOBAL_CREATE_TOPIC", "true"),
        ("WHIPPET_GLOBAL_PARTITIONS", "4096"),
        ("WHIPPET_GLOBAL_TOPIC_NEXT", r#"{"topic": "u", "from": 1800000000, "partitions": 7}"#),
        ("WHIPPET_GLOBAL_GROUP", "g"),
        ("WHIPPET_GLOBAL_OWNER_ID", "o-1"),
        ("WHIPPET_GLOBAL_METRICS", "page.* cart.total"),
        ("WHIPPET_GLOBAL_DROP_TAGS", "host,pod"),
        ("WHIPPET_GLOBAL_GRACE", "500ms"),
        ("WHIPPET_GLOBAL_LATE", "30"),
        ("WHIPPET_GLOBAL_LATE_MAX", "10m"),
        ("WHIPPET_GLOBAL_SESSION_TIMEOUT", "6"),
        ("WHIPPET_GLOBAL_QUEUE_MAX", "2Mb"),
        ("WHIPPET_GLOBAL_SPOOL_PATH", "/spool"),
        ("WHIPPET_GLOBAL_SPOOL_MAX", "3Mb"),
        ("WHIPPET_GLOBAL_MEMORY_MAX", "4Mb"),
        ("WHIPPET_GLOBAL_SKIP_UNKNOWN", "true"),
        ("WHIPPET_GLOBAL_TLS", "true"),
        ("WHIPPET_GLOBAL_CA_FILE", "/ca"),
        ("WHIPPET_GLOBAL_CERT_FILE", "/cert"),
        ("WHIPPET_GLOBAL_KEY_FILE", "/key"),
        ("WHIPPET_GLOBAL_SASL_MECHANISM", "scram-sha-512"),
        ("WHIPPET_GLOBAL_SASL_USERNAME", "u"),
        ("WHIPPET_GLOBAL_SASL_PASSWORD", "a long password"),
        ("WHIPPET_GLOBAL_KAFKA", r#"{"client.rack": "a", "ssl.key.password": "hidden"}"#),
    ];
    let names = crate::config::keys::all().filter(|key| key.name.starts_with("global_"));
    for key in names {
        assert!(env.iter().any(|(name, _)| key.env() == [*name]), "{} is not here", key.name);
    }
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let examined = examine(Sources { file: None, env, flags: Vec::new(), mode: Mode::Run });
    let missing = examined.problems.iter().filter(|problem| !of_the_build(problem));
    let missing: Vec<_> = missing.map(|problem| problem.key.as_str()).collect();
    assert_eq!(missing, ["global_ca_file", "global_cert_file", "global_key_file"]);
    let loaded = examined.loaded.unwrap();
    let settings = loaded.config.global().unwrap();
    let path = |text: &str| PathBuf::from(text);
    let next = TopicNext { topic: "u".into(), partitions: 7, from: 1_800_000_000 };
    let expect = GlobalSettings {
        mode: GlobalMode::Send,
        brokers: vec!["127.0.0.1:1".into(), "[::1]:2".into()],
        topic: "t".into(),
        create_topic: true,
        partitions: 4096,
        topic_next: Some(next),
        group: "g".into(),
        owner_id: Some("o-1".into()),
        grace: Duration::from_millis(500),
        late: Duration::from_secs(30),
        late_max: Duration::from_secs(600),
        session_timeout: Duration::from_secs(6),
        queue_bytes_max: 2 << 20,
        spool_path: Some(path("/spool")),
        spool_bytes_max: 3 << 20,
        memory_bytes_max: 4 << 20,
        skip_unknown: true,
        tls: Some(Tls {
            ca_file: Some(path("/ca")),
            certificate: Some((path("/cert"), path("/key"))),
        }),
        sasl: Some(Sasl {
            mechanism: SaslMechanism::ScramSha512,
            username: "u".into(),
            password: Secret::password("a long password"),
        }),
        kafka: vec![
            ("client.rack".into(), "a".into()),
            ("ssl.key.password".into(), "hidden".into()),
        ],
    };
    assert_eq!(settings, expect);
    assert_eq!(loaded.config.global_metrics, ["page.*", "cart.total"]);
    assert_eq!(loaded.config.global_drop_tags, ["host", "pod"]);
    let shown: Vec<_> = loaded.effective().into_iter().map(|(_, value, _)| value).collect();
    assert!(
        !shown
            .iter()
            .any(|value| value.contains("hidden")
                || value.contains("passw") && value.contains("long")),
        "{shown:?}"
    );
}

#[test]
fn a_build_without_the_feature_names_it() {
    let found =
        examine(sources(&[("global_mode", "send"), BROKERS, ("global_tls", "true")], Mode::Run));
    let shown: Vec<String> = found.problems.iter().map(ToString::to_string).collect();
    let expect = |what: &str, value: &str, feature: &str, there: bool| {
        let line = format!(
            "--set {what}: {what}: {value} needs a whippet built with the feature {feature}; \
             build it with `cargo build --release --features {feature}`, or use an image that \
             has it"
        );
        assert_eq!(shown.contains(&line), !there, "{line} {shown:?}");
    };
    expect("global_mode", "send", "global", cfg!(feature = "global"));
    expect("global_tls", "true", "global-tls", cfg!(feature = "global-tls"));
    // Both messages, whatever this build has.
    let mut values = EffectiveValues::default();
    values.values.insert("global_mode", Value::Word("own"));
    values.values.insert("global_sasl_mechanism", Value::Word("PLAIN"));
    values.features(false, false);
    let shown: Vec<_> = values.problems.iter().map(|problem| &problem.message[..45]).collect();
    assert_eq!(
        shown,
        [
            "own needs a whippet built with the feature gl",
            "PLAIN needs a whippet built with the feature "
        ]
    );
}

#[test]
fn brokers_are_a_host_with_a_port() {
    refuses(
        &[("global_mode", "own")],
        &["error global_mode: own needs global_brokers; set it to a list of host:port"],
    );
    let broker = |text: &str, what: &str| {
        let message =
            format!("error global_brokers: \"{text}\" {what}; use host:port, such as kafka1:9092");
        refuses(&[("global_brokers", text)], &[&message]);
    };
    broker("kafka1", "has no port");
    broker("kafka1:", "has no valid port");
    broker("kafka1:0", "has no valid port");
    broker("kafka1:65536", "has no valid port");
    broker("PLAINTEXT://kafka1:9092", "has a scheme");
    broker(":9092", "has no valid host");
    broker("::1:9092", "has no valid host");
    broker("[::1]", "has no port");
    assert_eq!(host_port("[::1:9092"), Err("has an IPv6 address without its end"));
    refuses(&[("global_brokers", "a:1,b:2 [::1]:3 localhost:4")], &[]);
    refuses(&[("global_brokers", "[::1]:3 a:1")], &[]);
    refuses(&[("global_brokers", r#"["[::1]:3"]"#)], &[]);
}

#[test]
fn plain_text_to_another_machine_is_said_once() {
    let brokers = ("global_brokers", "127.0.0.1:1 [::1]:1 localhost:1 10.0.0.1:2 far:3");
    refuses(&[brokers], &[]);
    refuses(
        &[("global_mode", "send"), brokers],
        &["note global_brokers: metrics travel to 10.0.0.1:2 in plain text; set global_tls: true"],
    );
    let login = [
        ("global_sasl_mechanism", "PLAIN"),
        ("global_sasl_username", "u"),
        ("global_sasl_password", "p"),
    ];
    refuses(
        &[&[("global_mode", "send"), brokers][..], &login].concat(),
        &["note global_brokers: metrics and the password travel to 10.0.0.1:2 in plain text; \
           set global_tls: true"],
    );
    let tls = ("global_tls", "true");
    refuses(&[&[("global_mode", "send"), brokers, tls][..], &login].concat(), &[]);
}

#[test]
fn a_tag_of_one_server_on_global_series_is_pointed_out() {
    let instance = ("instance_tag", "instance:a");
    let expect = "note instance_tag: global series keep this tag, so each server makes one of its \
                  own; add instance to global_drop_tags";
    refuses(&[("global_mode", "send"), BROKERS, instance], &[expect]);
    refuses(&[("global_mode", "own"), BROKERS, instance], &[]);
    refuses(
        &[("global_mode", "both"), BROKERS, instance, ("global_drop_tags", "pod instance")],
        &[],
    );
    refuses(&[instance], &[]);
}

#[test]
fn longer_times_contain_the_shorter() {
    refuses(
        &[("global_grace", "61")],
        &["error global_grace: 1m1s is above global_late (1m); change one of the two"
            .replace("1m1s", "61s")
            .as_str()],
    );
    refuses(
        &[("global_late", "4")],
        &["error global_late: 4s is below global_grace (5s); change one of the two"],
    );
    refuses(
        &[("global_late_max", "30")],
        &["error global_late_max: 30s is below global_late (1m); change one of the two"],
    );
    refuses(&[("global_grace", "3"), ("global_late", "3"), ("global_late_max", "3")], &[]);
    refuses(
        &[("global_session_timeout", "5")],
        &["note global_session_timeout: is refused by brokers with their default \
           group.min.session.timeout.ms, 6 s; lower that, or use 6 s or more"],
    );
}

#[test]
fn sizes_hold_at_least_one_part() {
    for name in ["global_queue_max", "global_spool_max", "global_memory_max"] {
        let expect = format!("error {name}: 1048575 is too small; use 1Mb or more");
        refuses(&[(name, "1048575")], &[&expect]);
        refuses(&[(name, "1Mb")], &[]);
    }
    refuses(&[("global_memory_max", "0")], &[]);
    assert_eq!(memory_bytes_max(Some(8 << 20)), 2 << 20);
    assert_eq!(memory_bytes_max(Some(1)), 1 << 20, "never none");
    assert_eq!(memory_bytes_max(None), 512 << 20);
}

#[test]
fn a_next_topic_is_another_one_with_a_time() {
    let next = |value: &str, expect: &[&str]| {
        let expect: Vec<_> =
            expect.iter().map(|what| format!("error global_topic_next: {what}")).collect();
        let expect: Vec<_> = expect.iter().map(String::as_str).collect();
        refuses(&[("global_topic_next", value)], &expect);
    };
    next(r#"{"topic": "next", "from": 1800000000}"#, &[]);
    next(r#"{"from": 1}"#, &["has no topic; add its name"]);
    next(r#"{"topic": "n"}"#, &["has no from; add a time in unix seconds that lies ahead"]);
    next(
        r#"{"topic": "n", "from": "tomorrow"}"#,
        &["from: \"tomorrow\" is not a time; use unix seconds, such as 1800000000"],
    );
    next(
        r#"{"topic": "n", "from": 1, "partitions": 4097}"#,
        &["partitions: \"4097\" is no number from 1 to 4096"],
    );
    next(
        r#"{"topic": "n", "from": 1, "form": 1}"#,
        &["\"form\" is unknown; the fields are topic, partitions, from"],
    );
    next(
        r#"{"topic": "whippet-global", "from": 1}"#,
        &["names the same topic as global_topic; name another, which is new"],
    );
    next(
        r#"{"topic": "a b", "from": 1}"#,
        &["topic: \"a b\" is not a valid name; use letters, digits, . _ and -"],
    );
    let flags =
        [("global_mode", "own"), BROKERS, ("global_topic_next", r#"{"topic":"n","from":1}"#)];
    let next = look(&flags).0.global().unwrap().topic_next.unwrap();
    assert_eq!(next, TopicNext { topic: "n".into(), partitions: 64, from: 1 });
}

#[test]
fn names_and_patterns_are_checked() {
    let bad = "is not a valid name; use letters, digits, . _ and -";
    for name in ["global_topic", "global_group", "global_owner_id"] {
        let expect = format!("error {name}: \"a b\" {bad}");
        refuses(&[(name, "a b")], &[&expect]);
        let long = "a".repeat(250);
        let (_, problems) = look(&[(name, &long)]);
        assert!(problems[0].ends_with("is too long; use at most 249 characters"));
    }
    let star = "has a * before its end; use a name, or the start of names and one *";
    for pattern in ["*.total", "a*b", "a**", "a*b*"] {
        let expect = format!("error global_metrics: \"{pattern}\" {star}");
        refuses(&[("global_metrics", pattern)], &[&expect]);
    }
    refuses(&[("global_metrics", "a a.* *")], &[]);
    refuses(
        &[("global_drop_tags", "pod env:prod")],
        &["error global_drop_tags: \"env:prod\" is more than a key; leave out the : and what \
           follows"],
    );
}

#[test]
fn properties_with_a_key_or_a_meaning_are_refused_by_name() {
    for property in refused_properties() {
        let value = format!(r#"{{"client.rack": "a", "{property}": "x"}}"#);
        let (_, problems) = look(&[("global_kafka", &value)]);
        let [problem] = &problems[..] else { panic!("{property}: {problems:?}") };
        assert!(problem.starts_with(&format!("error global_kafka: {property} cannot be set")));
    }
    let says = |property: &str, expect: &str| {
        let value = format!(r#"{{"{property}": "1"}}"#);
        refuses(
            &[("global_kafka", &value)],
            &[&format!("error global_kafka: {property} {expect}")],
        );
    };
    says("group.id", "cannot be set here; use global_group");
    says(
        "acks",
        "cannot be set: a part counts as handed over only when all replicas have it; remove it",
    );
    says(
        "delivery.report.only.error",
        "cannot be set: a part waits until its delivery is reported; remove it",
    );
    refuses(&[("global_kafka", r#"{"client.id": "a", "fetch.wait.max.ms": "1000"}"#)], &[]);
}

#[test]
fn what_belongs_together_is_asked_for() {
    let needs =
        |name: &str, other: &str| format!("error {name}: needs {other}; set it, or remove {name}");
    let together = |flags: &[(&str, &str)], expect: &[(&str, &str)]| {
        let expect: Vec<_> = expect.iter().map(|(name, other)| needs(name, other)).collect();
        let expect: Vec<_> = expect.iter().map(String::as_str).collect();
        refuses(flags, &expect);
    };
    let (mechanism, username, password) =
        ("global_sasl_mechanism", "global_sasl_username", "global_sasl_password");
    together(&[(mechanism, "PLAIN")], &[(mechanism, username), (mechanism, password)]);
    together(&[(username, "u")], &[(username, mechanism)]);
    together(&[(password, "p")], &[(password, mechanism)]);
    let tls = ("global_tls", "true");
    together(&[("global_cert_file", "/c"), tls], &[("global_cert_file", "global_key_file")]);
    together(&[("global_key_file", "/k"), tls], &[("global_key_file", "global_cert_file")]);
    together(&[("global_ca_file", "/c")], &[("global_ca_file", "global_tls")]);
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().display().to_string();
    refuses(
        &[("global_mode", "own"), BROKERS, tls, ("global_ca_file", &folder)],
        &[&format!(
            "error global_ca_file: {folder}: is not a file; name a PEM file that can be read"
        )],
    );
    let message = "\"LDAP\" is unknown; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512";
    refuses(&[(mechanism, "LDAP")], &[&format!("error {mechanism}: {message}")]);
}

#[test]
fn a_reload_takes_over_what_decides_about_series_and_names_the_rest() {
    let loaded = |flags: &[(&str, &str)]| -> Loaded { load(sources(flags, Mode::Run)).unwrap() };
    let mut running = loaded(&[]);
    let changes = running.reload(&loaded(&[
        ("global_metrics", "a"),
        ("global_drop_tags", "pod"),
        ("global_topic", "t"),
        ("global_grace", "1"),
    ]));
    let in_force: Vec<_> = changes.iter().map(|change| (change.key, change.in_force)).collect();
    assert_eq!(
        in_force,
        [
            ("global_topic", false),
            ("global_metrics", true),
            ("global_drop_tags", true),
            ("global_grace", false),
        ]
    );
}
