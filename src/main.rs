//! The `whippet` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    whippet::main()
}
