//! The only source of randomness for sampling, rounding and noise: ChaCha20 with a 256-bit seed.
//!
//! It is never the generator of the training code, and its seed never leaves the process.

use std::fmt;
use std::hint::black_box;

use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, RngCore, SeedableRng};
use zeroize::Zeroizing;

use crate::error::DpError;

/// A ChaCha20 generator whose state is secret: not cloneable, not serialisable, overwritten on drop.
pub struct SecretRng {
    // Boxed, so that moving the generator leaves no copy of its state behind.
    inner: Box<ChaCha20Rng>,
}

impl SecretRng {
    /// A generator seeded with 256 bits from the operating system.
    ///
    /// # Errors
    /// [`DpError::Randomness`] if the operating system gives none; then nothing may be released.
    pub fn from_os() -> Result<Self, DpError> {
        let mut seed = Zeroizing::new([0_u8; 32]);
        getrandom::fill(&mut *seed).map_err(|e| DpError::Randomness(e.to_string()))?;
        Ok(Self { inner: Box::new(ChaCha20Rng::from_seed(*seed)) })
    }

    /// A generator with a known seed. Its noise protects nobody: for tests and simulations only.
    pub fn danger_deterministic(seed: [u8; 32]) -> Self {
        Self { inner: Box::new(ChaCha20Rng::from_seed(seed)) }
    }
}

impl RngCore for SecretRng {
    #[inline]
    fn next_u32(&mut self) -> u32 {
        self.inner.next_u32()
    }

    #[inline]
    fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.inner.fill_bytes(bytes);
    }
}

impl CryptoRng for SecretRng {}

impl Drop for SecretRng {
    fn drop(&mut self) {
        *self.inner = ChaCha20Rng::from_seed([0; 32]);
        // Keeps the overwriting from being optimised away as a dead store.
        black_box(&mut self.inner);
    }
}

impl fmt::Debug for SecretRng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretRng(<redacted>)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chacha20_known_answer() {
        // Draft-strombergson-chacha-test-vectors, TC1: 256-bit zero key, zero nonce, 20 rounds.
        let mut bytes = [0; 16];
        SecretRng::danger_deterministic([0; 32]).fill_bytes(&mut bytes);
        let expected = [
            0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90, 0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86,
            0xbd, 0x28,
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn os_seeds_differ_and_nothing_is_printed() {
        let (mut a, mut b) = (SecretRng::from_os().unwrap(), SecretRng::from_os().unwrap());
        assert_ne!([a.next_u64(), a.next_u64()], [b.next_u64(), b.next_u64()]);
        assert_eq!(format!("{a:?}"), "SecretRng(<redacted>)");
    }
}
