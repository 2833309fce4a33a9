//! Expansion of a mask key into lanes, added to or taken from a vector. One
//! function; a faster kernel replaces its inside and must match bit for bit. It
//! knows nothing of who shares the key.
//!
//! The stream is AES-256-CTR (NIST SP 800-38A) from an all-zero counter block:
//! every key is used for exactly one stream. Lane `i` is the little-endian
//! number in bytes `4i..4i+4` of the stream.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use zeroize::Zeroize as _;

pub use crate::secret::MaskKey;

/// Whether a mask is put on or taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Add modulo 2^32.
    Plus,
    /// Subtract modulo 2^32.
    Minus,
}

impl Sign {
    /// The other one.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
        }
    }
}

/// Adds (or subtracts) the mask stream of `key` to `lanes`, modulo 2^32.
///
/// The stream is made in tiles that stay in the first-level cache; the tile is
/// wiped afterwards.
pub fn apply(key: &MaskKey, sign: Sign, lanes: &mut [u32]) {
    const TILE_LANES: usize = 2048;
    let mut cipher = Ctr128BE::<Aes256>::new(key.expose().into(), &[0u8; 16].into());
    let mut tile = [0u8; TILE_LANES * 4];
    for lanes in lanes.chunks_mut(TILE_LANES) {
        let stream = tile.split_at_mut(lanes.len() * 4).0;
        stream.fill(0);
        cipher.apply_keystream(stream);
        let masks = stream.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        match sign {
            Sign::Plus => {
                for (lane, mask) in lanes.iter_mut().zip(masks) {
                    *lane = lane.wrapping_add(mask);
                }
            }
            Sign::Minus => {
                for (lane, mask) in lanes.iter_mut().zip(masks) {
                    *lane = lane.wrapping_sub(mask);
                }
            }
        }
    }
    tile.zeroize();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// NIST SP 800-38A, F.5.5: the cipher and its counter are the standard's.
    #[test]
    fn sp800_38a_ctr_aes256() {
        let unhex = |text: &str| hex::decode(text).unwrap();
        let key = unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let counter = unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
        let mut data = unhex(concat!(
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
            "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
        ));
        let mut cipher = Ctr128BE::<Aes256>::new_from_slices(&key, &counter).unwrap();
        cipher.apply_keystream(&mut data);
        assert_eq!(
            hex::encode(data),
            concat!(
                "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
                "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
            )
        );
    }

    /// The first blocks of the stream are the block cipher on 0, 1, 2, ... read
    /// as little-endian lanes: the layout a faster kernel has to meet.
    #[test]
    fn lanes_are_the_little_endian_counter_blocks() {
        use ctr::cipher::{BlockEncrypt as _, KeyInit as _};
        let key = MaskKey::copied(&core::array::from_fn(|i| i as u8));
        let mut lanes = vec![0u32; 4099];
        apply(&key, Sign::Plus, &mut lanes);
        let cipher = Aes256::new(key.expose().into());
        for (counter, block) in lanes.chunks(4).enumerate() {
            let mut expected = ((counter as u128).to_be_bytes()).into();
            cipher.encrypt_block(&mut expected);
            for (lane, bytes) in block.iter().zip(expected.chunks(4)) {
                assert_eq!(lane.to_le_bytes(), bytes);
            }
        }
        // FIPS 197 style vector: AES-256 of the zero block under 00 01 .. 1f.
        assert_eq!(lanes[0].to_le_bytes(), [0xf2, 0x90, 0x00, 0xb6]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn minus_undoes_plus_and_prefixes_agree(seed: [u8; 32], x in proptest::collection::vec(any::<u32>(), 0..5000), cut in 0usize..5000) {
            let key = MaskKey::copied(&seed);
            let mut y = x.clone();
            apply(&key, Sign::Plus, &mut y);
            if x.len() > 8 {
                prop_assert_ne!(&x, &y);
            }
            let mut prefix = x[..cut.min(x.len())].to_vec();
            apply(&key, Sign::Plus, &mut prefix);
            prop_assert_eq!(&y[..prefix.len()], &prefix[..]);
            apply(&key, Sign::Minus, &mut y);
            prop_assert_eq!(x, y);
        }
    }
}
