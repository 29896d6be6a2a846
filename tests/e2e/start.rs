//! What keeps it from starting, what does not, and that it says so in words that help.

use crate::support::intake::{Answer, Intake};
use crate::support::program::{Ended, KEY, Setup};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;

/// It ends with a failure and says all of that on standard error.
#[track_caller]
fn refuses(setup: Setup, says: &[&str]) -> Ended {
    let ended = setup.run();
    assert!(matches!(ended.code(), Some(1 | 78)), "{}", ended.stderr);
    for words in says {
        assert!(ended.stderr.contains(words), "{words:?} is not in\n{}", ended.stderr);
    }
    assert_eq!(ended.stdout, "");
    ended
}

#[test]
fn a_port_in_use_is_fatal_even_beside_sockets_that_work() {
    for host in ["127.0.0.1:0", "[::1]:0"] {
        let taken = UdpSocket::bind(host).expect("loopback");
        let address = taken.local_addr().expect("bound").to_string();
        let port = taken.local_addr().expect("bound").port();
        let setup = Setup::bare().set("dogstatsd_port", port);
        let sockets = [setup.path("d.sock"), setup.path("s.sock")];
        refuses(setup, &[&address, "in use"]);
        assert!(!sockets.iter().any(|path| path.exists()), "nothing stays bound");
    }
}

#[test]
fn a_second_server_on_the_same_port_is_refused() {
    let first = Setup::bare().start();
    let port = first.udp_address().port();
    for lanes in [1, 2] {
        refuses(Setup::bare().set("dogstatsd_port", port).set("lanes", lanes), &["in use"]);
    }
    first.udp("x:1|c");
    assert_eq!(first.terminate().lines().received, 1);
}

#[test]
fn a_live_socket_is_never_stolen() {
    let setup = Setup::bare();
    let second = Setup::bare().in_folder_of(&setup);
    let path = setup.path("d.sock");
    let first = setup.start();
    refuses(second, &[&path.display().to_string()]);
    first.unix_datagram("x:1|c");
    first.unix_stream("x:1|c");
    assert_eq!(first.terminate().lines().recorded, 2);
}

#[test]
fn a_stale_socket_is_replaced() {
    let setup = Setup::bare();
    drop(UnixDatagram::bind(setup.path("d.sock")).expect("bound"));
    drop(std::os::unix::net::UnixListener::bind(setup.path("s.sock")).expect("bound"));
    let program = setup.start();
    program.unix_datagram("x:1|c");
    program.unix_stream("x:1|c");
    assert_eq!(program.terminate().lines().recorded, 2);
}

#[test]
fn a_killed_server_leaves_sockets_that_its_successor_takes() {
    let setup = Setup::bare();
    let successor = Setup::bare().in_folder_of(&setup);
    drop(setup.start());
    let program = successor.start();
    program.unix_datagram("x:1|c");
    assert_eq!(program.terminate().lines().recorded, 1);
}

#[test]
fn a_configured_socket_whose_folder_is_missing_is_fatal_and_fails_the_check() {
    for key in ["dogstatsd_socket", "dogstatsd_stream_socket"] {
        let setup = Setup::bare();
        let nowhere = setup.path("nowhere/x.sock").display().to_string();
        let setup = setup.set(key, &nowhere);
        let says = [&*nowhere, "nowhere does not exist; create it or set", key, "to '' for none"];
        for words in says {
            let checked = setup_check(&setup);
            assert!(checked.contains(words), "{words:?} is not in\n{checked}");
        }
        refuses(setup, &says);
    }
}

/// What `check-config` finds wrong with it.
#[track_caller]
fn setup_check(setup: &Setup) -> String {
    let ended = setup.checked();
    assert_eq!(ended.code(), Some(78), "{}", ended.stdout);
    ended.stdout
}

