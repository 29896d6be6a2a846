//! The seeds of the fuzz target are read in every test run, too.

use std::fs;
use std::path::Path;

use whippet::protocol::Options;

use crate::properties::holds;

#[test]
fn every_seed_keeps_the_promises() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/datagram");
    let mut seeds = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let seed = fs::read(entry.unwrap().path()).unwrap();
        // The target takes its options from the first byte.
        let (first, datagram) = seed.split_first().expect("no seed is empty");
        let options = Options { timestamps: first & 1 == 0, origin: first & 2 == 0 };
        holds(datagram, options);
        seeds += 1;
    }
    assert!(seeds >= 20, "only {seeds} seeds in {}", directory.display());
}
