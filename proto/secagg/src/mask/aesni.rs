//! AES-NI: one block in an instruction, eight blocks in flight. It knows lanes only
//! by their width.
#![expect(unsafe_code, reason = "loads and stores of vectors go through pointers")]

use core::arch::x86_64::*;
use core::hint::black_box;

use super::lane::Lane;
use super::schedule::{RoundKeys, Schedule};
use super::stream::{BLOCKS, Group};

/// Round keys of `key`, for every kernel of this architecture.
#[target_feature(enable = "aes")]
pub(super) fn expand(key: &[u8; 32]) -> Schedule {
    Schedule::expand(key, |word| {
        // All four columns are the word: to shift rows changes nothing, and what
        // remains of the last round under a zero key is the S-box.
        let columns = _mm_set1_epi32(word.cast_signed());
        _mm_cvtsi128_si32(_mm_aesenclast_si128(columns, _mm_setzero_si128())).cast_unsigned()
    })
}

/// Adds (or subtracts) the stream, from group `first` on, to `groups`.
#[target_feature(enable = "aes")]
pub(super) fn apply<L: Lane, const MINUS: bool>(
    keys: &RoundKeys,
    first: u64,
    groups: &mut [Group],
) {
    let batches = groups.as_flattened_mut().as_chunks_mut::<16>().0.as_chunks_mut::<8>().0;
    for (batch, number) in batches.iter_mut().zip(first.wrapping_mul(BLOCKS as u64 / 8)..) {
        // Read anew for each batch: otherwise the compiler would keep copies of
        // the round keys on the stack, where nobody wipes them.
        let [whitening, rounds @ .., last] = &black_box(keys).0;
        let counter = number.wrapping_mul(8).swap_bytes().cast_signed();
        let base = _mm_xor_si128(_mm_set_epi64x(counter, 0), load(whitening));
        let mut state = [base; 8];
        for (block, state) in (0..).zip(&mut state) {
            *state = _mm_xor_si128(*state, _mm_set_epi64x(block << 56, 0));
        }
        for round in rounds {
            let key = load(round);
            for state in &mut state {
                *state = _mm_aesenc_si128(*state, key);
            }
        }
        let key = load(last);
        for (lanes, state) in batch.iter_mut().zip(state) {
            let stream = _mm_aesenclast_si128(state, key);
            store(lanes, fold::<L, MINUS>(load(lanes), stream));
        }
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn fold<L: Lane, const MINUS: bool>(lanes: __m128i, stream: __m128i) -> __m128i {
    match (L::BYTES, MINUS) {
        (2, false) => _mm_add_epi16(lanes, stream),
        (2, true) => _mm_sub_epi16(lanes, stream),
        (_, false) => _mm_add_epi32(lanes, stream),
        (_, true) => _mm_sub_epi32(lanes, stream),
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the reference covers the 16 bytes; no alignment is asked for.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
fn store(bytes: &mut [u8; 16], vector: __m128i) {
    // SAFETY: the reference covers the 16 bytes; no alignment is asked for.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) }
}
