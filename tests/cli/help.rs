//! What teaches: help, the list of settings, the files in `dist/`.

use std::process::Command;

use super::command::{ran, received, run, udp, whippet};

#[test]
fn help_teaches_with_examples() {
    for words in [
        "",
        "run",
        "send",
        "send metric",
        "send event",
        "send check",
        "send raw",
        "explain",
        "check-config",
        "config",
        "generate",
        "capture",
        "replay",
        "flare",
        "telemetry",
    ] {
        let args: Vec<&str> = words.split_whitespace().chain(["--help"]).collect();
        let got = run(&args);
        assert!(got.stdout.contains("Examples:\n  "), "{words}: {}", got.stdout);
        assert_eq!(got.code, 0, "{words}");
    }
}

#[test]
fn what_the_help_shows_works() {
    let mut tried = 0;
    for words in ["send metric", "send event", "send check", "send raw", "explain"] {
        let args: Vec<&str> = words.split(' ').chain(["--help"]).collect();
        let help = run(&args).stdout;
        let examples = help.split("Examples:\n").nth(1).unwrap();
        let whole = |line: &&str| line.starts_with("  whippet ") && !line.contains(['<', '>']);
        for example in examples.lines().filter(whole) {
            let (socket, url) = udp();
            let program = env!("CARGO_BIN_EXE_whippet");
            let script = example.trim().replacen("whippet", &format!("'{program}'"), 1);
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).env("DD_DOGSTATSD_URL", &url);
            let got = ran(shell.output().unwrap());
            assert_eq!((got.stderr.as_str(), got.code), ("", 0), "{example}");
            if words != "explain" {
                let length = received(|| socket.recv(&mut [0; 9_000])).unwrap();
                assert!(length > 0, "{example}");
            }
            tried += 1;
        }
    }
    assert_eq!(tried, 12);
}

#[test]
fn settings_are_listed_and_found() {
    assert!(run(&["config"]).stdout.contains("\n  dogstatsd_port [8125]\n"));
    let found = run(&["config", "dogstatsd_port"]).stdout;
    assert!(found.starts_with("dogstatsd_port\n    UDP port."), "{found}");
    let sample = run(&["config", "--sample"]).stdout;
    assert!(sample.contains("\n#dogstatsd_port: 8125\n"), "{sample}");
    assert!(run(&["generate", "bash"]).stdout.contains("check-config"));
}

#[test]
fn what_the_files_in_dist_set_is_known() {
    let mut known = 0;
    for file in ["whippet.service", "Dockerfile"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(file);
        let text = std::fs::read_to_string(path).unwrap();
        let words = text.split([' ', '\n']).map(|word| word.trim_start_matches("Environment="));
        for (name, value) in
            words.filter(|word| word.starts_with("DD_")).filter_map(|w| w.split_once('='))
        {
            let got = ran(whippet(&["check-config"]).env(name, value).output().unwrap());
            assert!(
                got.stdout.contains(&format!("  <- {name}\n")),
                "{file}: {name}: {}",
                got.stdout
            );
            assert_eq!(got.code, 0, "{}", got.stdout);
            known += 1;
        }
    }
    assert_eq!(known, 2);
}

#[test]
fn a_typing_mistake_is_answered_with_names_that_help_lists() {
    for (typed, expect) in [("dogstatsd-stat", "stats"), ("chek-config", "check-config")] {
        let got = run(&[typed]);
        assert_eq!(got.code, 2);
        assert_eq!(got.stderr.matches(&format!("'{expect}'")).count(), 1, "{}", got.stderr);
        assert!(!got.stderr.contains("'dogstatsd-stats'"), "{}", got.stderr);
    }
}