#[test]
fn the_default_socket_is_off_without_its_folder_and_status_and_health_say_so() {
    let folder = "/var/run/datadog";
    if std::path::Path::new(folder).exists() {
        eprintln!("not tried: this machine has {folder}");
        return;
    }
    let setup = Setup::bare().unset("dogstatsd_socket").set("admin_address", "127.0.0.1:0");
    let program = setup.waits_for("admin ").start();
    let reason = format!("{folder} does not exist");
    program.logs(&format!("uds  off: {reason}"));
    let off = format!("off: uds {folder}/dsd.socket: {reason}\n");
    for command in ["status", "health"] {
        let said = program.says(&[command]);
        assert!(said.contains(&off), "{command}: {said}");
    }
    program.udp("x:1|c");
    let ended = program.terminate();
    assert_eq!((ended.code(), ended.lines().recorded), (Some(0), 1));
}

#[test]
fn commas_separate_tags_and_percentiles_of_the_environment() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake)
        .env("DD_TAGS", "env:prod,team:x")
        .env("DD_HISTOGRAM_PERCENTILES", "0.5,0.99")
        .env("DD_HISTOGRAM_AGGREGATES", "max,min")
        .start();
    program.udp("h:1|h");
    program.terminate().balances();
    intake.read(|state| {
        let mut names: Vec<&str> = state.all_series().map(|series| &*series.metric).collect();
        names.sort_unstable();
        assert_eq!(names, ["h.50percentile", "h.99percentile", "h.max", "h.min"]);
        assert_eq!(state.last_value("h.max", &["env:prod", "team:x"]), Some(1.0));
    });
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let setup = Setup::bare();
    let path = setup.path("d.sock");
    std::fs::write(&path, "precious").expect("written");
    let _ended = refuses(setup, &[&path.to_string_lossy(), "the path exists and is not a socket"]);
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "precious");
}

#[test]
fn without_any_listener_it_does_not_start() {
    let none = Setup::bare()
        .set("dogstatsd_port", 0)
        .set("dogstatsd_socket", "")
        .set("dogstatsd_stream_socket", "");
    refuses(none, &["no listener is configured"]);
}

#[test]
fn a_sign_of_a_deployment_without_a_key_is_no_console() {
    let key = "DD_API_KEY";
    refuses(Setup::bare().env("DD_SITE", "datadoghq.eu"), &["api_key", key, "DD_SITE"]);
    refuses(Setup::bare().env("DD_DD_URL", "http://127.0.0.1:9"), &["api_key", key, "DD_DD_URL"]);
    refuses(Setup::bare().env("DD_API_KEY", ""), &["api_key", key]);
    refuses(Setup::bare().env("WHIPPET_OUTPUT", "datadog"), &["api_key", key]);
    refuses(Setup::bare().yaml("interval: 10\n"), &["api_key", key, "whippet.yaml"]);
}

#[test]
fn an_unknown_key_is_a_warning_with_a_suggestion() {
    let setup = Setup::bare().env("WHIPPET_OUTPUT", "console").env("DD_DOGSTATSD_PROT", 1);
    let program = setup.yaml("# first\ndogstatsd_prot: 1\ninvented: 2\nlog_file: ''\n").start();
    let ended = program.terminate();
    assert_eq!(ended.code(), Some(0));
    let expect = "whippet.yaml:2:1: dogstatsd_prot: unknown; did you mean dogstatsd_port?";
    assert!(ended.stderr.contains(expect), "{}", ended.stderr);
}

#[test]
fn bad_values_are_reported_all_at_once_with_their_places() {
    let setup = Setup::bare()
        .unset("dogstatsd_port")
        .env("DD_DOGSTATSD_BUFFER_SIZE", "big")
        .yaml("interval: soon\ndogstatsd_port: 99999\nuse_v2_api:\n  series: perhaps\n");
    let ended = refuses(
        setup,
        &[
            "whippet.yaml:1:11: interval: \"soon\"",
            "whippet.yaml:2:17: dogstatsd_port: \"99999\"",
            "whippet.yaml:4:11: use_v2_api.series: \"perhaps\"",
            "DD_DOGSTATSD_BUFFER_SIZE: dogstatsd_buffer_size: \"big\"",
        ],
    );
    assert!(ended.stderr.lines().count() < 10, "{}", ended.stderr);
}

