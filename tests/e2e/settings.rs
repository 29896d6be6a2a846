//! What configuration changes, seen from the intake.

use super::kinds::lines;
use crate::support::intake::{Answer, Intake};
use crate::support::program::{KEY, Setup};

#[test]
fn histograms_post_the_configured_aggregates_and_percentiles() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake)
        .yaml("histogram_aggregates: [min, sum]\nhistogram_percentiles: ['0.5', 0.999, '0']\n")
        .start();
    let values: Vec<String> = (1..=1_000).map(|value| value.to_string()).collect();
    program.udp(format!("h:{}|h", values.join(":")));
    program.terminate().balances();
    let expect = [
        "h.0percentile gauge 1 /10 # @web-1",
        "h.50percentile gauge 500 /10 # @web-1",
        "h.99.9percentile gauge 999 /10 # @web-1",
        "h.min gauge 1 /10 # @web-1",
        "h.sum gauge 500500 /10 # @web-1",
    ];
    intake.read(|state| assert_eq!(lines(state), expect));
}

#[test]
fn histograms_are_copied_to_distributions() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake)
        .set("histogram_copy_to_distribution", true)
        .set("histogram_copy_to_distribution_prefix", "dist.")
        .start();
    program.udp("h:1:2|ms|@0.5|#a\nc:1|c");
    program.terminate().balances();
    intake.read(|state| {
        let [sketch] = &state.sketches[..] else { panic!("{:?}", state.sketches) };
        assert_eq!((&*sketch.metric, &*sketch.tags), ("dist.h", &["a".to_owned()][..]));
        assert_eq!((sketch.dogsketches[0].cnt, sketch.dogsketches[0].sum), (4, 6.0));
        assert_eq!(state.last_value("h.max", &["a"]), Some(2.0));
    });
}

#[test]
fn a_reload_changes_tags_and_keeps_values() {
    let intake = Intake::start();
    let setup = Setup::posting_to(&intake).yaml("tags: [v:1]\nstatsd_metric_namespace: one\n");
    let file = setup.path("whippet.yaml");
    let program = setup.set("interval", 1).start();
    program.udp("a:1|c");
    intake.wait_until(|state| state.sum_of_counter("one.a", &["v:1"]) == 1.0);
    std::fs::write(&file, "tags: [v:2]\nstatsd_metric_namespace: two\n").expect("written");
    program.signal("HUP");
    program.logs_until(|log| log.contains("configuration reloaded"));
    program.udp("a:2|c");
    intake.wait_until(|state| state.sum_of_counter("two.a", &["v:2"]) == 2.0);
    std::fs::write(&file, "tags: [v:3]\nlanes: many\n").expect("written");
    program.signal("HUP");
    let log = program.logs_until(|log| log.contains("configuration not reloaded"));
    assert!(log.contains("whippet.yaml:2:8: lanes:"), "{log}");
    program.udp("a:4|c");
    intake.wait_until(|state| state.sum_of_counter("two.a", &["v:2"]) == 6.0);
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.lines().recorded, 3);
}

#[test]
fn a_reload_is_all_or_nothing_and_says_what_changed() {
    let intake = Intake::start();
    let setup = Setup::posting_to(&intake)
        .yaml("tags: [v:1]\nstatsd_metric_namespace: one\nhistogram_percentiles: [0.5]\n")
        .set("admin_address", "127.0.0.1:0")
        .set("interval", 1)
        .waits_for("admin ");
    let program = setup.start();
    let status = || program.says(&["status"]);
    // What `run` refuses, what a writer leaves for a moment, and rules that cannot be used.
    let refused = [
        ("", "sets nothing any more"),
        ("# later\n", "sets nothing any more"),
        ("tags: [v:2\n", "is not valid YAML"),
        (
            "tags: [v:2]\ndogstatsd_socket: /nonexistent/x.sock\noutput: [jsonl:/nonexistent/x]\n",
            "jsonl:/nonexistent/x: ",
        ),
        ("tags: [v:2]\nca_file: /nonexistent/ca\n", "ca_file: /nonexistent/ca: "),
        ("tags: [v:2]\nhistogram_percentiles: {a: 1}\n", "histogram_percentiles: is a map"),
        (
            "tags: [v:2]\napi_key_file: /nonexistent/key\noutput: [datadog]\nlanes: x\n",
            "lanes: \"x\"",
        ),
    ];
    for (number, (yaml, reason)) in refused.iter().enumerate() {
        setup.rewrite(yaml);
        program.signal("HUP");
        let log = program.logs_until(|log| log.matches("not reloaded").count() == number + 1);
        let last = log.rsplit("not reloaded").next().unwrap_or_default();
        program.logs_until(|log| {
            log.rsplit("not reloaded").next().is_some_and(|last| last.contains(reason))
        });
        assert!(!last.contains("configuration reloaded"), "{log}");
    }
    let moved = setup.path("away");
    std::fs::rename(setup.path("whippet.yaml"), moved).expect("moved");
    program.signal("HUP");
    program.logs_until(|log| log.matches("not reloaded").count() == refused.len() + 1);
    assert!(status().contains("reload refused: "), "{}", status());
    program.udp("a:1|c");
    intake.wait_until(|state| state.sum_of_counter("one.a", &["v:1"]) == 1.0);

    setup.rewrite("tags: [v:2]\nstatsd_metric_namespace: one\nhistogram_percentiles: [0.5]\nlog_level: debug\nlanes: 2\n");
    program.signal("HUP");
    program.logs("configuration reloaded: tags [v:1] → [v:2], log_level info → debug in force; lanes 1 → 2 needs a restart");
    program.logs("DEBUG flush: ");
    assert!(!status().contains("reload refused"), "{}", status());
    setup.rewrite("tags: [v:2]\nstatsd_metric_namespace: one\nhistogram_percentiles: [0.5]\n");
    program.signal("HUP");
    program.logs("configuration reloaded: log_level debug → info in force");
    program.signal("HUP");
    program.logs("configuration reloaded: nothing changed");
    program.terminate().balances();
}

