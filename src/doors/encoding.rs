//! Content encodings: which one a request names, and its body without it.

use std::io::{self, Read};

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::budget::Share;
use super::{Reason, Refusal};

/// Longest body without its encoding, in bytes.
pub(super) const DECODED_BYTES_MAX: usize = 64 << 20;
/// Read at once while decoding.
const PIECE_BYTES: usize = 64 << 10;
/// Largest window of a zstd frame, as a power of two: what every decoder must support (RFC 8878).
#[cfg(feature = "zstd")]
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    /// zlib, or a bare stream as some clients send it.
    Deflate,
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Encoding {
    /// The one encoding that `headers` name.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let refused = |what: &str| Refusal {
            reason: Reason::Encoding,
            status: 415,
            message: format!("Content-Encoding {what}; use one of gzip, deflate, zstd, or none"),
        };
        let mut found = None;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let Ok(text) = value.to_str() else { return Err(refused("is no text")) };
            for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                let encoding = Self::from_word(word).ok_or_else(|| refused("is not known"))?;
                if found.replace(encoding).is_some() {
                    return Err(refused("names several encodings"));
                }
            }
        }
        Ok(found.unwrap_or(Encoding::Identity))
    }

    fn from_word(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "identity" => Encoding::Identity,
            "gzip" | "x-gzip" => Encoding::Gzip,
            "deflate" => Encoding::Deflate,
            #[cfg(feature = "zstd")]
            "zstd" => Encoding::Zstd,
            _ => return None,
        })
    }

    /// The body without its encoding; its memory is taken from `share`.
    pub fn decode(self, sent: &Bytes, share: &mut Share) -> Result<Bytes, Refusal> {
        match self {
            Encoding::Identity if sent.len() > DECODED_BYTES_MAX => Err(too_large()),
            Encoding::Identity => Ok(sent.clone()),
            Encoding::Gzip => whole(MultiGzDecoder::new(&sent[..]), share, "gzip"),
            Encoding::Deflate if has_zlib_header(sent) => {
                members(sent, share, "deflate", ZlibDecoder::new)
            }
            Encoding::Deflate => members(sent, share, "deflate", DeflateDecoder::new),
            #[cfg(feature = "zstd")]
            Encoding::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::new(&sent[..]).map_err(|_| broken("zstd"))?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| broken("zstd"))?;
                whole(decoder, share, "zstd")
            }
        }
    }
}

/// Method 8, and a check over both bytes (RFC 1950): a bare stream begins so once in a few thousand.
fn has_zlib_header(sent: &[u8]) -> bool {
    matches!(sent, [first, second, ..]
        if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0)
}

/// Everything that one decoder gives, with all its members or frames.
fn whole(decoder: impl Read, share: &mut Share, name: &str) -> Result<Bytes, Refusal> {
    let mut out = Vec::new();
    read_to(decoder, &mut out, share, name)?;
    Ok(out.into())
}

/// Everything that one decoder after the other gives, until the input ends.
fn members<'a, D: Read + Rest<'a>>(
    sent: &'a [u8],
    share: &mut Share,
    name: &str,
    decoder: impl Fn(&'a [u8]) -> D,
) -> Result<Bytes, Refusal> {
    let (mut out, mut rest) = (Vec::new(), sent);
    loop {
        let mut member = decoder(rest);
        read_to(&mut member, &mut out, share, name)?;
        let left = member.rest();
        if left.is_empty() {
            return Ok(out.into());
        }
        // A member takes at least a byte, or reading it failed.
        rest = left;
    }
}

/// What a decoder has not read.
trait Rest<'a> {
    fn rest(self) -> &'a [u8];
}

impl<'a> Rest<'a> for ZlibDecoder<&'a [u8]> {
    fn rest(self) -> &'a [u8] {
        self.into_inner()
    }
}

impl<'a> Rest<'a> for DeflateDecoder<&'a [u8]> {
    fn rest(self) -> &'a [u8] {
        self.into_inner()
    }
}

fn read_to(
    mut from: impl Read,
    to: &mut Vec<u8>,
    share: &mut Share,
    name: &str,
) -> Result<(), Refusal> {
    loop {
        let length = to.len();
        if to.capacity() - length < PIECE_BYTES {
            // Doubled, so that few copies are made; never more than the longest body and a piece.
            let more = length.clamp(PIECE_BYTES, DECODED_BYTES_MAX + PIECE_BYTES - length);
            if !share.grow(more) {
                return Err(overload());
            }
            to.reserve_exact(more);
        }
        to.resize(length + PIECE_BYTES, 0);
        let read = match from.read(&mut to[length..]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(_) => return Err(broken(name)),
        };
        to.truncate(length + read);
        if to.len() > DECODED_BYTES_MAX {
            return Err(too_large());
        }
        if read == 0 {
            return Ok(());
        }
    }
}

fn broken(name: &str) -> Refusal {
    Refusal::decode(format!("the body is not valid {name}, or is cut off"))
}

fn too_large() -> Refusal {
    Refusal {
        reason: Reason::TooLarge,
        status: 413,
        message: format!("the decoded body is longer than {DECODED_BYTES_MAX} bytes"),
    }
}

/// Too many bodies are in work.
pub(super) fn overload() -> Refusal {
    Refusal {
        reason: Reason::Overload,
        status: 429,
        message: "too much is in work; send again later".to_owned(),
    }
}
