//! Where the `|` and the newlines of a text stand, found 64 bytes at a time.
//!
//! In: any bytes. Out: the places of all `|` and `\n`, ascending. Every byte is loaded once for both, and
//! what is found is written four at a time, whether there are four or not, so that no branch depends
//! on the text. Promise: every variant finds the same; [`index_plain`] is the one that the tests compare
//! the others with, and what processors without a variant use. Which one runs is chosen by what the
//! processor can do.
#![allow(unsafe_code)]

/// Bytes looked at together.
pub(super) const BLOCK: usize = 64;
/// Places that are written together.
const GROUP: usize = 4;

/// Writes the places of all `|` and `\n` to the front of `places`; returns how many there are.
/// `places` needs room for one a byte and a [`BLOCK`] more; what has no room is left out.
#[inline]
pub(super) fn index(bytes: &[u8], places: &mut [u16]) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if super::processor::is_recent() {
            // SAFETY: the processor has what the function is compiled for, and more.
            return unsafe { x86::index_avx2(bytes, places) };
        }
        index_with(bytes, places, x86::marks_sse2)
    }
    #[cfg(target_arch = "aarch64")]
    return index_with(bytes, places, arm::marks_neon);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return index_plain(bytes, places);
}

/// The definition.
#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn index_plain(bytes: &[u8], places: &mut [u16]) -> usize {
    index_with(bytes, places, |block| {
        block.iter().rev().fold(0, |marks, byte| marks << 1 | u64::from(is_separator(*byte)))
    })
}

#[cfg(any(test, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
fn is_separator(byte: u8) -> bool {
    matches!(byte, b'|' | b'\n')
}

/// `marks` sets the bits of a block's separators, the lowest for its first byte.
#[inline(always)]
fn index_with(bytes: &[u8], places: &mut [u16], marks: impl Fn(&[u8; BLOCK]) -> u64) -> usize {
    let (blocks, tail) = bytes.as_chunks::<BLOCK>();
    let room_before = places.len();
    let (mut room, mut base) = (places, 0);
    for block in blocks {
        // Asked first, and apart from what is found: else both become one question with five instructions.
        if room.len() < BLOCK {
            break;
        }
        room = write(marks(block), base, room);
        base += BLOCK as u16;
    }
    if !tail.is_empty() {
        let marks = match bytes.last_chunk() {
            // Less those of the block before, which it overlaps.
            Some(last) => marks(last) >> (BLOCK - tail.len()),
            None => {
                // Zeros are no separators.
                let mut block = [0; BLOCK];
                block[..tail.len()].copy_from_slice(tail);
                marks(&block)
            }
        };
        room = write(marks, base, room);
    }
    room_before - room.len()
}

/// Writes the places of a block's marks; returns the room that is left.
#[inline(always)]
fn write(marks: u64, base: u16, room: &mut [u16]) -> &mut [u16] {
    // Most blocks of long lines.
    if marks == 0 {
        return room;
    }
    let Some(block) = room.first_chunk_mut::<BLOCK>() else { return room };
    let (first, others) = block.as_chunks_mut::<GROUP>().0.split_at_mut(1);
    let mut left = write_group(marks, base, &mut first[0]);
    if left != 0 {
        for group in others {
            left = write_group(left, base, group);
            if left == 0 {
                break;
            }
        }
    }
    &mut room[marks.count_ones() as usize..]
}

