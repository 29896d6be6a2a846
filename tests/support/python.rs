//! Scripts that are part of what a test checks.

use std::process::{Command, Output};

/// Runs a script, named from the root of the repository, with the program's path in `WHIPPET`.
///
/// # Panics
/// Without Python: a test that cannot run must not pass.
#[track_caller]
pub fn run(script: &str) -> Output {
    let path = format!("{}/{script}", env!("CARGO_MANIFEST_DIR"));
    let program = env!("CARGO_BIN_EXE_whippet");
    let done = Command::new("python3").arg("-B").arg(path).env("WHIPPET", program).output();
    done.unwrap_or_else(|error| panic!("this test needs python3 to run {script}: {error}"))
}
