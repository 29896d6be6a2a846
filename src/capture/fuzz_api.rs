//! What the fuzz target calls.

use super::{CaptureReader, Event};

/// Reads bytes as a capture file to its end; how many records it had, or what was wrong.
///
/// # Errors
/// The message that a person would read.
pub fn read_all(bytes: &[u8]) -> Result<u64, String> {
    let mut reader = CaptureReader::new(bytes).map_err(|error| error.to_string())?;
    let mut records = 0;
    loop {
        match reader.next().map_err(|error| error.to_string())? {
            Event::Record(_) => records += 1,
            Event::Heartbeat => {}
            Event::End(_) => return Ok(records),
        }
    }
}
