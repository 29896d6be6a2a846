//! One stream compressor face for zstd, zlib, gzip and nothing, with a bound on what is still to come.

use std::io;

use flate2::{Compress, FlushCompress, Status};

use super::{ContentEncoding, Route};

/// Room asked for before each step of a compressor.
const STEP_BYTES: usize = 32 * 1024;
/// The zlib level of the Agent (`zlib`'s own default).
const ZLIB_LEVEL: u32 = 6;
/// `serializer_zstd_compressor_level`.
const ZSTD_LEVEL: i32 = 1;
/// The window of the fast levels, 128 KiB. Series repeat what stands close by: against zstd's own
/// choice of 512 KiB they compress a tenth faster, for one percent more bytes.
#[cfg(feature = "zstd")]
const ZSTD_FAST_WINDOW_BITS: u32 = 17;
/// Their table of places, 16 KiB: it stays in the first cache. Against zstd's own choice of 64 KiB they
/// compress a twentieth faster, again for one percent more bytes.
#[cfg(feature = "zstd")]
const ZSTD_FAST_HASH_BITS: u32 = 12;

/// How bodies are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// A zlib stream, level 0 to 9.
    Zlib {
        /// Higher is smaller and slower; more than 9 reads as 9.
        level: u32,
    },
    /// A gzip member, level 0 to 9.
    Gzip {
        /// Higher is smaller and slower; more than 9 reads as 9.
        level: u32,
    },
    /// A zstd frame. Exists only with the feature `zstd`.
    #[cfg(feature = "zstd")]
    Zstd {
        /// -7 to 22; zstd itself caps what is out of range.
        level: i32,
    },
}

impl Compression {
    /// What a route uses when nothing is configured: zstd for protobuf (zlib without the feature), zlib
    /// for JSON.
    #[must_use]
    pub fn preset(route: Route) -> Compression {
        if route.is_protobuf() {
            Self::named("zstd", ZSTD_LEVEL).unwrap_or(Compression::Zlib { level: ZLIB_LEVEL })
        } else {
            Compression::Zlib { level: ZLIB_LEVEL }
        }
    }

    /// The kinds of `serializer_compressor_kind`: `zstd`, `zlib`, `gzip`, `none`. `None` for any other
    /// word and, without the feature, for `zstd`. The level concerns zstd only.
    #[must_use]
    pub fn named(kind: &str, zstd_level: i32) -> Option<Compression> {
        match kind {
            "none" => Some(Compression::None),
            "zlib" => Some(Compression::Zlib { level: ZLIB_LEVEL }),
            "gzip" => Some(Compression::Gzip { level: ZLIB_LEVEL }),
            #[cfg(feature = "zstd")]
            "zstd" => Some(Compression::Zstd { level: zstd_level }),
            _ => {
                // Without the feature nothing else looks at the level.
                let _ = zstd_level;
                None
            }
        }
    }

    /// The compression that produces `encoding`, at its preset level; `None` when it is not built in.
    pub(super) fn producing(encoding: ContentEncoding) -> Option<Compression> {
        let kind = match encoding {
            ContentEncoding::Identity => "none",
            ContentEncoding::Deflate => "zlib",
            ContentEncoding::Gzip => "gzip",
            ContentEncoding::Zstd => "zstd",
        };
        Self::named(kind, ZSTD_LEVEL)
    }

    /// The header its bodies carry.
    #[must_use]
    pub fn encoding(self) -> ContentEncoding {
        match self {
            Compression::None => ContentEncoding::Identity,
            Compression::Zlib { .. } => ContentEncoding::Deflate,
            Compression::Gzip { .. } => ContentEncoding::Gzip,
            #[cfg(feature = "zstd")]
            Compression::Zstd { .. } => ContentEncoding::Zstd,
        }
    }
}

