//! VAES with AVX2: two blocks in an instruction, sixteen blocks in flight. It knows
//! lanes only by their width.
#![expect(unsafe_code, reason = "loads and stores of vectors go through pointers")]

use core::arch::x86_64::*;
use core::hint::black_box;

use super::lane::Lane;
use super::schedule::RoundKeys;
use super::stream::{BLOCKS, Group};

/// Adds (or subtracts) the stream, from group `first` on, to `groups`.
#[target_feature(enable = "vaes,avx2")]
pub(super) fn apply<L: Lane, const MINUS: bool>(
    keys: &RoundKeys,
    first: u64,
    groups: &mut [Group],
) {
    let batches = groups.as_flattened_mut().as_chunks_mut::<32>().0.as_chunks_mut::<8>().0;
    for (batch, number) in batches.iter_mut().zip(first.wrapping_mul(BLOCKS as u64 / 16)..) {
        // Read anew for each batch: otherwise the compiler would keep copies of
        // the round keys on the stack, where nobody wipes them.
        let [whitening, rounds @ .., last] = &black_box(keys).0;
        let counter = number.wrapping_mul(16).swap_bytes().cast_signed();
        let base = _mm256_set_epi64x(counter, 0, counter, 0);
        let base = _mm256_xor_si256(base, twice(whitening));
        let mut state = [base; 8];
        for (pair, state) in (0..).zip(&mut state) {
            let step = _mm256_set_epi64x((2 * pair + 1) << 56, 0, (2 * pair) << 56, 0);
            *state = _mm256_xor_si256(*state, step);
        }
        for round in rounds {
            let key = twice(round);
            for state in &mut state {
                *state = _mm256_aesenc_epi128(*state, key);
            }
        }
        let key = twice(last);
        for (lanes, state) in batch.iter_mut().zip(state) {
            let stream = _mm256_aesenclast_epi128(state, key);
            store(lanes, fold::<L, MINUS>(load(lanes), stream));
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn fold<L: Lane, const MINUS: bool>(lanes: __m256i, stream: __m256i) -> __m256i {
    match (L::BYTES, MINUS) {
        (2, false) => _mm256_add_epi16(lanes, stream),
        (2, true) => _mm256_sub_epi16(lanes, stream),
        (_, false) => _mm256_add_epi32(lanes, stream),
        (_, true) => _mm256_sub_epi32(lanes, stream),
    }
}

/// A round key in both halves.
#[inline]
#[target_feature(enable = "avx2")]
fn twice(key: &[u8; 16]) -> __m256i {
    // SAFETY: the reference covers the 16 bytes; no alignment is asked for.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(key.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference covers the 32 bytes; no alignment is asked for.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(bytes: &mut [u8; 32], vector: __m256i) {
    // SAFETY: the reference covers the 32 bytes; no alignment is asked for.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) }
}
