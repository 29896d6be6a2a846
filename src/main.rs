//! The `whippet` program.
fn main() {}
