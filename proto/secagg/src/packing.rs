//! Packing of words to `b` bits a lane and back. The width is a constant of the
//! inner loop, so that shifts and masks are known when it is compiled; 32 lanes
//! fill exactly `b` 32-bit words. It knows bits and bytes only.

use pulp::Arch;
use zeroize::Zeroizing;

use crate::lanes::LaneBits;

/// Lanes that are packed together: 32 lanes of `b` bits are `b` words.
const GROUP: usize = 32;

/// A word that lanes are worked on in.
pub(crate) trait Word: Copy {
    fn to_u32(self) -> u32;
    fn plus(self, value: u32) -> Self;
}

impl Word for u16 {
    fn to_u32(self) -> u32 {
        u32::from(self)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the ring divides 2^16")]
    fn plus(self, value: u32) -> Self {
        self.wrapping_add(value as u16)
    }
}

impl Word for u32 {
    fn to_u32(self) -> u32 {
        self
    }

    fn plus(self, value: u32) -> Self {
        self.wrapping_add(value)
    }
}

/// Calls a function of two arguments with the width as a constant.
macro_rules! for_width {
    ($bits:expr, $function:ident, $word:ty, $first:expr, $second:expr; $($width:literal)*) => {
        match $bits.bits() {
            $($width => $function::<$width, $word>($first, $second),)*
            _ => $function::<32, $word>($first, $second),
        }
    };
}

/// The packed bytes of `words`, little-endian, unused bits zero.
pub(crate) fn pack<W: Word>(bits: LaneBits, words: &[W]) -> Vec<u8> {
    pack_behind(&[], bits, words)
}

/// [`pack`], behind the bytes of `head`.
pub(crate) fn pack_behind<W: Word>(head: &[u8], bits: LaneBits, words: &[W]) -> Vec<u8> {
    // Whole groups; the caller's vector ends inside the last one.
    let groups = words.len().div_ceil(GROUP);
    let mut out = vec![0u8; head.len() + groups * usize::from(bits.bits()) * 4];
    let (front, packed) = out.split_at_mut(head.len());
    front.copy_from_slice(head);
    for_width!(bits, pack_width, W, words, packed;
        1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    out.truncate(head.len() + bits.packed_bytes(words.len()));
    out
}

/// Adds packed lanes to `words`, in order, as far as both go.
pub(crate) fn add<W: Word>(bits: LaneBits, bytes: &[u8], words: &mut [W]) {
    // Compiled once for each instruction set; the same operations, hence the same lanes. It makes
    // unpacking half as fast again; packing, which is a chain of shifts, gains nothing.
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for_width!(bits, add_width, W, bytes, words;
                1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
        },
    );
}

fn pack_width<const BITS: usize, W: Word>(words: &[W], out: &mut [u8]) {
    let (groups, rest) = words.as_chunks::<GROUP>();
    let mut targets = out.chunks_exact_mut(BITS * 4);
    for (group, target) in groups.iter().zip(targets.by_ref()) {
        pack_group::<BITS, W>(group, target);
    }
    if !rest.is_empty()
        && let Some(target) = targets.next()
    {
        let mut last = Zeroizing::new([0u32; GROUP]);
        for (slot, word) in last.iter_mut().zip(rest) {
            *slot = word.to_u32();
        }
        pack_group::<BITS, u32>(&last, target);
    }
}

/// 32 lanes into `BITS` words. The lanes are written out one by one, so that every
/// index and shift is known when it is compiled and nothing goes through memory.
#[inline]
fn pack_group<const BITS: usize, W: Word>(group: &[W; GROUP], out: &mut [u8]) {
    let words = out.as_chunks_mut::<4>().0;
    let Some((words, _)) = words.split_first_chunk_mut::<BITS>() else { return };
    let mut held = 0u64;
    macro_rules! lanes {
        ($($position:literal)*) => {$({
            let (at, shift) = ($position * BITS / 32, $position * BITS % 32);
            held |= (u64::from(group[$position].to_u32()) & mask::<BITS>()) << shift;
            if shift + BITS >= 32 {
                #[expect(clippy::cast_possible_truncation, reason = "the rest is kept")]
                let low = held as u32;
                // Below BITS, since 32 lanes are BITS words.
                #[expect(clippy::indexing_slicing, reason = "at most 31 * BITS / 32")]
                let target = &mut words[at];
                *target = low.to_le_bytes();
                held >>= 32;
            }
        })*};
    }
    lanes!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);
    debug_assert_eq!(held, 0, "32 lanes are whole words");
}

#[inline(always)]
fn add_width<const BITS: usize, W: Word>(bytes: &[u8], words: &mut [W]) {
    let whole = words.len() / GROUP;
    let (bytes, last) = bytes.split_at(bytes.len().min(whole * BITS * 4));
    let (targets, left) = words.as_chunks_mut::<GROUP>();
    for (words, bytes) in targets.iter_mut().zip(bytes.chunks_exact(BITS * 4)) {
        for (word, value) in words.iter_mut().zip(unpack_group::<BITS>(bytes)) {
            *word = word.plus(value);
        }
    }
    // What is left of the lanes is no whole group; its bytes are read with zeros behind.
    if !left.is_empty() {
        for (word, value) in left.iter_mut().zip(unpack_group::<BITS>(last)) {
            *word = word.plus(value);
        }
    }
}

/// Up to `BITS` words of bytes into 32 lanes; what is missing counts as zero.
#[inline(always)]
fn unpack_group<const BITS: usize>(bytes: &[u8]) -> [u32; GROUP] {
    let mut packed = [0u32; GROUP + 1];
    let (whole, rest) = bytes.as_chunks::<4>();
    for (word, bytes) in packed.iter_mut().zip(whole) {
        *word = u32::from_le_bytes(*bytes);
    }
    if let (false, Some(word)) = (rest.is_empty(), packed.get_mut(whole.len())) {
        let mut last = [0u8; 4];
        last.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte);
        *word = u32::from_le_bytes(last);
    }
    core::array::from_fn(|position| {
        let (at, shift) = (position * BITS / 32, position * BITS % 32);
        #[expect(clippy::indexing_slicing, reason = "at most 31 * 32 / 32 + 1 = 32")]
        let both = u64::from(packed[at]) | u64::from(packed[at + 1]) << 32;
        #[expect(clippy::cast_possible_truncation, reason = "masked to at most 32 bits")]
        let value = ((both >> shift) & mask::<BITS>()) as u32;
        value
    })
}

const fn mask<const BITS: usize>() -> u64 {
    (1 << BITS) - 1
}
