//! Expansion of mask keys into lanes, added to or taken from a vector. It knows
//! nothing of who shares a key or what a lane means.
//!
//! The stream of a key is AES-256-CTR (NIST SP 800-38A, 6.5) from an all-zero
//! 128-bit big-endian counter block: every key is used for exactly one stream.
//! Lane `i` is the little-endian number in bytes `BYTES * i ..` of the stream, so
//! that narrow lanes use less of it.
//!
//! ```text
//! mod       the interface             tile      many masks, cache tiles, threads
//! stream    one key: any lane range   kernel    which instructions this machine has
//! schedule  round keys                lane      u16 and u32
//! vaes512, vaes, aesni, neon, portable: the same 512 bytes, made in five ways
//! ```

#[cfg(target_arch = "x86_64")]
mod aesni;
mod kernel;
mod lane;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod schedule;
mod stream;
#[cfg(test)]
mod tests;
mod tile;
#[cfg(target_arch = "x86_64")]
mod vaes;
#[cfg(target_arch = "x86_64")]
mod vaes512;

pub use crate::secret::MaskKey;
pub use kernel::{Kernel, kernel};
pub use lane::Lane;
pub use tile::{apply_all, apply_all_then, apply_all_with};

use stream::Stream;

/// Whether a mask is put on or taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Add modulo 2^16 or 2^32, whichever the lane holds.
    Plus,
    /// Subtract modulo 2^16 or 2^32.
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

/// Adds (or subtracts) the mask stream of `key` to `lanes`, from its first lane on.
pub fn apply<L: Lane>(key: &MaskKey, sign: Sign, lanes: &mut [L]) {
    apply_from(key, sign, 0, lanes);
}

/// Adds (or subtracts) the mask stream of `key` to `lanes`, where `lanes[0]` meets
/// lane number `first` of the stream. Any `first` will do; one that is a multiple
/// of 512 bytes is a little quicker.
pub fn apply_from<L: Lane>(key: &MaskKey, sign: Sign, first: u64, lanes: &mut [L]) {
    Stream::new(kernel(), key).apply(sign, first.into(), lanes);
}

/// [`apply_from`] through a given kernel, for tests and benches. One that this
/// machine lacks is replaced by [`Kernel::Portable`]: the lanes are the same.
pub fn apply_with<L: Lane>(kernel: Kernel, key: &MaskKey, sign: Sign, first: u64, lanes: &mut [L]) {
    Stream::new(kernel, key).apply(sign, first.into(), lanes);
}
