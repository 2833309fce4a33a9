//! Pinned signing keys of other agencies against the roster of a job.
//!
//! Masks and noise protect against the aggregator only if most keys of a roster are real agencies'.
//! Here the agency's own list says which they are.

use tributary_job::{Manifest, RosterEntry};
use tributary_secagg::VerifyingKey;

use super::Consent;
use crate::policy::RosterTrust;

/// What this agency knows of one member of a roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// It is this agency itself.
    Own,
    /// Its key is the pinned one.
    Pinned,
    /// Nothing is pinned for it.
    Unknown,
    /// Another key is pinned for it.
    Other {
        /// The pinned fingerprint.
        pinned: String,
    },
}

/// A member whose key is pinned by its first use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPin {
    /// The agency.
    pub agency: String,
    /// Fingerprint of its key.
    pub fingerprint: String,
}

/// A roster that is not believed, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the roster has keys that this agency does not know: {problems}. Compare them with those agencies \
     by another way than the aggregator; then `agency-node peers add AGENCY FINGERPRINT` (after \
     `agency-node peers remove` where a key was replaced)",
    problems = .0.join("; ")
)]
pub struct RosterProblem(pub Vec<String>);

/// Fingerprint of a roster member's key; the key's own text if it is none.
pub fn fingerprint_of(entry: &RosterEntry) -> String {
    VerifyingKey::from_hex(&entry.signing_key)
        .map_or_else(|_| entry.signing_key.clone(), |key| key.fingerprint())
}

/// What is known of a member.
pub fn pin_of(consent: &Consent, own: &str, entry: &RosterEntry) -> Pin {
    if entry.agency == own {
        return Pin::Own;
    }
    match consent.peers.get(&entry.agency) {
        None => Pin::Unknown,
        Some(pinned) if *pinned == fingerprint_of(entry) => Pin::Pinned,
        Some(pinned) => Pin::Other { pinned: pinned.clone() },
    }
}

/// Checks a roster; returns what is to be pinned if the job is taken up.
///
/// # Errors
/// Who is unknown or has another key than the pinned one.
pub fn check(
    trust: RosterTrust,
    consent: &Consent,
    own: &str,
    manifest: &Manifest,
) -> Result<Vec<NewPin>, RosterProblem> {
    let (mut problems, mut new) = (Vec::new(), Vec::new());
    for entry in &manifest.roster {
        let (agency, fingerprint) = (entry.agency.clone(), fingerprint_of(entry));
        match (pin_of(consent, own, entry), trust) {
            (Pin::Own | Pin::Pinned, _) | (Pin::Unknown, RosterTrust::Aggregator) => {}
            (Pin::Unknown, RosterTrust::FirstUse) => new.push(NewPin { agency, fingerprint }),
            (Pin::Unknown, RosterTrust::Pinned) => {
                problems.push(format!("{agency} with {fingerprint}, of which nothing is pinned"));
            }
            (Pin::Other { pinned }, _) => {
                problems.push(format!("{agency} with {fingerprint}, but {pinned} is pinned"));
            }
        }
    }
    if problems.is_empty() { Ok(new) } else { Err(RosterProblem(problems)) }
}

/// Reads a fingerprint, or a key in hex, as people write it.
///
/// # Errors
/// What it should be.
pub fn parse_fingerprint(text: &str) -> Result<String, String> {
    if let Ok(key) = VerifyingKey::from_hex(text) {
        return Ok(key.fingerprint());
    }
    let groups: Vec<_> = text.split('-').collect();
    let hex = |group: &&str| {
        group.len() == 4 && group.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    if groups.len() == 8 && groups.iter().all(hex) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no fingerprint: eight groups of four hexadecimal digits, as `agency-node peers \
         fingerprint` prints it at that agency, or its signing key in hex"
    ))
}
