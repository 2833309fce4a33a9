//! Hybrid key agreement of a pair of nodes: X25519 (RFC 7748) and ML-KEM-768
//! (FIPS 203), put together by HKDF so that the root is secret while either
//! holds. Both nodes encapsulate to each other, so that each can confirm, within
//! one flight, that it holds the secrets of its direction. Key pairs and
//! encapsulations are drawn by the cryptographic library from the operating
//! system. It knows no message and no ratchet.
//!
//! ```text
//! confirmation i->j = KDF(salt = H(transcript, i, j, ct_ij), ss_ij || x_ij)
//! root_ij (i < j)   = KDF(salt = H(transcript, i, j, ct_ij, ct_ji), ss_ij || ss_ji || x_ij)
//! ```

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::kem::{Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};
use zeroize::Zeroizing;

use crate::digest::{Digest, hash};
use crate::fault::Fault;
use crate::ids::NodeIndex;
use crate::keys::extract_and_expand;
use crate::messages::{KEM_CIPHERTEXT, KEM_KEY, PublicKeys};
use crate::secret::{ChainKey, KemSecret, SharedPoint};

/// A node's secret halves for one epoch; the library wipes them when dropped.
pub(crate) struct EpochKeys {
    x25519: PrivateKey,
    kem: DecapsulationKey,
}

impl EpochKeys {
    /// Fresh keys and their public halves.
    pub(crate) fn generate() -> Result<(Self, PublicKeys), Fault> {
        Self::try_generate().ok_or(Fault::Crypto { what: "epoch key generation" })
    }

    fn try_generate() -> Option<(Self, PublicKeys)> {
        let x25519 = PrivateKey::generate(&X25519).ok()?;
        let kem = DecapsulationKey::generate(&ML_KEM_768).ok()?;
        let kem_key = kem.encapsulation_key().ok()?.key_bytes().ok()?;
        let public = PublicKeys {
            x25519: x25519.compute_public_key().ok()?.as_ref().try_into().ok()?,
            kem_key: Box::new(kem_key.as_ref().try_into().ok()?),
        };
        Some((Self { x25519, kem }, public))
    }

    /// The X25519 agreement with a peer's key.
    ///
    /// # Errors
    /// What is wrong with the peer's key: a point of small order gives the
    /// all-zero secret, which is refused (RFC 7748, section 6.1).
    pub(crate) fn agree(&self, peer: &[u8; 32]) -> Result<SharedPoint, &'static str> {
        agree(&self.x25519, UnparsedPublicKey::new(&X25519, peer), (), |secret| {
            let bytes: &[u8; 32] = secret.try_into().map_err(|_| ())?;
            if bytes.iter().fold(0, |all, byte| all | byte) == 0 {
                return Err(());
            }
            Ok(SharedPoint::copied(bytes))
        })
        .map_err(|()| "its X25519 key is of small order")
    }

    /// Opens a peer's encapsulation. A ciphertext of the right length never
    /// fails; a wrong one gives a secret that the confirmation exposes.
    pub(crate) fn decapsulate(
        &self,
        ciphertext: &[u8; KEM_CIPHERTEXT],
    ) -> Result<KemSecret, Fault> {
        let failed = |_| Fault::Crypto { what: "ML-KEM decapsulation" };
        let secret =
            self.kem.decapsulate(Ciphertext::from(ciphertext.as_slice())).map_err(failed)?;
        kem_secret(secret.as_ref())
    }
}

/// Whether a peer's keys can be used at all: the ML-KEM-768 key passes the check of
/// FIPS 203, section 7.2, and the X25519 key is not of small order (RFC 7748,
/// section 6.1). A throwaway key shows the latter.
pub(crate) fn check_keys(keys: &PublicKeys) -> Result<(), &'static str> {
    let throwaway = PrivateKey::generate(&X25519).map_err(|_| "its X25519 key cannot be tried")?;
    agree(&throwaway, UnparsedPublicKey::new(&X25519, &keys.x25519), (), |secret| {
        if secret.iter().fold(0, |all, byte| all | byte) == 0 { Err(()) } else { Ok(()) }
    })
    .map_err(|()| "its X25519 key is of small order")?;
    encapsulate(&keys.kem_key).map(drop).ok_or("its ML-KEM-768 key fails the FIPS 203 check")
}

/// Encapsulates to a peer's key.
///
/// # Errors
/// `None` if the key fails the check of FIPS 203, section 7.2.
pub(crate) fn encapsulate(
    kem_key: &[u8; KEM_KEY],
) -> Option<(Box<[u8; KEM_CIPHERTEXT]>, KemSecret)> {
    let key = EncapsulationKey::new(&ML_KEM_768, kem_key).ok()?;
    let (ciphertext, secret) = key.encapsulate().ok()?;
    let ciphertext = Box::new(ciphertext.as_ref().try_into().ok()?);
    Some((ciphertext, kem_secret(secret.as_ref()).ok()?))
}

/// Proof to `to` that `from` holds the secrets of this direction.
pub(crate) fn confirmation(
    transcript: &Digest,
    from: NodeIndex,
    to: NodeIndex,
    ciphertext: &[u8; KEM_CIPHERTEXT],
    secret: &KemSecret,
    point: &SharedPoint,
) -> Result<[u8; 32], Fault> {
    let (from, to) = (from.to_bytes(), to.to_bytes());
    let salt = hash("confirmation salt", &[&transcript.0, &from, &to, ciphertext]);
    let input = joined(&[secret.expose(), point.expose()]);
    let mut out = [0u8; 32];
    extract_and_expand(&salt, &input, "confirmation", &[&from, &to], &mut out)?;
    Ok(out)
}

