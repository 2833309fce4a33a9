//! Long-lived Ed25519 identities: who signs, and who is believed. Certified out
//! of band; these are not the TLS keys. It knows nothing of what is signed.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::digest::{HexError, hash, parse_hex32};

/// Bytes of an Ed25519 signature (RFC 8032).
pub type Signature = [u8; 64];

/// The public half of an [`Identity`]: a 32-byte Ed25519 key. `Display` is hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey(pub [u8; 32]);

impl VerifyingKey {
    /// Checks a signature over `message`.
    ///
    /// # Errors
    /// [`IdentityError::BadSignature`] if it is not this key's signature of this
    /// message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), IdentityError> {
        UnparsedPublicKey::new(&ED25519, &self.0)
            .verify(message, signature)
            .map_err(|_| IdentityError::BadSignature)
    }

    /// A short name for people to compare over the telephone: eight groups of
    /// four hexadecimal digits of the key's hash.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let digest = hash("key fingerprint", &[&self.0]).0;
        let groups: Vec<String> =
            digest.as_chunks::<2>().0.iter().take(8).map(hex::encode).collect();
        groups.join("-")
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`HexError`] if the text is not exactly that.
    pub fn from_hex(text: &str) -> Result<Self, HexError> {
        parse_hex32(text).map(Self)
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.fingerprint())
    }
}

/// An Ed25519 signing key. Not `Clone`, not serialisable, printed redacted; the
/// library wipes the key material when it is dropped.
pub struct Identity {
    pair: Ed25519KeyPair,
    public: VerifyingKey,
}

impl Identity {
    /// Draws a new identity from the cryptographic library's own generator.
    ///
    /// # Errors
    /// [`IdentityError::Library`] if the system gives no randomness.
    pub fn generate() -> Result<Self, IdentityError> {
        Self::wrap(Ed25519KeyPair::generate().map_err(|_| IdentityError::Library)?)
    }

    /// The identity of a 32-byte RFC 8032 seed, for keys that are derived or
    /// restored from elsewhere. The seed must be secret and uniformly random.
    ///
    /// # Errors
    /// [`IdentityError::Library`] if the library refuses the seed.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, IdentityError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| IdentityError::Library)?;
        Self::wrap(pair)
    }

    /// Reads an identity from PKCS#8, version 1 or 2.
    ///
    /// # Errors
    /// [`IdentityError::Pkcs8`] if the bytes are no Ed25519 key.
    pub fn from_pkcs8(document: &[u8]) -> Result<Self, IdentityError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(document)
            .map_err(|_| IdentityError::Pkcs8)?;
        Self::wrap(pair)
    }

    /// The identity as PKCS#8 version 2, to be stored with care.
    #[must_use]
    pub fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        match self.pair.to_pkcs8() {
            Ok(document) => Zeroizing::new(document.as_ref().to_vec()),
            // The pair was accepted when it was built, so this cannot happen; an
            // empty document is refused by every reader.
            Err(_) => Zeroizing::new(Vec::new()),
        }
    }

    /// The public half.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        self.public
    }

    /// Signs `message` (RFC 8032; deterministic).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let mut out = [0u8; 64];
        out.copy_from_slice(self.pair.sign(message).as_ref());
        out
    }

    fn wrap(pair: Ed25519KeyPair) -> Result<Self, IdentityError> {
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| IdentityError::Library)?;
        Ok(Self { pair, public: VerifyingKey(bytes) })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity {{ public: {:?}, secret: <redacted> }}", self.public)
    }
}

/// What can be wrong with keys and signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The signature is not this key's signature of this message.
    #[error("the signature does not verify")]
    BadSignature,
    /// The document is no Ed25519 key.
    #[error("the document is no Ed25519 private key in PKCS#8; restore it or enrol anew")]
    Pkcs8,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed to make a key; check the system's randomness source")]
    Library,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8032_test_vector_2() {
        let mut seed = [0u8; 32];
        hex::decode_to_slice(
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            &mut seed,
        )
        .unwrap();
        let identity = Identity::from_seed(&seed).unwrap();
        assert_eq!(
            identity.verifying_key().to_string(),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
        );
        assert_eq!(
            hex::encode(identity.sign(&[0x72])),
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        );
    }

    #[test]
    fn pkcs8_round_trips_and_refuses() {
        let identity = Identity::generate().unwrap();
        let again = Identity::from_pkcs8(&identity.to_pkcs8()).unwrap();
        assert_eq!(again.verifying_key(), identity.verifying_key());
        assert_eq!(again.sign(b"m"), identity.sign(b"m"));
        assert_eq!(Identity::from_pkcs8(b"nonsense").err(), Some(IdentityError::Pkcs8));
    }

    #[test]
    fn signatures_bind_key_and_message() {
        let (a, b) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let signature = a.sign(b"message");
        assert!(a.verifying_key().verify(b"message", &signature).is_ok());
        assert!(a.verifying_key().verify(b"massage", &signature).is_err());
        assert!(b.verifying_key().verify(b"message", &signature).is_err());
        assert!(a.verifying_key().verify(b"message", &signature[..63]).is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let seed = [0xab; 32];
        let text = format!("{:?}", Identity::from_seed(&seed).unwrap());
        assert!(text.contains("<redacted>") && !text.contains("abab"));
    }

    #[test]
    fn fingerprint_and_hex() {
        let key = Identity::generate().unwrap().verifying_key();
        assert_eq!(VerifyingKey::from_hex(&key.to_string()), Ok(key));
        assert_eq!(key.fingerprint().len(), 8 * 4 + 7);
    }
}
