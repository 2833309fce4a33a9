//! The two lane types and their view as bytes. It knows no cipher.
#![expect(unsafe_code, reason = "a slice of integers is seen as its bytes without a copy")]

use core::fmt::Debug;

/// A lane of a vector: `u16` or `u32`, a little-endian word of the mask stream.
pub trait Lane: sealed::Sealed + Copy + Default + Eq + Debug + Send + Sync + 'static {
    /// Size in bytes: 2 or 4.
    const BYTES: usize;
}

impl Lane for u16 {
    const BYTES: usize = 2;
}

impl Lane for u32 {
    const BYTES: usize = 4;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u16 {}
    impl Sealed for u32 {}
}

/// The memory of `lanes`, in the machine's byte order.
pub(super) fn bytes_of<L: Lane>(lanes: &mut [L]) -> &mut [u8] {
    let length = size_of_val(lanes);
    // SAFETY: `Lane` is sealed, so `L` is `u16` or `u32`: no padding, and any bytes
    // are a valid value. The pointer and the length are those of `lanes`, which
    // stays borrowed as long as the result lives; `u8` needs no alignment.
    unsafe { core::slice::from_raw_parts_mut(lanes.as_mut_ptr().cast(), length) }
}

/// Adds (or subtracts, if `MINUS`) the little-endian words of `stream` to the lanes
/// of type `L` whose memory is `lanes`. Both have the same length.
#[inline]
pub(super) fn fold<L: Lane, const MINUS: bool>(lanes: &mut [u8], stream: &[u8]) {
    if L::BYTES == 2 {
        let masks = stream.as_chunks::<2>().0.iter().map(|mask| u16::from_le_bytes(*mask));
        for (lane, mask) in lanes.as_chunks_mut::<2>().0.iter_mut().zip(masks) {
            let old = u16::from_ne_bytes(*lane);
            let new = if MINUS { old.wrapping_sub(mask) } else { old.wrapping_add(mask) };
            *lane = new.to_ne_bytes();
        }
    } else {
        let masks = stream.as_chunks::<4>().0.iter().map(|mask| u32::from_le_bytes(*mask));
        for (lane, mask) in lanes.as_chunks_mut::<4>().0.iter_mut().zip(masks) {
            let old = u32::from_ne_bytes(*lane);
            let new = if MINUS { old.wrapping_sub(mask) } else { old.wrapping_add(mask) };
            *lane = new.to_ne_bytes();
        }
    }
}
