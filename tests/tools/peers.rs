//! The scripts of `tools/peers/`, which measure whippet beside other servers: their own tests pass, and
//! what they find that whippet posts under a small load is what was sent.

use std::process::Command;

#[test]
fn the_comparison_with_other_servers_reads_flushes_and_draws_what_it_measured() {
    let path = format!("{}/tools/peers/tests.py", env!("CARGO_MANIFEST_DIR"));
    let program = env!("CARGO_BIN_EXE_whippet");
    let done = Command::new("python3").arg("-B").arg(path).env("WHIPPET", program).output();
    let done = match done {
        Ok(done) => done,
        // They are for people; a machine without Python builds whippet all the same.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        Err(error) => panic!("{error}"),
    };
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let ran =
        said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse().ok());
    assert!(ran.is_some_and(|tests: u32| tests >= 20), "{said}");
}
