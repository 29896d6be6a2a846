//! The `whippet` program.

use std::process::ExitCode;

/// musl's own allocator has one lock for all threads: docs/releasing.md has the measurements.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    whippet::main()
}
