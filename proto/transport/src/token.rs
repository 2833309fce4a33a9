//! The one-time enrolment token that an operator carries to an agency, or to a person who is to have
//! a role.
//!
//! `trb1_` and base64url (no padding) of: length of the member's name (1 byte), the name, SHA-256
//! fingerprint of the aggregator's authority (32), secret (32), expiry in seconds since 1970 (8,
//! big-endian), and the first 4 bytes of SHA-256 over all that, which catches a token that was cut
//! while copying. The fingerprint lets the node authenticate the aggregator before it trusts
//! anything; the aggregator stores only [`EnrolmentToken::secret_hash`].

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tributary_wire::Member;
use zeroize::Zeroizing;

use crate::certificate::Fingerprint;

const PREFIX: &str = "trb1_";
const CHECKSUM: usize = 4;
/// What precedes the hashed token, so that the hash can be nothing else's.
const HASH_LABEL: &[u8] = b"tributary/enrolment-token/v1\0";

/// A token: a secret. It has no `Clone`; [`fmt::Display`] prints it in full for the operator, and
/// must not be used in logs.
pub struct EnrolmentToken {
    member: Member,
    ca: Fingerprint,
    secret: Zeroizing<[u8; 32]>,
    expires: u64,
}

/// Text that is no token, or no longer one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Another prefix.
    #[error("an enrolment token starts with {PREFIX}")]
    Prefix,
    /// Cut or mistyped.
    #[error("the enrolment token is damaged; copy it again in full")]
    Damaged,
    /// An expiry before 1970.
    #[error("the enrolment token's expiry is out of bounds")]
    Expiry,
    /// Past its time.
    #[error("the enrolment token expired at {0}; ask for a new one, and check the clock")]
    Expired(String),
    /// The random generator failed.
    #[error("no randomness for an enrolment token")]
    Randomness,
}

impl EnrolmentToken {
    /// Draws a token for `member`, valid until `expires` (whole seconds).
    ///
    /// # Errors
    /// [`TokenError::Expiry`] or [`TokenError::Randomness`].
    pub fn new(
        member: impl Into<Member>,
        ca: Fingerprint,
        expires: SystemTime,
    ) -> Result<Self, TokenError> {
        let member = member.into();
        let expires = expires.duration_since(UNIX_EPOCH).map_err(|_| TokenError::Expiry)?.as_secs();
        let mut secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(secret.as_mut_slice()).map_err(|_| TokenError::Randomness)?;
        Ok(Self { member, ca, secret, expires })
    }

    /// Reads a token; surrounding white space is ignored.
    ///
    /// # Errors
    /// [`TokenError::Prefix`] or [`TokenError::Damaged`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(TokenError::Prefix)?;
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Damaged)?;
        Self::from_bytes(&Zeroizing::new(bytes)).ok_or(TokenError::Damaged)
    }

    /// Whom the token is for.
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Fingerprint of the authority that the aggregator must show.
    pub fn ca_fingerprint(&self) -> Fingerprint {
        self.ca
    }

    /// When the token ends.
    pub fn expires(&self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.expires))
    }

    /// Refuses a token past its time.
    ///
    /// # Errors
    /// [`TokenError::Expired`] from the second of the expiry on.
    pub fn check_expiry(&self, now: SystemTime) -> Result<(), TokenError> {
        match self.expires() {
            Some(expires) if now >= expires => {
                Err(TokenError::Expired(crate::certificate::utc(expires)))
            }
            _ => Ok(()),
        }
    }

    /// What the aggregator's database keeps. It covers every field, so that a token with another
    /// member or a later expiry is simply unknown.
    pub fn secret_hash(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(HASH_LABEL);
        context.update(&self.to_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        out
    }

    /// The payload without its checksum.
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let name = self.member.to_string();
        let name = name.as_bytes();
        // Reserved in full: growing would leave copies of the secret behind.
        let mut out = Zeroizing::new(Vec::with_capacity(1 + name.len() + 72 + CHECKSUM));
        // A name has at most 63 bytes, a role with its slash 11 more.
        out.push(name.len() as u8);
        out.extend_from_slice(name);
        out.extend_from_slice(&self.ca.0);
        out.extend_from_slice(self.secret.as_slice());
        out.extend_from_slice(&self.expires.to_be_bytes());
        out
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (payload, sum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
        if checksum(payload) != sum {
            return None;
        }
        let (length, rest) = payload.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (ca, rest) = rest.split_first_chunk::<32>()?;
        let (secret, rest) = rest.split_first_chunk::<32>()?;
        let expires = u64::from_be_bytes(rest.try_into().ok()?);
        let member = std::str::from_utf8(name).ok()?.parse().ok()?;
        Some(Self { member, ca: Fingerprint(*ca), secret: Zeroizing::new(*secret), expires })
    }
}

