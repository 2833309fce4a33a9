//! The ARMv8 cryptographic extension: one block in an instruction, eight blocks in
//! flight. It knows lanes only by their width.
#![expect(unsafe_code, reason = "loads and stores of vectors go through pointers")]

use core::arch::aarch64::*;
use core::hint::black_box;

use super::lane::Lane;
use super::schedule::{RoundKeys, Schedule};
use super::stream::{BLOCKS, Group};

/// Round keys of `key`.
#[target_feature(enable = "neon,aes")]
pub(super) fn expand(key: &[u8; 32]) -> Schedule {
    Schedule::expand(key, |word| {
        // All four columns are the word: to shift rows changes nothing, and what
        // remains of the instruction under a zero key is the S-box.
        let columns = vreinterpretq_u8_u32(vdupq_n_u32(word));
        vgetq_lane_u32::<0>(vreinterpretq_u32_u8(vaeseq_u8(columns, vdupq_n_u8(0))))
    })
}

/// Adds (or subtracts) the stream, from group `first` on, to `groups`.
#[target_feature(enable = "neon,aes")]
pub(super) fn apply<L: Lane, const MINUS: bool>(
    keys: &RoundKeys,
    first: u64,
    groups: &mut [Group],
) {
    let batches = groups.as_flattened_mut().as_chunks_mut::<16>().0.as_chunks_mut::<8>().0;
    for (batch, number) in batches.iter_mut().zip(first.wrapping_mul(BLOCKS as u64 / 8)..) {
        // Read anew for each batch: otherwise the compiler would keep copies of
        // the round keys on the stack, where nobody wipes them.
        let [rounds @ .., before, last] = &black_box(keys).0;
        let counter = number.wrapping_mul(8).swap_bytes();
        let mut state = [vdupq_n_u8(0); 8];
        for (block, state) in (0..).zip(&mut state) {
            // The counter of a batch ends in zero bits: this counts on from it.
            let low = vdup_n_u64(counter | block << 56);
            *state = vreinterpretq_u8_u64(vcombine_u64(vdup_n_u64(0), low));
        }
        // The instruction adds its key before the S-box, not after the mixing.
        for round in rounds {
            let key = load(round);
            for state in &mut state {
                *state = vaesmcq_u8(vaeseq_u8(*state, key));
            }
        }
        let (before, last) = (load(before), load(last));
        for (lanes, state) in batch.iter_mut().zip(state) {
            let stream = veorq_u8(vaeseq_u8(state, before), last);
            store(lanes, fold::<L, MINUS>(load(lanes), stream));
        }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn fold<L: Lane, const MINUS: bool>(lanes: uint8x16_t, stream: uint8x16_t) -> uint8x16_t {
    if L::BYTES == 2 {
        let (lanes, stream) = (vreinterpretq_u16_u8(lanes), vreinterpretq_u16_u8(stream));
        let sum = if MINUS { vsubq_u16(lanes, stream) } else { vaddq_u16(lanes, stream) };
        vreinterpretq_u8_u16(sum)
    } else {
        let (lanes, stream) = (vreinterpretq_u32_u8(lanes), vreinterpretq_u32_u8(stream));
        let sum = if MINUS { vsubq_u32(lanes, stream) } else { vaddq_u32(lanes, stream) };
        vreinterpretq_u8_u32(sum)
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the reference covers the 16 bytes; no alignment is asked for.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(bytes: &mut [u8; 16], vector: uint8x16_t) {
    // SAFETY: the reference covers the 16 bytes; no alignment is asked for.
    unsafe { vst1q_u8(bytes.as_mut_ptr(), vector) }
}
