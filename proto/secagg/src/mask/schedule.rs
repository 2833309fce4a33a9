//! Round keys of AES-256 (FIPS 197, 5.2), without a table: the S-box is the
//! processor's, handed in by the kernel. It knows no counter and no lane.

use zeroize::{Zeroize as _, Zeroizing};

/// The 15 round keys of one key, in the order of encryption. They stay in one
/// place on the heap and are wiped when dropped.
pub(super) struct Schedule(Box<RoundKeys>);

/// What a kernel reads; aligned so that no round key straddles two cache lines.
#[repr(align(64))]
pub(super) struct RoundKeys(pub(super) [[u8; 16]; 15]);

impl Schedule {
    /// Expands `key`. `sub_word` puts each byte of a word through the S-box and must
    /// take the same time for every word.
    #[inline]
    pub(super) fn expand(key: &[u8; 32], sub_word: impl Fn(u32) -> u32) -> Self {
        let mut schedule = Self(Box::new(RoundKeys([[0; 16]; 15])));
        // Words are little-endian, so `RotWord` is a rotation to the right and the
        // round constant sits in the low byte.
        let mut words = Zeroizing::new([0u32; 8]);
        for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        // Each turn writes two round keys; the last of the eight turns only one.
        for (turn, pair) in schedule.0.0.chunks_mut(2).enumerate() {
            if turn > 0 {
                let [a, b, c, d, e, f, g, h] = &mut *words;
                *a ^= sub_word(h.rotate_right(8)) ^ (1 << (turn - 1));
                *b ^= *a;
                *c ^= *b;
                *d ^= *c;
                *e ^= sub_word(*d);
                *f ^= *e;
                *g ^= *f;
                *h ^= *g;
            }
            for (bytes, word) in
                pair.as_flattened_mut().as_chunks_mut::<4>().0.iter_mut().zip(&*words)
            {
                *bytes = word.to_le_bytes();
            }
        }
        schedule
    }

    /// The round keys, for a kernel.
    pub(super) fn keys(&self) -> &RoundKeys {
        &self.0
    }

    fn wipe(&mut self) {
        self.0.0.zeroize();
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slow S-box from its definition: the inverse in GF(2^8), then the affine map.
    fn s_box(byte: u8) -> u8 {
        let times = |a: u8, b: u8| {
            (0..8).rev().fold(0u8, |product, bit| {
                let doubled = (product << 1) ^ if product & 0x80 == 0 { 0 } else { 0x1b };
                doubled ^ if b >> bit & 1 == 1 { a } else { 0 }
            })
        };
        let inverse = (0..254).fold(1, |power, _| times(power, byte));
        (0..5).fold(0x63, |sum, turn| sum ^ inverse.rotate_left(turn))
    }

    fn slow(word: u32) -> u32 {
        u32::from_le_bytes(word.to_le_bytes().map(s_box))
    }

    /// FIPS 197, A.3.
    #[test]
    fn expansion_is_the_standards() {
        let key = hex::decode("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let key: [u8; 32] = key.unwrap().try_into().unwrap();
        let schedule = Schedule::expand(&key, slow);
        let round_keys = schedule.keys().0.map(hex::encode);
        assert_eq!(round_keys[0], "603deb1015ca71be2b73aef0857d7781");
        assert_eq!(round_keys[2], "9ba354118e6925afa51a8b5f2067fcde");
        assert_eq!(round_keys[3], "a8b09c1a93d194cdbe49846eb75d5b9a");
        assert_eq!(round_keys[14], "fe4890d1e6188d0b046df344706c631e");
    }

    #[test]
    fn wiping_leaves_nothing() {
        let mut schedule = Schedule::expand(&[7; 32], slow);
        schedule.wipe();
        assert_eq!(schedule.keys().0, [[0; 16]; 15]);
    }
}