impl FromStr for EnrolmentToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        Self::parse(text)
    }
}

impl fmt::Display for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.to_bytes();
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(&*bytes));
        f.write_str(PREFIX)?;
        f.write_str(&text)
    }
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EnrolmentToken({}, secret <redacted>)", self.member)
    }
}

fn checksum(payload: &[u8]) -> [u8; CHECKSUM] {
    let digest = digest::digest(&digest::SHA256, payload);
    let mut out = [0; CHECKSUM];
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(member: &str) -> EnrolmentToken {
        let expires = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        EnrolmentToken::new(member.parse::<Member>().unwrap(), Fingerprint([3; 32]), expires)
            .unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn tokens_read_back(member in "(operator/|researcher/|auditor/|)[a-z0-9-]{1,63}") {
            let token = token(&member);
            let text = token.to_string();
            prop_assert!(text.len() <= tributary_wire::limits::MAX_TOKEN_CHARS);
            let read = EnrolmentToken::parse(&format!("  {text}\n")).unwrap();
            prop_assert_eq!(read.member().to_string(), member);
            prop_assert_eq!(read.ca_fingerprint(), Fingerprint([3; 32]));
            prop_assert_eq!(read.expires(), token.expires());
            prop_assert_eq!(read.secret_hash(), token.secret_hash());
        }

        #[test]
        fn garbage_is_refused(text in "\\PC{0,200}") {
            prop_assert!(EnrolmentToken::parse(&text).is_err());
            let prefixed = format!("{PREFIX}{text}");
            prop_assert!(EnrolmentToken::parse(&prefixed).is_err());
        }
    }

    #[test]
    fn a_known_token() {
        let token = EnrolmentToken {
            member: "a".parse().unwrap(),
            ca: Fingerprint([1; 32]),
            secret: Zeroizing::new([2; 32]),
            expires: 1,
        };
        let mut payload = vec![1, b'a'];
        payload.extend([1; 32]);
        payload.extend([2; 32]);
        payload.extend([0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(*token.to_bytes(), payload);
        assert_eq!(EnrolmentToken::parse(&token.to_string()).unwrap().secret, token.secret);
    }

    #[test]
    fn damage_is_noticed() {
        let text = token("north").to_string();
        assert_eq!(EnrolmentToken::parse(&text[1..]).unwrap_err(), TokenError::Prefix);
        for cut in PREFIX.len()..text.len() {
            assert_eq!(EnrolmentToken::parse(&text[..cut]).unwrap_err(), TokenError::Damaged);
        }
        for position in PREFIX.len()..text.len() - 1 {
            let mut wrong = text.clone().into_bytes();
            wrong[position] = if wrong[position] == b'A' { b'B' } else { b'A' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(EnrolmentToken::parse(&wrong).unwrap_err(), TokenError::Damaged);
        }
    }

    #[test]
    fn secrets_differ_and_stay_hidden() {
        let (a, b) = (token("north"), token("north"));
        assert_ne!(a.secret, b.secret);
        assert_ne!(a.secret_hash(), b.secret_hash());
        assert_eq!(format!("{a:?}"), "EnrolmentToken(north, secret <redacted>)");
    }

    #[test]
    fn the_hash_covers_member_and_expiry() {
        let a = token("north");
        let mut b = EnrolmentToken::parse(&a.to_string()).unwrap();
        assert_eq!(a.secret_hash(), b.secret_hash());
        b.expires += 1;
        assert_ne!(a.secret_hash(), b.secret_hash());
        b.expires -= 1;
        b.member = "south".parse().unwrap();
        assert_ne!(a.secret_hash(), b.secret_hash());
    }

    #[test]
    fn expiry_is_exact() {
        let token = token("north");
        let end = token.expires().unwrap();
        assert_eq!(token.check_expiry(end - Duration::from_secs(1)), Ok(()));
        assert_eq!(
            token.check_expiry(end),
            Err(TokenError::Expired("2033-05-18T03:33:20Z".into()))
        );
    }
}