/// A compressor that is used for one body after another.
pub(super) enum Compressor {
    Plain,
    Flate(Flate),
    #[cfg(feature = "zstd")]
    Zstd(zstd::stream::raw::Encoder<'static>),
}

/// zlib or gzip.
pub(super) struct Flate {
    level: u32,
    gzip: bool,
    /// Only while a body is written: it takes 380 KB, and most outputs post an event now and then or never.
    body: Option<Compress>,
}

impl Flate {
    fn body(&mut self) -> &mut Compress {
        /// The largest window, as everybody uses.
        const WINDOW_BITS: u8 = 15;
        let (level, gzip) = (flate2::Compression::new(self.level.min(9)), self.gzip);
        self.body.get_or_insert_with(|| match gzip {
            true => Compress::new_gzip(level, WINDOW_BITS),
            false => Compress::new(level, true),
        })
    }
}

impl Compressor {
    /// # Errors
    /// When zstd refuses the level.
    pub(super) fn new(compression: Compression) -> io::Result<Compressor> {
        Ok(match compression {
            Compression::None => Compressor::Plain,
            Compression::Zlib { level } => {
                Compressor::Flate(Flate { level, gzip: false, body: None })
            }
            Compression::Gzip { level } => {
                Compressor::Flate(Flate { level, gzip: true, body: None })
            }
            #[cfg(feature = "zstd")]
            Compression::Zstd { level } => {
                use zstd::stream::raw::{CParameter, Encoder};
                let mut encoder = Encoder::new(level)?;
                if level <= ZSTD_LEVEL {
                    encoder.set_parameter(CParameter::WindowLog(ZSTD_FAST_WINDOW_BITS))?;
                    encoder.set_parameter(CParameter::HashLog(ZSTD_FAST_HASH_BITS))?;
                }
                Compressor::Zstd(encoder)
            }
        })
    }

    /// Takes `input`; some of its output may appear later.
    pub(super) fn write(&mut self, input: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Compressor::Plain => out.extend_from_slice(input),
            Compressor::Flate(flate) => {
                let compress = flate.body();
                let mut rest = input;
                while !rest.is_empty() {
                    out.reserve(STEP_BYTES);
                    let before = compress.total_in();
                    compress.compress_vec(rest, out, FlushCompress::None)?;
                    rest = &rest[(compress.total_in() - before) as usize..];
                }
            }
            #[cfg(feature = "zstd")]
            Compressor::Zstd(encoder) => {
                use zstd::stream::raw::{InBuffer, Operation};
                let mut input = InBuffer::around(input);
                while input.pos() < input.src.len() {
                    zstd_step(out, |output| encoder.run(&mut input, output))?;
                }
            }
        }
        Ok(())
    }

    /// Brings out everything written so far.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Compressor::Plain => {}
            Compressor::Flate(flate) => loop {
                out.reserve(STEP_BYTES);
                flate.body().compress_vec(&[], out, FlushCompress::Sync)?;
                if out.len() < out.capacity() {
                    break;
                }
            },
            #[cfg(feature = "zstd")]
            Compressor::Zstd(encoder) => {
                use zstd::stream::raw::Operation;
                while zstd_step(out, |output| encoder.flush(output))? > 0 {}
            }
        }
        Ok(())
    }

    /// Ends the body and gets ready for the next.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Compressor::Plain => {}
            Compressor::Flate(flate) => loop {
                out.reserve(STEP_BYTES);
                let status = flate.body().compress_vec(&[], out, FlushCompress::Finish)?;
                if status == Status::StreamEnd {
                    break;
                }
            },
            #[cfg(feature = "zstd")]
            Compressor::Zstd(encoder) => {
                use zstd::stream::raw::Operation;
                while zstd_step(out, |output| encoder.finish(output, true))? > 0 {}
            }
        }
        self.reset()
    }

    /// Forgets what was written since the last body.
    pub(super) fn reset(&mut self) -> io::Result<()> {
        match self {
            Compressor::Plain => Ok(()),
            Compressor::Flate(flate) => {
                flate.body = None;
                Ok(())
            }
            #[cfg(feature = "zstd")]
            Compressor::Zstd(encoder) => zstd::stream::raw::Operation::reinit(encoder),
        }
    }

    /// The most that `bytes` of input written since the last flush and the end of the body can add to
    /// what was out at that flush.
    ///
    /// Deflate may at worst spend 9 bits on a byte (a fixed-code block), plus block heads and the
    /// wrapper; zstd stores what does not shrink, in blocks with heads of 3 bytes, and its own
    /// `ZSTD_compressBound` allows one byte in 256 on top.
    pub(super) fn bound(&self, bytes: usize) -> usize {
        /// Wrappers (gzip: 18 bytes, zstd: at most 18), the empty block of a flush, the last block.
        const SLACK: usize = 64;
        let extra = match self {
            Compressor::Plain => return bytes,
            Compressor::Flate(_) => bytes / 8 + bytes / 64,
            #[cfg(feature = "zstd")]
            Compressor::Zstd(_) => bytes / 256,
        };
        bytes.saturating_add(extra).saturating_add(SLACK)
    }
}

