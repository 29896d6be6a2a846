//! Beside an Agent that still does everything else: one `datadog.yaml` for both, with
//! `use_dogstatsd: false` in it.

use std::net::TcpListener;
use std::path::Path;

use crate::support::intake::Intake;
use crate::support::program::{KEY, Program, Setup};

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

/// The file of an Agent in use, with its ports, and its folders below `root`.
fn shared(intake: &Intake, root: &Path, ports: [u16; 4]) -> String {
    let [cmd, expvar, health, apm] = ports;
    let (url, root) = (intake.url(), root.display());
    format!(
        r#"api_key: {KEY}
dd_url: {url}
hostname: web-1
tags: ["team:web"]
env: prod
use_dogstatsd: false
dogstatsd_origin_detection: true
cmd_port: {cmd}
expvar_port: {expvar}
health_port: {health}
GUI_port: -1
run_path: {root}/run
forwarder_storage_path: {root}/run/transactions_to_retry
forwarder_storage_max_size_in_bytes: 50000000
log_file: {root}/log/agent.log
log_level: info
confd_path: {root}/conf.d
check_runners: 4
logs_enabled: true
logs_config:
  container_collect_all: true
  run_path: {root}/run
  processing_rules:
    - {{type: mask_sequences, name: cards, pattern: "(?:4[0-9]{{12}})"}}
apm_config:
  enabled: true
  receiver_port: {apm}
  env: prod
process_config:
  process_collection: {{enabled: true}}
  cmd_port: {cmd}
network_config: {{enabled: true}}
runtime_security_config: {{enabled: false, socket: {root}/run/security.sock}}
container_exclude: ["image:.*"]
telemetry: {{enabled: true}}
inventories_enabled: true
"#
    )
}

fn folders(root: &Path) -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(root)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    all.sort();
    all
}

/// What whippet may not touch: no file in the Agent's folders, no listener on the Agent's ports.
#[track_caller]
fn leaves_the_agent_alone(program: &Program, root: &Path, ports: [u16; 4]) {
    assert_eq!(folders(&root.join("run")), ["agent.sock"]);
    assert_eq!(folders(&root.join("log")), ["agent.log"]);
    let log = std::fs::read_to_string(root.join("log/agent.log")).expect("the Agent's log");
    assert_eq!(log, "the Agent's line\n");
    for port in ports {
        let bound = TcpListener::bind(("0.0.0.0", port));
        assert!(bound.is_ok(), "port {port} is taken: {}", program.logs_until(|_| true));
    }
}

#[test]
fn one_file_serves_an_agent_without_its_dogstatsd_and_whippet() {
    let intake = Intake::start();
    let agent = tempfile::tempdir().expect("a folder");
    let root = agent.path();
    for folder in ["run", "log"] {
        std::fs::create_dir(root.join(folder)).expect("a folder");
    }
    std::fs::write(root.join("run/agent.sock"), "").expect("written");
    std::fs::write(root.join("log/agent.log"), "the Agent's line\n").expect("written");
    let ports = [free_port(), free_port(), free_port(), free_port()];

    let setup = Setup::bare().unset("hostname");
    let own = setup.path("own");
    // What the operator says to whippet alone: where its own files go.
    let setup = setup.set("run_path", own.display()).set("interval", 1);
    let program = setup.yaml(&shared(&intake, root, ports)).start();
    program.udp("page.views:3|c|#env:test");
    program.unix_datagram("jobs:1|g");
    intake.wait_until(|state| {
        state.sum_of_counter("page.views", &["env:prod", "env:test", "team:web"]) == 3.0
            && !state.series("jobs", &["env:prod", "team:web"]).is_empty()
    });
    leaves_the_agent_alone(&program, root, ports);
    let spool = own.join("whippet/transactions_to_retry");
    assert!(spool.is_dir(), "its own spool is {}", spool.display());
    let ended = program.terminate();
    ended.balances();
    for expected in [
        "use_dogstatsd: does not turn whippet off",
        "health_port: is left to the Agent",
        "forwarder_storage_path: is left to the Agent",
        "log_file: is left to the Agent",
        "ignored, unknown to whippet: GUI_port, apm_config.enabled, check_runners, confd_path, ",
    ] {
        assert!(ended.stderr.contains(expected), "{expected}: {}", ended.stderr);
    }
}

#[test]
fn the_shared_file_passes_the_check_and_names_what_is_left_to_the_agent() {
    let intake = Intake::start();
    let root = Path::new("/opt/datadog-agent");
    let setup = Setup::bare().unset("run_path").argument("check-config");
    let ended = setup.yaml(&shared(&intake, root, [5001, 5000, 5555, 8126])).run();
    assert_eq!(ended.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    for expected in [
        "note: ",
        "run_path: is left to the Agent because use_dogstatsd is false; whippet uses its default, /var/lib",
        "cmd_port: the command port belongs to the Agent",
        "expvar_port: the port belongs to the Agent",
        "configuration is valid",
    ] {
        assert!(ended.stdout.contains(expected), "{expected}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains(KEY), "{}", ended.stdout);
}