/// One direction of a pair: who encapsulated, what was sent, what it holds.
pub(crate) struct Direction<'a> {
    pub(crate) from: NodeIndex,
    pub(crate) ciphertext: &'a [u8; KEM_CIPHERTEXT],
    pub(crate) secret: &'a KemSecret,
}

/// The first link of the pair's ratchet; both nodes compute the same, whichever
/// way round they name the directions.
pub(crate) fn first_link(
    transcript: &Digest,
    one: &Direction<'_>,
    other: &Direction<'_>,
    point: &SharedPoint,
) -> Result<ChainKey, Fault> {
    let (low, high) = if one.from < other.from { (one, other) } else { (other, one) };
    let (i, j) = (low.from.to_bytes(), high.from.to_bytes());
    let salt = hash("root salt", &[&transcript.0, &i, &j, low.ciphertext, high.ciphertext]);
    let input = joined(&[low.secret.expose(), high.secret.expose(), point.expose()]);
    ChainKey::filled(|out| extract_and_expand(&salt, &input, "chain", &[], out))
}

/// Concatenation of secrets of fixed length, allocated once and wiped.
fn joined(secrets: &[&[u8; 32]]) -> Zeroizing<Vec<u8>> {
    let mut joined = Zeroizing::new(Vec::with_capacity(secrets.len() * 32));
    for secret in secrets {
        joined.extend_from_slice(secret.as_slice());
    }
    joined
}

fn kem_secret(bytes: &[u8]) -> Result<KemSecret, Fault> {
    let bytes = bytes.try_into().map_err(|_| Fault::Crypto { what: "ML-KEM secret length" })?;
    Ok(KemSecret::copied(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unhex(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    /// RFC 7748, section 6.1, through the call the protocol makes.
    #[test]
    fn rfc7748_diffie_hellman() {
        let private = unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
        let (keys, _) = EpochKeys::generate().unwrap();
        let alice =
            EpochKeys { x25519: PrivateKey::from_private_key(&X25519, &private).unwrap(), ..keys };
        let bob = unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        assert_eq!(
            alice.agree(&bob).unwrap().expose(),
            &unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
        );
    }

    #[test]
    fn both_ends_find_the_same_chain() {
        let transcript = hash("t", &[]);
        let (a, a_public) = EpochKeys::generate().unwrap();
        let (b, b_public) = EpochKeys::generate().unwrap();
        let (i, j) = (NodeIndex(3), NodeIndex(7));
        let (ct_ij, ss_ij) = encapsulate(&b_public.kem_key).unwrap();
        let (ct_ji, ss_ji) = encapsulate(&a_public.kem_key).unwrap();
        let (x_a, x_b) = (a.agree(&b_public.x25519).unwrap(), b.agree(&a_public.x25519).unwrap());
        let (ss_ij_b, ss_ji_a) = (b.decapsulate(&ct_ij).unwrap(), a.decapsulate(&ct_ji).unwrap());
        let confirm =
            |from, to, ct: &_, ss: &_, x: &_| confirmation(&transcript, from, to, ct, ss, x);
        assert_eq!(
            confirm(i, j, &ct_ij, &ss_ij, &x_a).unwrap(),
            confirm(i, j, &ct_ij, &ss_ij_b, &x_b).unwrap()
        );
        assert_ne!(
            confirm(i, j, &ct_ij, &ss_ij, &x_a).unwrap(),
            confirm(j, i, &ct_ij, &ss_ij, &x_a).unwrap()
        );
        let direction = |from, ciphertext, secret| Direction { from, ciphertext, secret };
        let chain = |one, other, x: &_| *first_link(&transcript, &one, &other, x).unwrap().expose();
        let at_a = chain(direction(i, &*ct_ij, &ss_ij), direction(j, &*ct_ji, &ss_ji_a), &x_a);
        let at_b = chain(direction(j, &*ct_ji, &ss_ji), direction(i, &*ct_ij, &ss_ij_b), &x_b);
        assert_eq!(at_a, at_b);
        // Either secret alone changes the chain.
        let (_, wrong) = encapsulate(&a_public.kem_key).unwrap();
        assert_ne!(at_a, chain(direction(i, &*ct_ij, &ss_ij), direction(j, &*ct_ji, &wrong), &x_a));
        let (c, _) = EpochKeys::generate().unwrap();
        let x_c = c.agree(&b_public.x25519).unwrap();
        assert_ne!(
            at_a,
            chain(direction(i, &*ct_ij, &ss_ij), direction(j, &*ct_ji, &ss_ji_a), &x_c)
        );
    }

    #[test]
    fn bad_public_keys_are_refused() {
        let (keys, PublicKeys { mut kem_key, .. }) = EpochKeys::generate().unwrap();
        assert!(keys.agree(&[0; 32]).is_err());
        let mut one = [0; 32];
        one[0] = 1;
        assert!(keys.agree(&one).is_err());
        assert!(encapsulate(&kem_key).is_some());
        // A coefficient of 4095 is above q = 3329 (FIPS 203, section 7.2).
        kem_key[0] = 0xff;
        kem_key[1] |= 0x0f;
        assert!(encapsulate(&kem_key).is_none());
    }

    #[test]
    fn an_altered_ciphertext_gives_another_secret() {
        let (keys, PublicKeys { kem_key, .. }) = EpochKeys::generate().unwrap();
        let (mut ciphertext, secret) = encapsulate(&kem_key).unwrap();
        assert_eq!(keys.decapsulate(&ciphertext).unwrap().expose(), secret.expose());
        ciphertext[5] ^= 1;
        assert_ne!(keys.decapsulate(&ciphertext).unwrap().expose(), secret.expose());
    }
}
