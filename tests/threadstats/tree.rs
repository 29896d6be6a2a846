//! What a user of the library alone has to build.

use std::collections::BTreeSet;
use std::process::Command;

/// Every package of the library without default features, with those named.
fn packages(features: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--no-default-features", "-e", "normal"])
        .args(["--prefix", "none", "--features", features])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn without_default_features_there_are_no_sockets_no_command_line_and_no_logging_backend() {
    for features in ["", "telemetry_client"] {
        let names = packages(features);
        assert!(names.contains("whippet") && names.contains("ureq"));
        for unwanted in [
            "mio",
            "socket2",
            "signal-hook",
            "clap",
            "anyhow",
            "indicatif",
            "tracing-subscriber",
            "tokio",
            "env_logger",
            "zstd",
        ] {
            assert!(!names.contains(unwanted), "{features}: {unwanted} {names:?}");
        }
    }
}

#[test]
fn the_telemetry_client_needs_no_package_that_the_bare_library_lacks() {
    assert_eq!(packages("telemetry_client"), packages(""));
}
