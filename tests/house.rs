//! The order of the rooms is a test: a room uses the nouns of earlier rooms and the base modules,
//! never a later room.

#[path = "house/circles.rs"]
mod circles;
#[path = "house/packages.rs"]
mod packages;
#[path = "house/release.rs"]
mod release;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// In the order a datagram walks through them. `threadstats` enters beside them and, like the
/// front doors below, may use any.
const ROOMS: [&str; 7] = ["protocol", "context", "aggregate", "part", "flush", "encode", "forward"];

/// Usable by everyone, and using nothing but each other.
const BASE: [&str; 14] = [
    "capture",
    "clock",
    "config",
    "ddsketch",
    "http",
    "memory",
    "spool",
    "streams",
    "protobuf",
    "telemetry",
    "text",
    "sketch",
    "tag_list",
    "tagger",
];

/// Used by no room. `server`, `threadstats` and `cli` put rooms together, so they may know all of
/// them; `bench` measures any statsd server from outside, so it knows only the protocol.
const FRONT_DOORS: [&str; 7] =
    ["server", "threadstats", "telemetry_client", "datastreams", "errors", "bench", "cli"];

/// What a module may use besides itself and the base.
fn allowed(module: &str) -> Vec<&'static str> {
    if let Some(at) = ROOMS.iter().position(|room| *room == module) {
        return ROOMS[..at].to_vec();
    }
    match module {
        // Bytes come in here; what they mean is not its business.
        "net" => Vec::new(),
        // Takes flushes; the Datadog output encodes them and hands payloads to `forward`.
        "output" => ROOMS.to_vec(),
        // Gathers plain values while lanes work; pages are made of them elsewhere.
        "watch" => [&ROOMS[..5], &["net"]].concat(),
        // A second source beside `net`: decodes requests and records what they hold.
        "doors" => [&ROOMS[..], &["watch"]].concat(),
        // Between the flusher and the log, and between the log and the intake or another output.
        "global" => [&ROOMS[..], &["output"]].concat(),
        // Walks a line through the rooms on its own, for a person.
        "explain" => [&ROOMS[..], &["output"]].concat(),
        "admin" => [&ROOMS[..], &["net", "output", "watch", "doors", "explain"]].concat(),
        "cli" => {
            let others = ["net", "output", "explain", "admin", "server", "threadstats", "bench"];
            [&ROOMS[..], &others, &["telemetry_client"]].concat()
        }
        "bench" => vec!["clock", "protocol"],
        "server" => {
            let others = ["net", "output", "watch", "doors", "explain", "admin", "global"];
            [&ROOMS[..], &others, &["telemetry_client"]].concat()
        }
        // Counts through the other front door of the library.
        "errors" => vec!["threadstats"],
        "threadstats" => [&ROOMS[..], &["output"]].concat(),
        // A program of its own kind: of whippet it needs no more than connections.
        "telemetry_client" => vec!["forward"],
        // As well, and series of the engine in this process.
        "datastreams" => vec!["aggregate", "context", "forward", "threadstats"],
        _ => Vec::new(),
    }
}

