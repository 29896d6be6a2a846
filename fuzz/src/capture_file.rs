//! Any bytes are read as a capture file to its end or to a message of one line, and a whole file is
//! none any more without its last byte.

use whippet::capture::fuzz_api;

/// One input.
pub fn run(input: &[u8]) {
    let plain = fuzz_api::read_all(input);
    if let Err(message) = &plain {
        assert!(!message.is_empty() && !message.contains('\n'), "{message}");
        return;
    }
    // A whole file ends where it ends: with a byte less it is no longer whole, but for the versions
    // that have no end.
    let old = input.get(4).is_some_and(|byte| byte & 0x0f < 2);
    let shorter = fuzz_api::read_all(&input[..input.len() - 1]);
    assert!(old || shorter.is_err(), "a file without its last byte is whole");
}
