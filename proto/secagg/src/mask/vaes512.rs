//! VAES with AVX-512: four blocks in an instruction, a whole group in flight. It
//! knows lanes only by their width.
#![expect(unsafe_code, reason = "loads and stores of vectors go through pointers")]

use core::arch::x86_64::*;
use core::hint::black_box;

use super::lane::Lane;
use super::schedule::RoundKeys;
use super::stream::{BLOCKS, Group};

/// Adds (or subtracts) the stream, from group `first` on, to `groups`.
#[target_feature(enable = "vaes,avx512f,avx512bw")]
pub(super) fn apply<L: Lane, const MINUS: bool>(
    keys: &RoundKeys,
    first: u64,
    groups: &mut [Group],
) {
    for (group, number) in groups.iter_mut().zip(first..) {
        // Read anew for each group: otherwise the compiler would keep copies of
        // the round keys on the stack, where nobody wipes them.
        let [whitening, rounds @ .., last] = &black_box(keys).0;
        let counter = number.wrapping_mul(BLOCKS as u64).swap_bytes().cast_signed();
        let base = _mm512_set_epi64(counter, 0, counter, 0, counter, 0, counter, 0);
        let base = _mm512_xor_si512(base, four_times(whitening));
        let mut state = [base; 8];
        for (four, state) in (0i64..).step_by(4).zip(&mut state) {
            let [a, b, c, d] = [four, four + 1, four + 2, four + 3].map(|block| block << 56);
            *state = _mm512_xor_si512(*state, _mm512_set_epi64(d, 0, c, 0, b, 0, a, 0));
        }
        for round in rounds {
            let key = four_times(round);
            for state in &mut state {
                *state = _mm512_aesenc_epi128(*state, key);
            }
        }
        let key = four_times(last);
        for (lanes, state) in group.as_chunks_mut::<64>().0.iter_mut().zip(state) {
            let stream = _mm512_aesenclast_epi128(state, key);
            store(lanes, fold::<L, MINUS>(load(lanes), stream));
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn fold<L: Lane, const MINUS: bool>(lanes: __m512i, stream: __m512i) -> __m512i {
    match (L::BYTES, MINUS) {
        (2, false) => _mm512_add_epi16(lanes, stream),
        (2, true) => _mm512_sub_epi16(lanes, stream),
        (_, false) => _mm512_add_epi32(lanes, stream),
        (_, true) => _mm512_sub_epi32(lanes, stream),
    }
}

/// A round key in all four quarters.
#[inline]
#[target_feature(enable = "avx512f")]
fn four_times(key: &[u8; 16]) -> __m512i {
    // SAFETY: the reference covers the 16 bytes; no alignment is asked for.
    _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(key.as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the reference covers the 64 bytes; no alignment is asked for.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(bytes: &mut [u8; 64], vector: __m512i) {
    // SAFETY: the reference covers the 64 bytes; no alignment is asked for.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) }
}
