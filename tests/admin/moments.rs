//! The scripts of `examples/moments/` keep their promises.

use crate::support::python;

#[track_caller]
fn keeps_its_promises(script: &str) {
    let done = python::run(&format!("examples/moments/{script}"));
    let (said, wrong) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{said}{wrong}");
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() >= 3, "{said}");
}

#[test]
fn a_flood_is_counted_and_the_sysctl_named() {
    keeps_its_promises("flood.py");
}

#[test]
fn a_user_id_among_the_tags_is_named_and_memory_stays_flat() {
    keeps_its_promises("user_id.py");
}

#[test]
fn a_restart_within_an_outage_loses_nothing() {
    keeps_its_promises("restart.py");
}
