//! Inflating the cells of parts.

use std::fmt;

use super::PartError;

/// Inflates bodies, one after the other, without asking for memory each time. It keeps as much as the
/// largest of them took.
#[derive(Default)]
pub struct Unpacker {
    #[cfg(feature = "zstd")]
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    #[cfg(feature = "zstd")]
    raw: Vec<u8>,
}

impl Unpacker {
    /// In one step into a buffer of the promised size: a frame that asks for a large window gets none, and
    /// one that holds more is cut off.
    #[cfg(feature = "zstd")]
    pub(super) fn unpack(&mut self, body: &[u8], length: usize) -> Result<&[u8], PartError> {
        if self.zstd.is_none() {
            self.zstd = zstd::bulk::Decompressor::new().ok();
        }
        let zstd = self.zstd.as_mut().ok_or(PartError::Body("zstd is not available"))?;
        if self.raw.len() < length {
            self.raw.resize(length, 0);
        }
        // A longer buffer would take in more than the head promises.
        let raw = self.raw.get_mut(..length).unwrap_or_default();
        let unreadable = PartError::Body("its zstd frame does not hold what the head promises");
        let inflated = zstd.decompress_to_buffer(body, raw).map_err(|_| unreadable)?;
        Ok(&raw[..inflated])
    }

    #[cfg(not(feature = "zstd"))]
    #[expect(clippy::unused_self, reason = "as it is with the feature")]
    pub(super) fn unpack(&mut self, _body: &[u8], _length: usize) -> Result<&[u8], PartError> {
        Err(PartError::Body(
            "this program is built without zstd, in which the cells are compressed",
        ))
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}
