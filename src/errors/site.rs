//! Where an error was recorded: the module of a source file, and whose file it is.
//!
//! A place that records is known by its file alone. The compiler gives files of the program's package
//! relative to its workspace (`src/db.rs`, `crates/store/src/lib.rs`), those of other packages with the path of
//! the folder they were unpacked in, and those of the standard library below `/rustc/`.

use super::settings::{Modules, Settings};

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    User,
    ThirdParty,
    StandardLibrary,
}

/// The module of a file, as `package::module`, and whose it is.
pub(super) fn module_of(file: &str) -> (String, Owner) {
    let file = file.replace('\\', "/");
    if file.starts_with("/rustc/") || file.contains("/lib/rustlib/src/rust/") {
        let inside = file.split("/library/").nth(1).unwrap_or("std/src/lib.rs");
        return (dotted(inside, "std"), Owner::StandardLibrary);
    }
    if let Some(inside) = after(&file, "/registry/src/").and_then(|rest| rest.split_once('/')) {
        // index folder, then name-version
        let (package, path) = inside.1.split_once('/').unwrap_or((inside.1, ""));
        return (dotted(path, without_version(package)), Owner::ThirdParty);
    }
    if let Some(inside) = after(&file, "/git/checkouts/") {
        // name-hash, then revision
        let mut parts = inside.splitn(3, '/');
        let repository = parts.next().unwrap_or_default();
        let name = repository.rsplit_once('-').map_or(repository, |(name, _)| name);
        return (dotted(parts.nth(1).unwrap_or_default(), name), Owner::ThirdParty);
    }
    if let Some(inside) = after(&file, "vendor/").filter(|_| is_folder(&file, "vendor")) {
        let (package, path) = inside.split_once('/').unwrap_or((inside, ""));
        return (dotted(path, without_version(package)), Owner::ThirdParty);
    }
    (dotted(&file, "program"), Owner::User)
}

fn after<'a>(file: &'a str, part: &str) -> Option<&'a str> {
    file.split_once(part).map(|(_, rest)| rest)
}

fn is_folder(file: &str, name: &str) -> bool {
    file.split('/').next() == Some(name) || file.contains(&format!("/{name}/"))
}

/// `serde_json-1.0.1` → `serde_json`.
fn without_version(package: &str) -> &str {
    match package.rsplit_once('-') {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name,
        _ => package,
    }
}

/// `crates/store/src/db/mod.rs` → `store::db`; the folder before `src` is the package.
fn dotted(path: &str, package: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let source = parts.iter().rposition(|part| *part == "src");
    let package = match source {
        Some(at) if at > 0 => parts[at - 1],
        _ => package,
    };
    let modules = &parts[source.map_or(0, |at| at + 1)..];
    let mut module = package.replace('-', "_");
    for part in modules {
        let part = part.strip_suffix(".rs").unwrap_or(part);
        if !matches!(part, "lib" | "main" | "mod") {
            module.push_str("::");
            module.push_str(&part.replace('-', "_"));
        }
    }
    module
}

/// A place that records errors.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub module: String,
    /// The settings want its errors.
    pub tracked: bool,
}

impl Site {
    pub fn new(file: &str, settings: &Settings) -> Site {
        let (module, owner) = module_of(file);
        let wanted = match owner {
            Owner::User => settings.modules != Modules::ThirdParty,
            Owner::ThirdParty => settings.modules != Modules::User,
            Owner::StandardLibrary => false,
        };
        let included = settings.include.is_empty()
            || settings.include.iter().any(|prefix| is_in(&module, prefix));
        Site { module, tracked: wanted && included }
    }
}

fn is_in(module: &str, prefix: &str) -> bool {
    let rest = module.strip_prefix(prefix.trim_end_matches("::"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_its_module_and_whose_it_is() {
        let registry = "/home/u/.cargo/registry/src/index.example-1f/";
        for (file, module, owner) in [
            ("src/main.rs", "program", Owner::User),
            ("src/db/pool.rs", "program::db::pool", Owner::User),
            ("src/db/mod.rs", "program::db", Owner::User),
            ("crates/my-store/src/lib.rs", "my_store", Owner::User),
            (r"crates\my-store\src\disk.rs", "my_store::disk", Owner::User),
            ("tests/main.rs", "program::tests", Owner::User),
            (
                &format!("{registry}hyper-1.8.0/src/proto/h1.rs"),
                "hyper::proto::h1",
                Owner::ThirdParty,
            ),
            (&format!("{registry}zstd-sys-2.0.1+zstd.1/src/lib.rs"), "zstd_sys", Owner::ThirdParty),
            ("/c/git/checkouts/left-pad-0a1b2c/77f/src/pad.rs", "left_pad::pad", Owner::ThirdParty),
            ("vendor/serde-1.0.1/src/de.rs", "serde::de", Owner::ThirdParty),
            ("src/vendored.rs", "program::vendored", Owner::User),
            (
                "/rustc/0a1b/library/core/src/ops/function.rs",
                "core::ops::function",
                Owner::StandardLibrary,
            ),
        ] {
            let (got, whose) = module_of(file);
            assert_eq!((got.as_str(), whose), (module, owner), "{file}");
        }
    }

    #[test]
    fn a_prefix_ends_at_a_module() {
        for (module, prefix, inside) in [
            ("shop::db", "shop", true),
            ("shop::db", "shop::db", true),
            ("shop::db", "shop::", true),
            ("shopping", "shop", false),
            ("shop", "shop::db", false),
        ] {
            assert_eq!(is_in(module, prefix), inside, "{module} {prefix}");
        }
    }
}
