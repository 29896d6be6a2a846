//! What a release shows: the same version everywhere, and a crate that holds what builds it.

use std::fs;
use std::path::Path;
use std::process::Command;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path)
}

/// The word after `before`, wherever it stands in a file.
fn words_after(text: &str, before: &str) -> Vec<String> {
    let word = |rest: &str| {
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '.').collect::<String>()
    };
    text.split(before).skip(1).map(word).map(|word| word.trim_end_matches('.').to_owned()).collect()
}

#[test]
fn every_file_that_names_a_version_names_this_one() {
    for (path, before) in [
        ("README.md", "12:00:03  whippet "),
        ("README.md", "whippet-metrics/whippet:"),
        ("README.md", " ./whippet_"),
        ("README.md", " -i whippet-"),
        ("README.md", "-xzf whippet-"),
        ("dist/docker-compose.yml", "whippet-metrics/whippet:"),
        ("dist/kubernetes/daemonset.yaml", "whippet-metrics/whippet:"),
        ("dist/kubernetes/sidecar.yaml", "whippet-metrics/whippet:"),
        ("dist/kubernetes-global/owners.yaml", "whippet-metrics/whippet:"),
        ("dist/kubernetes-global/kustomization.yaml", "newTag: "),
        ("dist/global/docker-compose.yml", "whippet-metrics/whippet:"),
        ("dist/helm/whippet/Chart.yaml", "\nversion: "),
        ("dist/helm/whippet/Chart.yaml", "\nappVersion: "),
    ] {
        let named = words_after(&read(path), before);
        assert!(!named.is_empty(), "{path}: nothing after {before:?}");
        for version in named {
            assert_eq!(version, env!("CARGO_PKG_VERSION"), "{path}, after {before:?}");
        }
    }
}

/// Every file below `folder`, relative to the package.
fn files_below(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        if entry.file_type().expect("a kind").is_dir() {
            files_below(&entry.path(), found);
        } else {
            let path = entry.path();
            let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("a file of ours");
            found.push(path.to_str().expect("a name in UTF-8").to_owned());
        }
    }
}

/// What `cargo publish` uploads. That it builds by itself is for `make crate`.
#[test]
fn the_crate_holds_its_sources_and_no_more() {
    let output = Command::new(env!("CARGO"))
        .args(["package", "--list", "--allow-dirty", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).expect("text");
    let mut listed: Vec<&str> = listed.lines().collect();
    listed.sort_unstable();

    let mut expected = Vec::new();
    files_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut expected);
    let beside = ["build.rs", "README.md", "CHANGELOG.md", "LICENSE", "Cargo.toml", "Cargo.lock"];
    // The manifest as written, and the commit where there is a repository.
    let made = ["Cargo.toml.orig", ".cargo_vcs_info.json"];
    expected.extend(beside.iter().chain(&made).map(|&name| name.to_owned()));
    expected.retain(|name| name != ".cargo_vcs_info.json" || listed.contains(&name.as_str()));
    expected.sort_unstable();
    assert_eq!(listed, expected);
}