/// Writes the places of the lowest marks; returns the others.
#[inline(always)]
fn write_group(mut marks: u64, base: u16, group: &mut [u16; GROUP]) -> u64 {
    for place in group {
        *place = base.wrapping_add(marks.trailing_zeros() as u16);
        marks &= marks.wrapping_sub(1);
    }
    marks
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BLOCK, index_with};
    use std::arch::x86_64::*;

    /// The separator with these low four bits, for all that a byte can have; a byte that is equal to it is
    /// one. Where there is none: 0x80, which no byte is that looks here. Those with the highest bit get 0.
    const WANTED: __m128i = {
        let mut wanted = [0x80; 16];
        wanted[b'|' as usize % 16] = b'|';
        wanted[b'\n' as usize % 16] = b'\n';
        // SAFETY: both are 16 bytes, and any of them mean something.
        unsafe { std::mem::transmute::<[u8; 16], __m128i>(wanted) }
    };

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    pub fn index_avx2(bytes: &[u8], places: &mut [u16]) -> usize {
        index_with(bytes, places, |block| {
            let half = |at: usize| {
                // SAFETY: reads 32 of the 64 bytes of the block, from 0 or from 32, at any alignment.
                let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().add(at).cast()) };
                let wanted = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(WANTED), bytes);
                u64::from(_mm256_movemask_epi8(_mm256_cmpeq_epi8(wanted, bytes)) as u32)
            };
            half(0) | half(BLOCK / 2) << 32
        })
    }

    /// SSE2 is part of every x86-64.
    #[inline(always)]
    pub fn marks_sse2(block: &[u8; BLOCK]) -> u64 {
        // SAFETY: SSE2 is there; reads 16 of the 64 bytes of the block, from 0, 16, 32 or 48, at any
        // alignment.
        let quarter = |at: usize| unsafe {
            let bytes = _mm_loadu_si128(block.as_ptr().add(at).cast());
            let pipes = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'|' as i8));
            let newlines = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b'\n' as i8));
            u64::from(_mm_movemask_epi8(_mm_or_si128(pipes, newlines)) as u16)
        };
        quarter(0) | quarter(16) << 16 | quarter(32) << 32 | quarter(48) << 48
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::BLOCK;
    use std::arch::aarch64::*;

    /// NEON is part of every aarch64 that Rust's standard targets name. Each byte keeps the bit of its
    /// place, and three rounds of adding neighbours bring eight bits into one byte.
    #[inline(always)]
    pub fn marks_neon(block: &[u8; BLOCK]) -> u64 {
        const PLACES: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
        // SAFETY: NEON is there; every load reads 16 bytes of an array that has them: the places, or
        // the block from 0, 16, 32 or 48.
        unsafe {
            let places = vld1q_u8(PLACES.as_ptr());
            let quarter = |at: usize| {
                let bytes = vld1q_u8(block.as_ptr().add(at));
                let pipes = vceqq_u8(bytes, vdupq_n_u8(b'|'));
                let newlines = vceqq_u8(bytes, vdupq_n_u8(b'\n'));
                vandq_u8(vorrq_u8(pipes, newlines), places)
            };
            let front = vpaddq_u8(quarter(0), quarter(16));
            let back = vpaddq_u8(quarter(32), quarter(48));
            let all = vpaddq_u8(front, back);
            vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(all, all)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What each variant of this machine finds.
    fn all(bytes: &[u8], room: usize) -> Vec<Vec<u16>> {
        type Variant = fn(&[u8], &mut [u16]) -> usize;
        let variants: &[Variant] = &[
            index_plain,
            index,
            #[cfg(target_arch = "x86_64")]
            |bytes, places| index_with(bytes, places, x86::marks_sse2),
        ];
        let of = |variant: &Variant| {
            let mut places = vec![7; room];
            let found = variant(bytes, &mut places);
            places.truncate(found);
            places
        };
        variants.iter().map(of).collect()
    }

    proptest! {
        #[test]
        fn every_variant_finds_every_separator(
            bytes in prop::collection::vec(
                prop_oneof![3 => any::<u8>(), 1 => Just(b'|'), 1 => Just(b'\n'),
                    1 => prop::sample::select(&b":\x0b\x09\x7b\x7d\x8a\xfc\0"[..])], 0..400),
        ) {
            let places = bytes.iter().enumerate().filter(|(_, byte)| is_separator(**byte));
            let expect: Vec<u16> = places.map(|(at, _)| at as u16).collect();
            for found in all(&bytes, bytes.len() + BLOCK) {
                prop_assert_eq!(&found, &expect);
            }
            // Without room some are left out and the others are right.
            for found in all(&bytes, bytes.len() / 4 + BLOCK) {
                prop_assert_eq!(&found[..], &expect[..found.len()]);
            }
        }
    }

    #[test]
    fn a_text_of_separators_fills_all_the_room() {
        for length in [0, 1, 63, 64, 65, 128, 1_000] {
            for found in all(&vec![b'|'; length], length + BLOCK) {
                assert_eq!(found, (0..length as u16).collect::<Vec<_>>());
            }
        }
    }
}
