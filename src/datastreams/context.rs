//! What travels with a message: the hash of its pathway and two times.
//!
//! ```text
//! hash (8 bytes, little endian), start of the pathway, start of the edge
//!                                ^ milliseconds since the epoch, zigzag, 7 bits a byte, lowest first;
//!                                  of at most 9 bytes, the ninth has 8 bits
//! ```

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use super::carrier::CarrierGet;

/// Where the context is, in base64.
pub const CONTEXT_KEY: &str = "dd-pathway-ctx-base64";
/// Where older clients put it, as bytes. It is read and never written.
pub const OLD_CONTEXT_KEY: &str = "dd-pathway-ctx";

const HASH_BYTES: usize = 8;
const VARINT_BYTES_MAX: usize = 9;
/// Bytes of a context at most; what follows them in a header is ignored.
const CONTEXT_BYTES_MAX: usize = HASH_BYTES + 2 * VARINT_BYTES_MAX;
/// Characters of [`CONTEXT_BYTES_MAX`] bytes in base64, and more. A multiple of four: a cut there leaves whole
/// groups.
const BASE64_READ_MAX: usize = 64;

/// With or without padding, as some writers leave it out.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The content of a context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub hash: u64,
    /// Milliseconds since the epoch.
    pub pathway_start: i64,
    /// As well.
    pub edge_start: i64,
}

/// What a carrier holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extracted {
    Found(Context),
    /// No key, or an empty value.
    Missing,
    /// Something that is no context.
    Invalid,
}

/// A context in bytes, without an allocation.
pub(super) struct Encoded {
    bytes: [u8; CONTEXT_BYTES_MAX],
    length: usize,
}