#[test]
fn a_bad_entry_of_a_list_is_skipped_and_the_others_hold() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake)
        .yaml("histogram_percentiles: ['0.5', half, '7']\nhistogram_aggregates: []\n")
        .start();
    program.udp("h:1|h");
    let ended = program.terminate();
    ended.balances();
    intake.read(|state| {
        let names: Vec<&str> = state.all_series().map(|series| &*series.metric).collect();
        assert_eq!(names, ["h.50percentile"]);
    });
    for words in ["histogram_percentiles", "half", "degraded"] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let ended = Setup::bare().argument("--wrong").run();
    assert_eq!(ended.code(), Some(2));
    assert!(ended.stderr.contains("--wrong"), "{}", ended.stderr);
}

#[test]
fn the_key_is_checked_at_the_start_and_the_answer_logged() {
    for (answer, says) in [(200, "is valid"), (403, "is refused (403)")] {
        let intake = Intake::start();
        intake.validate_with(Answer::status(answer));
        let program = Setup::posting_to(&intake).start();
        let last = &KEY[KEY.len() - 4..];
        let logged = |log: &str| log.lines().any(|line| line.contains(last) && line.contains(says));
        let log = program.logs_until(logged);
        assert!(log.contains(&intake.url()), "{log}");
        program.terminate().balances();
        intake.read(|state| assert_eq!(state.validations[0].path(), "/api/v1/validate"));
    }
}

#[test]
fn a_configuration_that_is_checked_is_not_run() {
    let good = Setup::bare().env("DD_API_KEY", KEY).argument("check-config").run();
    assert_eq!(good.code(), Some(0), "{}{}", good.stdout, good.stderr);
    assert!(good.stdout.contains("hostname") && good.stdout.contains("web-1"), "{}", good.stdout);
    let bad = Setup::bare().env("DD_API_KEY", KEY).argument("check-config");
    let bad = bad.yaml("dogstatsd_prot: 1\nlanes: many\n").run();
    assert_eq!(bad.code(), Some(78));
    let all = bad.stdout + &bad.stderr;
    for place in ["whippet.yaml:1:1: dogstatsd_prot", "whippet.yaml:2:8: lanes"] {
        assert!(all.contains(place), "{all}");
    }
}

#[test]
fn an_agents_switch_for_its_own_server_does_not_turn_it_off() {
    let setup = Setup::bare().env("WHIPPET_OUTPUT", "console");
    let program = setup.yaml("use_dogstatsd: false\napm_config:\n  enabled: true\n").start();
    program.udp("x:1|c");
    let ended = program.terminate();
    assert_eq!((ended.code(), ended.lines().recorded), (Some(0), 1));
    assert!(ended.stderr.contains("use_dogstatsd: does not turn whippet off"), "{}", ended.stderr);
}

#[test]
fn removed_socket_files_come_back() {
    let intake = Intake::start();
    let program = Setup::posting_to(&intake).set("interval", 1).start();
    for name in ["d.sock", "s.sock"] {
        std::fs::remove_file(program.path(name)).unwrap();
    }
    program.logs_until(|log| log.matches("it is bound again").count() == 2);
    program.unix_datagram("d:1|c");
    program.unix_stream("s:1|c");
    program.terminate().balances();
    intake.read(|state| {
        assert_eq!((state.sum_of_counter("d", &[]), state.sum_of_counter("s", &[])), (1.0, 1.0));
    });
}

/// `RestartPreventExitStatus=78` of the systemd unit: a restart helps against a taken port only.
#[test]
fn the_exit_code_says_whether_a_restart_could_help() {
    let invalid = Setup::bare().set("interval", 0).run();
    assert_eq!(invalid.code(), Some(78), "{}", invalid.stderr);
    let no_key = Setup::bare().set("output", "datadog").run();
    assert_eq!(no_key.code(), Some(78), "{}", no_key.stderr);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let taken = Setup::bare().set("dogstatsd_port", port).run();
    assert_eq!(taken.code(), Some(1), "{}", taken.stderr);
}
