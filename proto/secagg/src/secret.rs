//! Distinct types for distinct secrets. Each lives on the heap (so that moving it
//! leaves no copy behind), is wiped when dropped, cannot be cloned or serialised
//! and prints `<redacted>`. This module knows no key schedule.

/// Declares a 32-byte secret.
macro_rules! secret32 {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        pub struct $name(Box<[u8; 32]>);

        #[allow(dead_code, reason = "not every kind of secret needs every constructor")]
        impl $name {
            /// A secret written in place by `fill`.
            pub(crate) fn filled<E>(
                fill: impl FnOnce(&mut [u8; 32]) -> Result<(), E>,
            ) -> Result<Self, E> {
                let mut secret = Self(Box::new([0; 32]));
                fill(&mut secret.0)?;
                Ok(secret)
            }

            /// A copy of bytes that are secret from now on.
            #[must_use]
            pub fn copied(bytes: &[u8; 32]) -> Self {
                Self(Box::new(*bytes))
            }

            /// Uniformly random.
            pub(crate) fn random(rng: &mut dyn rand_core::RngCore) -> Self {
                let mut secret = Self(Box::new([0; 32]));
                rng.fill_bytes(secret.0.as_mut());
                secret
            }

            /// The bytes, for use in a primitive.
            pub(crate) fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                zeroize::Zeroize::zeroize(self.0.as_mut());
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(<redacted>)"))
            }
        }
    )*};
}

secret32! {
    /// One link of the forward ratchet of a pair of nodes.
    ChainKey;
    /// Raw X25519 agreement of a pair.
    SharedPoint;
    /// Shared secret of one ML-KEM encapsulation.
    KemSecret;
    /// Mask edge of a pair under one context.
    EdgeKey;
    /// Single-use key that seals the shares one node deals to another.
    ShareKey;
    /// Key of the pairwise tags on survivor acknowledgements.
    AckKey;
    /// `b_u`, seed of a node's self mask under one context.
    SelfSeed;
    /// `z_u`, key under which a node escrows its edges under one context.
    EscrowSeed;
    /// A share of somebody's self seed.
    SelfShare;
    /// A share of somebody's escrow key.
    EscrowShare;
    /// Key of one mask stream.
    MaskKey;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_print_redacted() {
        assert_eq!(format!("{:?}", SelfSeed::copied(&[7; 32])), "SelfSeed(<redacted>)");
    }
}
