//! What a user of the library alone has to build.

use std::process::Command;

#[test]
fn without_default_features_there_are_no_sockets_no_command_line_and_no_logging_backend() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--no-default-features",
            "-e",
            "normal",
            "--prefix",
            "none",
        ])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names: Vec<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"whippet") && names.contains(&"ureq"), "{tree}");
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
        assert!(!names.contains(&unwanted), "{unwanted} is in the tree:\n{tree}");
    }
}