/// One step of zstd with room for its output.
#[cfg(feature = "zstd")]
fn zstd_step(
    out: &mut Vec<u8>,
    step: impl FnOnce(&mut zstd::stream::raw::OutBuffer<'_, Vec<u8>>) -> io::Result<usize>,
) -> io::Result<usize> {
    out.reserve(STEP_BYTES);
    let written = out.len();
    step(&mut zstd::stream::raw::OutBuffer::around_pos(out, written))
}

#[cfg(test)]
mod tests {
    use super::super::split::decompress;
    use super::*;

    fn all() -> Vec<Compression> {
        [1, 6, 9]
            .into_iter()
            .flat_map(|level| [Compression::Zlib { level }, Compression::Gzip { level }])
            .chain([Compression::None])
            .chain(Compression::named("zstd", 1))
            .chain(Compression::named("zstd", 9))
            .collect()
    }

    /// Bytes that no compressor can shrink, or only zeros.
    fn input(bytes: usize, random: bool) -> Vec<u8> {
        let mut state = 0x1234_5678_9ABC_DEF1_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            if random { (state >> 32) as u8 } else { 0 }
        };
        (0..bytes).map(|_| next()).collect()
    }

    #[test]
    fn nothing_ever_exceeds_the_bound_and_everything_reads_back() {
        for compression in all() {
            let mut compressor = Compressor::new(compression).unwrap();
            for (bytes, random) in [0, 1, 100, 5_000, 70_000, 300_000]
                .into_iter()
                .flat_map(|n| [(n, true), (n, false)])
            {
                let input = input(bytes, random);
                let mut out = Vec::new();
                let mut settled = 0;
                let mut since = 0;
                for (place, piece) in input.chunks(7_001).enumerate() {
                    compressor.write(piece, &mut out).unwrap();
                    since += piece.len();
                    if place % 3 == 2 {
                        compressor.flush(&mut out).unwrap();
                        assert!(out.len() <= settled + compressor.bound(since), "{compression:?}");
                        (settled, since) = (out.len(), 0);
                    }
                }
                compressor.finish(&mut out).unwrap();
                assert!(out.len() <= settled + compressor.bound(since), "{compression:?} {bytes}");
                assert_eq!(decompress(&out, compression.encoding(), bytes).unwrap(), input);
            }
        }
    }

    #[test]
    fn a_body_left_unfinished_leaves_no_trace_in_the_next() {
        for compression in all() {
            let mut compressor = Compressor::new(compression).unwrap();
            compressor.write(b"lost", &mut Vec::new()).unwrap();
            compressor.reset().unwrap();
            let mut out = Vec::new();
            compressor.write(b"kept", &mut out).unwrap();
            compressor.finish(&mut out).unwrap();
            assert_eq!(decompress(&out, compression.encoding(), 4).unwrap(), b"kept");
        }
    }

    #[test]
    fn kinds_are_those_of_the_agent() {
        assert_eq!(Compression::named("none", 1), Some(Compression::None));
        assert_eq!(Compression::named("zlib", 1), Some(Compression::Zlib { level: 6 }));
        assert_eq!(Compression::named("gzip", 1), Some(Compression::Gzip { level: 6 }));
        assert_eq!(Compression::named("snappy", 1), None);
        assert_eq!(Compression::named("zstd", 1).is_some(), cfg!(feature = "zstd"));
        assert_eq!(Compression::preset(Route::Events).encoding(), ContentEncoding::Deflate);
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn protobuf_is_zstd_at_level_one() {
        assert_eq!(Compression::preset(Route::SeriesV2), Compression::Zstd { level: 1 });
        assert_eq!(Compression::preset(Route::Sketches), Compression::Zstd { level: 1 });
    }
}
