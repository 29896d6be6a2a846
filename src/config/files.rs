//! Reading a text file within a bound.

use std::io::Read;
use std::path::Path;

use super::yaml;

/// A file that may be large or no text at all.
pub(super) fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let limit = yaml::FILE_BYTES_MAX as u64 + 1;
    std::fs::File::open(path)?.take(limit).read_to_string(&mut text)?;
    Ok(text)
}