#[test]
fn disabled_payloads_are_not_sent() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake)
        .set("enable_payloads.events", false)
        .set("enable_payloads.sketches", false)
        .start();
    program.udp("c:1|c\nd:1|d\n_e{1,1}:a|b\n_sc|x|0");
    program.terminate().balances();
    intake.read(|state| {
        let mut paths: Vec<&str> = state.requests.iter().map(|request| request.path()).collect();
        paths.sort_unstable();
        assert_eq!(paths, ["/api/v1/check_run", "/api/v2/series"]);
    });
}

#[test]
fn two_kinds_of_one_name_post_the_later_one_and_say_so() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).start();
    program.udp("x:1|c\nx:5|g\nx:2|d\ny:5|g\ny:1|c");
    let ended = program.terminate();
    ended.balances();
    let expect = ["x gauge 5 /10 # @web-1", "y rate 0.1 /10 # @web-1"];
    intake.read(|state| {
        assert_eq!(lines(state), expect);
        assert_eq!(state.count_of_sketches("x", &[]), 1);
    });
    assert!(ended.stderr.contains("sent as more than one kind"), "{}", ended.stderr);
}

#[test]
fn sets_beyond_their_cap_are_estimated_closely() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("set_members_max", 100).start();
    for start in (0..5_000).step_by(250) {
        let lines: Vec<String> =
            (start..start + 250).map(|member| format!("u:m{member}|s")).collect();
        program.unix_datagram(lines.join("\n"));
    }
    program.unix_datagram("few:a|s\nfew:b|s");
    program.terminate().balances();
    intake.read(|state| {
        let many: f64 = state.points("u", &[]).iter().map(|point| point.1).sum();
        assert!((many - 5_000.0).abs() < 250.0, "{many}");
        assert_eq!(state.last_value("few", &[]), Some(2.0));
    });
}

#[test]
fn a_new_key_from_its_file_delivers_what_the_old_one_could_not() {
    const NEW: &str = "fedcba9876543210fedcba9876543210";
    let intake = Intake::start();
    intake.respond(Answer::status(403));
    let setup = Setup::bare().env("DD_DD_URL", intake.url()).set("interval", 1);
    let file = setup.path("key");
    std::fs::write(&file, format!("{KEY}\n")).expect("written");
    let program = setup.env("WHIPPET_API_KEY_FILE", file.display()).start();
    program.udp("c:3|c");
    intake.wait_until(|state| !state.requests_to("/api/v2/series").is_empty());
    intake.read(|state| assert_eq!(state.requests[0].header("dd-api-key"), KEY));
    std::fs::write(&file, NEW).expect("written");
    intake.respond(Answer::status(202));
    program.signal("HUP");
    intake.wait_until(|state| state.sum_of_counter("c", &[]) == 3.0);
    let ended = program.terminate();
    ended.balances();
    assert_eq!(ended.payloads().dropped, 0, "{}", ended.stderr);
    assert!(!ended.stderr.contains(NEW), "{}", ended.stderr);
    intake.read(|state| {
        let last = state.requests.last().expect("one");
        assert_eq!(last.header("dd-api-key"), NEW);
    });
}

#[test]
fn past_the_cap_counters_fold_and_gauges_are_dropped() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("contexts_max", 10).start();
    let counters: Vec<String> = (0..50).map(|id| format!("c:1|c|#id:{id}")).collect();
    let gauges: Vec<String> = (0..50).map(|id| format!("g:1|g|#id:{id}")).collect();
    program.udp(counters.join("\n"));
    program.udp(gauges.join("\n"));
    let ended = program.terminate();
    ended.balances();
    assert_eq!((ended.lines().recorded, ended.lines().dropped), (50, 50), "{}", ended.stderr);
    intake.read(|state| {
        assert_eq!(state.sum_of_counter("c", &[]), 50.0);
        assert_eq!(state.series("c", &[]).len(), 11, "ten and the overflow");
        assert!(state.series("g", &[]).is_empty());
    });
}