impl Encoded {
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Context {
    pub fn encode(&self) -> Encoded {
        let mut encoded = Encoded { bytes: [0; CONTEXT_BYTES_MAX], length: HASH_BYTES };
        encoded.bytes[..HASH_BYTES].copy_from_slice(&self.hash.to_le_bytes());
        put_varint(&mut encoded, self.pathway_start);
        put_varint(&mut encoded, self.edge_start);
        encoded
    }

    /// As it stands under [`CONTEXT_KEY`].
    pub fn to_base64(self) -> String {
        STANDARD.encode(self.encode().as_bytes())
    }

    /// Bytes of [`Context::to_base64`].
    pub fn base64_len(&self) -> usize {
        self.encode().length.div_ceil(3) * 4
    }

    /// None for what is too short. Bytes after the context are ignored.
    pub fn decode(bytes: &[u8]) -> Option<Context> {
        let (hash, rest) = bytes.split_first_chunk::<HASH_BYTES>()?;
        let (pathway_start, rest) = take_varint(rest)?;
        let (edge_start, _) = take_varint(rest)?;
        Some(Context { hash: u64::from_le_bytes(*hash), pathway_start, edge_start })
    }

    /// None for what is not base64, or too short.
    pub fn from_base64(text: &[u8]) -> Option<Context> {
        let text = &text[..text.len().min(BASE64_READ_MAX)];
        let mut bytes = [0; BASE64_READ_MAX];
        let length = LENIENT.decode_slice(text, &mut bytes).ok()?;
        Context::decode(&bytes[..length])
    }

    /// The value of [`OLD_CONTEXT_KEY`], bytes or base64. The times of bytes are never ASCII alone, as each has six
    /// bytes of which five have the highest bit.
    fn from_old(value: &[u8]) -> Option<Context> {
        let raw = || Context::decode(value).filter(|context| context.hash != 0);
        if value.is_ascii() {
            return Context::from_base64(value).or_else(raw);
        }
        raw().or_else(|| Context::from_base64(value))
    }

    /// The current key if there is one, else the old one, under which some writers put base64.
    pub fn extract(carrier: &(impl CarrierGet + ?Sized)) -> Extracted {
        if let Some(value) = carrier.get(CONTEXT_KEY) {
            return Extracted::of(&value, Context::from_base64);
        }
        match carrier.get(OLD_CONTEXT_KEY) {
            Some(value) => Extracted::of(&value, Context::from_old),
            None => Extracted::Missing,
        }
    }
}

impl Extracted {
    fn of(value: &[u8], read: impl FnOnce(&[u8]) -> Option<Context>) -> Self {
        if value.is_empty() {
            return Extracted::Missing;
        }
        read(value).map_or(Extracted::Invalid, Extracted::Found)
    }
}

fn put_varint(encoded: &mut Encoded, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    for place in 1..=VARINT_BYTES_MAX {
        let last = rest < 0x80 || place == VARINT_BYTES_MAX;
        encoded.bytes[encoded.length] = rest as u8 | if last { 0 } else { 0x80 };
        encoded.length += 1;
        if last {
            // Of 64 bits, the ninth byte would leave one: no time in milliseconds has it.
            return;
        }
        rest >>= 7;
    }
}

fn take_varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        let last = *byte < 0x80 || place == VARINT_BYTES_MAX - 1;
        let bits = if place == VARINT_BYTES_MAX - 1 { *byte } else { byte & 0x7f };
        value |= u64::from(bits) << (7 * place);
        if last {
            let value = (value >> 1).cast_signed() ^ -(value & 1).cast_signed();
            return Some((value, &bytes[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn varints_have_at_most_nine_bytes() {
        for (value, expect) in [
            (0, "00"),
            (1, "02"),
            (-1, "01"),
            (63, "7e"),
            (64, "8001"),
            (-64, "7f"),
            (-65, "8101"),
            (1_048_576, "80808001"),
            (1_700_000_000_000, "80a0abfef962"),
            (1 << 62, "808080808080808080"),
        ] {
            let mut encoded = Encoded { bytes: [0; CONTEXT_BYTES_MAX], length: 0 };
            put_varint(&mut encoded, value);
            assert_eq!(hex(encoded.as_bytes()), expect, "{value}");
            assert_eq!(take_varint(encoded.as_bytes()), Some((value, &b""[..])), "{value}");
            let cut = &encoded.as_bytes()[..encoded.length - 1];
            assert_eq!(take_varint(cut), None, "{value}");
        }
    }

    const V1: Context = Context {
        hash: 17_073_393_891_733_492_021,
        pathway_start: 1_700_000_000_000,
        edge_start: 1_700_000_000_250,
    };

    #[test]
    fn contexts_are_those_of_the_python_client() {
        let v2 = Context {
            hash: 14_149_669_132_804_983_581,
            pathway_start: 1_700_000_000_000,
            edge_start: 1_700_000_001_500,
        };
        assert_eq!(hex(V1.encode().as_bytes()), "3551192b49e1f0ec80a0abfef962f4a3abfef962");
        assert_eq!(hex(v2.encode().as_bytes()), "1d8b26ae1bb95dc480a0abfef962b8b7abfef962");
        let both = |hash, time| Context { hash, pathway_start: time, edge_start: time };
        for (context, base64) in [
            (V1, "NVEZK0nh8OyAoKv++WL0o6v++WI="),
            (v2, "HYsmrhu5XcSAoKv++WK4t6v++WI="),
            (both(9_235_368_231_858_162_135, 1_642_544_540_000), "10nVzXmeKoDApcX0zV/ApcX0zV8="),
            (both(6_189_836_063_794_947_354, 1_795_188_618_655), "GmVm2Bq35lW+1qOZv2i+1qOZv2g="),
        ] {
            assert_eq!(context.to_base64(), base64);
            assert_eq!(context.base64_len(), base64.len());
            assert_eq!(Context::from_base64(base64.as_bytes()), Some(context));
            let unpadded = base64.trim_end_matches('=');
            assert_eq!(Context::from_base64(unpadded.as_bytes()), Some(context));
        }
    }

    #[test]
    fn what_is_too_short_or_no_base64_is_no_context_and_more_is_ignored() {
        let whole = V1.encode();
        for cut in 0..whole.length {
            assert_eq!(Context::decode(&whole.as_bytes()[..cut]), None, "{cut}");
        }
        let longer = [whole.as_bytes(), &[0xff; 100]].concat();
        assert_eq!(Context::decode(&longer), Some(V1));
        assert_eq!(Context::from_base64(STANDARD.encode(&longer).as_bytes()), Some(V1));
        assert_eq!(Context::from_base64(b"*"), None);
        assert_eq!(Context::from_base64("ä".repeat(40).as_bytes()), None);
    }

    #[test]
    fn the_current_key_comes_first_and_the_old_one_may_hold_base64() {
        let read = |entries: &[(&str, &[u8])]| {
            let carrier: Vec<(String, Vec<u8>)> =
                entries.iter().map(|(key, value)| ((*key).to_owned(), value.to_vec())).collect();
            Context::extract(&carrier)
        };
        let other = Context { hash: 7, ..V1 };
        let (raw, base64) = (V1.encode(), V1.to_base64());
        let found = Extracted::Found(V1);
        assert_eq!(read(&[]), Extracted::Missing);
        assert_eq!(read(&[(CONTEXT_KEY, base64.as_bytes())]), found);
        assert_eq!(read(&[(OLD_CONTEXT_KEY, raw.as_bytes())]), found);
        assert_eq!(read(&[(OLD_CONTEXT_KEY, base64.as_bytes())]), found);
        assert_eq!(read(&[(OLD_CONTEXT_KEY, b"short")]), Extracted::Invalid);
        let old = (OLD_CONTEXT_KEY, raw.as_bytes());
        let newer = other.to_base64();
        assert_eq!(read(&[old, (CONTEXT_KEY, newer.as_bytes())]), Extracted::Found(other));
        // A key that is there decides, whatever it holds.
        assert_eq!(read(&[old, (CONTEXT_KEY, b"*")]), Extracted::Invalid);
        assert_eq!(read(&[old, (CONTEXT_KEY, b"")]), Extracted::Missing);
        // Of duplicates the last one.
        let twice = [(CONTEXT_KEY, newer.as_bytes()), (CONTEXT_KEY, base64.as_bytes())];
        assert_eq!(read(&twice), found);
        let zero = Context { hash: 0, ..V1 };
        assert_eq!(read(&[(OLD_CONTEXT_KEY, zero.encode().as_bytes())]), Extracted::Invalid);
    }

    proptest! {
        #[test]
        fn times_come_back(hash: u64, start in -(1_i64 << 62)..=1 << 62, edge in -(1_i64 << 62)..=1 << 62) {
            let context = Context { hash, pathway_start: start, edge_start: edge };
            prop_assert_eq!(Context::decode(context.encode().as_bytes()), Some(context));
            prop_assert_eq!(Context::from_base64(context.to_base64().as_bytes()), Some(context));
        }

        #[test]
        fn any_bytes_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Context::decode(&bytes);
            let _ = Context::from_base64(&bytes);
        }
    }
}
