//! Every package that can be built into whippet, its tests included, comes from the registry, has a
//! licence that `deny.toml` allows, and builds with the oldest compiler we promise. `cargo deny
//! check` asks more (advisories, licences of every platform); this needs neither tool nor network.

use serde_json::Value;
use std::process::Command;
use std::sync::LazyLock;

/// The licences of `deny.toml`, the one place that lists them.
static ALLOWED: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let list = include_str!("../../deny.toml").split("\nallow = [").nth(1).expect("a list");
    let list = list.split("\n]").next().expect("the end of the list");
    let lines = list.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.flat_map(|line| line.split('"').skip(1).step_by(2)).collect()
});

/// Whether an SPDX expression can be met: `AND` binds closer than `OR`; an old `/` means `OR`.
fn is_allowed(expression: &str) -> bool {
    let text = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = text.split_whitespace().peekable();
    let met = any(&mut words);
    met && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>) -> bool {
    let mut met = all(words);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words);
    }
    met
}

fn all(words: &mut Words<'_>) -> bool {
    let mut met = one(words);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words);
    }
    met
}

fn one(words: &mut Words<'_>) -> bool {
    match words.next() {
        Some("(") => any(words) & words.next_if_eq(&")").is_some(),
        Some(name) if words.next_if_eq(&"WITH").is_some() => {
            let exception = words.next().unwrap_or_default();
            ALLOWED.contains(&&*format!("{name} WITH {exception}"))
        }
        Some(name) => ALLOWED.contains(&name),
        None => false,
    }
}

#[test]
fn expressions_are_read() {
    for (expression, allowed) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("MIT AND GPL-3.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("(MIT OR Apache-2.0) AND GPL-2.0", false),
        ("MIT OR Apache-2.0 AND GPL-2.0", true),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("Apache-2.0 WITH another", false),
        ("(MIT", false),
        ("MIT)", false),
        ("", false),
    ] {
        assert_eq!(is_allowed(expression), allowed, "{expression:?}");
    }
}

/// What Cargo prints about this package.
fn cargo(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The packages of this platform: those the build of this test has downloaded. Cargo cannot tell
/// anything about a package it never fetched.
fn packages() -> Vec<Value> {
    let version = String::from_utf8(cargo(&["-vV"])).expect("text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a platform");
    let metadata = cargo(&[
        "metadata",
        "--format-version=1",
        "--offline",
        "--locked",
        "--filter-platform",
        host,
    ]);
    let metadata: Value = serde_json::from_slice(&metadata).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list").clone();
    assert!(packages.len() > 50, "{}", packages.len());
    packages
}

#[test]
fn every_package_built_here_has_an_allowed_licence() {
    let wrong: Vec<String> = packages()
        .iter()
        .filter(|package| !is_allowed(package["license"].as_str().unwrap_or_default()))
        .map(|package| format!("{}: licence {}", package["name"], package["license"]))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_package_needs_a_newer_compiler_than_we_promise() {
    let number = |text: &str| -> Vec<u32> {
        let mut parts: Vec<u32> = text.split('.').map(|part| part.parse().unwrap()).collect();
        parts.resize(3, 0);
        parts
    };
    let promised = number(env!("CARGO_PKG_RUST_VERSION"));
    let newer: Vec<String> = packages()
        .iter()
        .filter(|package| package["rust_version"].as_str().is_some_and(|v| number(v) > promised))
        .map(|package| format!("{}: rust-version {}", package["name"], package["rust_version"]))
        .collect();
    assert!(newer.is_empty(), "{newer:#?}");
}

/// Read from the lock file, which holds the packages of every platform.
#[test]
fn every_package_comes_from_the_registry() {
    let lock = include_str!("../../Cargo.lock");
    let packages: Vec<&str> = lock.split("[[package]]\n").skip(1).collect();
    assert!(packages.len() > 50, "{}", packages.len());
    let elsewhere: Vec<&str> = packages
        .into_iter()
        .filter(|package| !package.contains("\nsource = \"registry+"))
        .filter_map(|package| package.lines().next())
        .collect();
    assert_eq!(elsewhere, ["name = \"whippet\""]);
}

/// Who embeds the engine chooses a runtime, or none.
#[test]
fn the_library_alone_brings_no_async_runtime() {
    let tree = |features: &str| {
        let tree =
            cargo(&["tree", "--offline", "--locked", "--edges=normal", "--prefix=none", features]);
        String::from_utf8(tree).expect("text")
    };
    let has_runtime = |tree: &str| tree.lines().any(|package| package.starts_with("tokio "));
    assert!(has_runtime(&tree("--features=server")), "the check looks for the wrong name");
    let alone = tree("--no-default-features");
    assert!(!has_runtime(&alone), "{alone}");
}

/// Who does not ask for the global tier builds no client of its log.
#[test]
fn only_the_feature_global_brings_a_client_of_the_log() {
    let tree = |features: &[&str]| {
        let arguments = ["tree", "--offline", "--locked", "--edges=normal,build", "--prefix=none"];
        String::from_utf8(cargo(&[&arguments[..], features].concat())).expect("text")
    };
    let has_client = |tree: &str| tree.lines().any(|package| package.starts_with("rdkafka"));
    assert!(has_client(&tree(&["--features=global"])), "the check looks for the wrong name");
    for features in [&[][..], &["--no-default-features"]] {
        let tree = tree(features);
        assert!(!has_client(&tree), "{tree}");
    }
}
