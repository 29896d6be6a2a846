//! The seeds of every fuzz target are read in every test run, too, by the same functions.

use std::fs;
use std::path::Path;

use whippet::protocol::Options;

use crate::properties::holds;

#[cfg(feature = "server")]
#[path = "../fuzz/src/capture_file.rs"]
mod capture_file;
#[path = "../fuzz/src/configuration.rs"]
mod configuration;
#[path = "../fuzz/src/datagram.rs"]
mod datagram;
#[cfg(feature = "server")]
#[path = "../fuzz/src/framing.rs"]
mod framing;
#[path = "../fuzz/src/intake.rs"]
mod intake;
#[path = "../fuzz/src/part.rs"]
mod part;
#[path = "../fuzz/src/part_merge.rs"]
mod part_merge;
#[path = "../fuzz/src/record.rs"]
mod record;

/// Gives every seed of the target to `run`; a failure names the seed.
#[track_caller]
fn each_seed(target: &str, run: impl Fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let seed = fs::read(&path).unwrap();
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&seed)));
        assert!(ran.is_ok(), "{} breaks a promise", path.display());
        seeds += 1;
    }
    assert!(seeds > 0, "no seeds in {}", directory.display());
}

#[test]
fn datagrams() {
    each_seed("datagram", |seed| {
        datagram::run(seed);
        // The target takes its options from the first byte.
        let (first, datagram) = seed.split_first().expect("no seed is empty");
        holds(datagram, Options { timestamps: first & 1 == 0, origin: first & 2 == 0 });
    });
}

#[cfg(feature = "server")]
#[test]
fn streams() {
    each_seed("framing", framing::run);
}

#[cfg(feature = "server")]
#[test]
fn capture_files() {
    each_seed("capture_file", capture_file::run);
}

#[test]
fn configurations() {
    each_seed("configuration", configuration::run);
}

#[test]
fn spool_records() {
    each_seed("record", record::run);
}

#[test]
fn answers_of_the_intake() {
    each_seed("intake", intake::run);
}

#[test]
fn parts() {
    each_seed("part", part::run);
}

#[test]
fn parts_merged() {
    each_seed("part_merge", part_merge::run);
}