/// Every `crate::module` of a source, with its line: in `use` trees and in paths, comments apart.
fn uses(source: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in source.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices("crate::") {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let rest = &code[at + "crate::".len()..];
            // A tree at the root, `crate::{a::B, c::D}`, would hide what it uses from this test.
            assert!(!rest.starts_with('{'), "write one `use crate::…` per module: {line}");
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push((index + 1, name));
        }
    }
    found
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The module of a file: the first part of its path.
fn module_of(file: &Path) -> String {
    let inside = file.strip_prefix(root()).expect("a file of ours");
    let first = inside.components().next().expect("a name").as_os_str().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn no_room_uses_a_later_one() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for file in sources(&root()) {
        let module = module_of(&file);
        if module == "lib" || module == "main" {
            continue;
        }
        let source = fs::read_to_string(&file).expect("a source");
        for (line, used) in uses(&source) {
            checked += 1;
            let base_allowed = module != "bench" && BASE.contains(&&*used);
            let fine = used == module
                || base_allowed
                || (!BASE.contains(&&*module) && allowed(&module).contains(&&*used));
            if !fine {
                wrong.push(format!("{}:{line}: {module} uses {used}", file.display()));
            }
        }
    }
    assert!(checked > 100, "only {checked} uses found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_module_of_the_library_has_its_place() {
    let modules: BTreeSet<String> = sources(&root()).iter().map(|file| module_of(file)).collect();
    let mut known: BTreeSet<String> =
        ["lib", "main", "net", "output", "watch", "doors", "explain", "admin", "global"]
            .map(String::from)
            .into();
    known.extend([&ROOMS[..], &BASE, &FRONT_DOORS].concat().iter().map(ToString::to_string));
    let unknown: Vec<&String> = modules.difference(&known).collect();
    assert!(unknown.is_empty(), "say in this file what they may use: {unknown:?}");
    for room in ROOMS {
        assert!(modules.contains(room), "{room} is gone; this file still names it");
    }
}

#[test]
fn time_that_decides_about_data_comes_from_the_clock() {
    for file in sources(&root()).iter().filter(|file| !file.ends_with("clock.rs")) {
        let source = fs::read_to_string(file).expect("a source");
        let module = module_of(file);
        let pipeline = module == "net" || ROOMS[..6].contains(&&*module);
        assert!(!source.contains("SystemTime::now"), "{}", file.display());
        assert!(!pipeline || !source.contains("Instant::now"), "{}", file.display());
    }
}

/// Unsafe code stands where the lint is lifted: in `net`, in the vector instructions that find
/// separators and the call of what is compiled for recent processors, in the prefetch of the hot context
/// table and the memory of its keys, in the three calls to the allocator, in what the program decides about
/// the memory of its process, and in the load test's one file of system calls.
#[test]
fn the_lint_against_unsafe_code_is_lifted_in_few_places() {
    for file in sources(&root()) {
        let source = fs::read_to_string(&file).expect("a source");
        let lifted =
            source.contains("allow(unsafe_code)") || source.contains("expect(unsafe_code)");
        let fine = module_of(&file) == "net"
            || file.ends_with("protocol/blocks.rs")
            || file.ends_with("protocol/processor.rs")
            || file.ends_with("context/prefetch.rs")
            || file.ends_with("context/key_memory.rs")
            || file.ends_with("context/key_pages.rs")
            || file.ends_with("server/allocator.rs")
            || file.ends_with("cli/program_memory.rs")
            || file.ends_with("src/bench/sys.rs");
        assert!(!lifted || fine, "{}", file.display());
    }
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The cells of a row, a `\|` inside one apart.
fn cells(row: &str) -> Vec<String> {
    let row = row.replace("\\|", "\u{0}");
    let cells = row.trim().trim_matches('|').split('|');
    cells.map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// What is between back quotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_proof_of_the_comparison_with_the_agent_exists() {
    // docs/compatibility.md is generated from this file.
    let page = package().join("src/config/compatibility.md");
    let page = fs::read_to_string(page).expect("the page");
    let rules = page.split("\n## Keys").next().expect("rules before keys");
    let mut proofs = 0;
    for row in rules.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Rule")) {
        let cells = cells(row);
        let [rule, verdict, why, proof] = &cells[..] else {
            if row.starts_with("| ---") {
                continue;
            }
            panic!("rule, verdict, why and proof: {row}");
        };
        if rule.starts_with("---") {
            continue;
        }
        assert!(["same", "better", "different"].contains(&&**verdict), "{rule}: {verdict}");
        assert!(verdict == "same" || !why.is_empty(), "{rule}: {verdict} without a reason");
        // Only what is not there cannot be shown.
        assert!(verdict == "different" || !proof.is_empty(), "{rule}: {verdict} without a proof");
        let mut corpus = String::new();
        for one in quoted(proof) {
            proofs += 1;
            if let Some((file, test)) = one.split_once("::") {
                let text = fs::read_to_string(package().join(file)).expect(file);
                assert!(text.contains(&format!("fn {test}(")), "{rule}: no test {one}");
                continue;
            }
            let case = match one.split_once(' ') {
                Some((file, case)) => {
                    let file = package().join("proto-tests").join(file);
                    corpus = fs::read_to_string(&file).expect("a file of the corpus");
                    case
                }
                None => one,
            };
            let known = corpus.lines().any(|line| line.split(' ').next() == Some(case));
            assert!(known, "{rule}: no case {case}");
        }
    }
    assert!(proofs > 150, "only {proofs} proofs found");
    for one in page.split("Proved by ").nth(1).map(quoted).expect("the migration").iter().take(2) {
        let (file, test) = one.split_once("::").expect("a test");
        let text = fs::read_to_string(package().join(file)).expect(file);
        assert!(text.contains(&format!("fn {test}(")), "no test {one}");
    }
}

#[test]
fn uses_are_found_in_trees_paths_and_not_in_comments() {
    let source = "\
        use crate::flush::{Row, Series};\n\
        pub(in crate::net) fn x() {}\n\
        // crate::server is not used\n\
        let y = crate::protocol::read(b\"\"); // crate::cli\n\
        use whippet_crate::other;\n";
    let found: Vec<String> =
        uses(source).into_iter().map(|(line, name)| format!("{line} {name}")).collect();
    assert_eq!(found, ["1 flush", "2 net", "4 protocol"]);
}
