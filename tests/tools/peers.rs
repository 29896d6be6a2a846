//! The scripts of `tools/peers/`, which measure whippet beside other servers: their own tests pass, and
//! what they find that whippet posts under a small load is what was sent.

use crate::support::python;

#[test]
fn the_comparison_with_other_servers_reads_flushes_and_draws_what_it_measured() {
    let done = python::run("tools/peers/tests.py");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let ran =
        said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse().ok());
    assert!(ran.is_some_and(|tests: u32| tests >= 20), "{said}");
}
