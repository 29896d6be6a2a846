//! What only the build knows: the compiler, and the packages that are built into the program. Both are
//! reported by `whippet run` with `instrumentation_telemetry`, which is off by default.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() {
    for file in ["build.rs", "Cargo.toml", "Cargo.lock"] {
        println!("cargo:rerun-if-changed={file}");
    }
    // Files, since cargo would hand a variable on to every program that it runs. Without them the build
    // is as good, and a report says less.
    let write = |name: &str, text: Option<String>| {
        let folder = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
        let path = Path::new(&folder).join(name);
        fs::write(path, text.unwrap_or_default()).expect("a writable OUT_DIR");
    };
    write("compiler.txt", compiler());
    write("dependencies.txt", packages());
}

/// `1.95.0`.
fn compiler() -> Option<String> {
    let output = Command::new(env::var_os("RUSTC")?).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split(' ').nth(1)?.trim().to_owned())
}

/// `name version` per line: what cargo builds into the library for this target with these features.
/// Everything is there already, so the network is not needed.
fn packages() -> Option<String> {
    let features = env::var("CARGO_CFG_FEATURE").unwrap_or_default();
    let output = Command::new(env::var_os("CARGO")?)
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--no-dedupe"])
        .args(["--prefix", "none", "--format", "{p}", "--no-default-features"])
        .args(["--features", &features, "--target", &env::var("TARGET").ok()?])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    // `serde v1.0.228`, with a remark behind; the first one is whippet itself.
    let packages: BTreeSet<String> = text
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(" v"))
        .filter_map(|(name, rest)| Some(format!("{name} {}\n", rest.split(' ').next()?)))
        .collect();
    Some(packages.into_iter().collect())
}
