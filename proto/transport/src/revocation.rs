//! The live set of what is refused. The aggregator's store is where it comes from; here it is only
//! watched: at every handshake, at every call, and for as long as a connection lives.
//!
//! A member is refused by name; a certificate by its key, so that it stays refused when its holder
//! is let in again with another; and of the federation's own authority also everything that was
//! issued before its holder enrolled last, whether or not anybody remembers it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tributary_wire::{AgencyName, Member};

use crate::certificate::{self, CertificateFault, Fingerprint};

/// How far `not_before` of an issued certificate lies in the past, so that a peer whose clock is a
/// little slow accepts it.
pub const BACKDATE: Duration = Duration::from_secs(300);

/// What is refused at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Members that are refused whatever they show.
    pub members: BTreeSet<Member>,
    /// Keys (SHA-256 over SubjectPublicKeyInfo) whose certificates are refused.
    pub keys: BTreeSet<[u8; 32]>,
    /// When each member enrolled last: certificates of the federation's own authority that are older
    /// are superseded.
    pub enrolled: BTreeMap<Member, SystemTime>,
}

/// What a verified certificate says besides its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Serial number, hexadecimal; unique within its authority.
    pub serial: String,
    /// SHA-256 over the public key.
    pub key: Fingerprint,
    /// First second of its validity.
    pub not_before: SystemTime,
    /// Last second of its validity.
    pub not_after: SystemTime,
    /// Whether an agency's own authority has issued it.
    pub foreign: bool,
}

/// The writing end, held by whoever knows the aggregator's store.
#[derive(Debug)]
pub struct Revocations(watch::Sender<Arc<Refusals>>);

/// The reading end. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RevocationList(watch::Receiver<Arc<Refusals>>);

impl Refusals {
    /// Why a member with this certificate is refused, if it is.
    pub fn reason(&self, member: &Member, certificate: &PeerCertificate) -> Option<&'static str> {
        if self.members.contains(member) {
            return Some("is revoked");
        }
        if self.keys.contains(&certificate.key.0) {
            return Some("shows a certificate that is revoked");
        }
        let issued = certificate.not_before.checked_add(BACKDATE)?;
        let enrolled = self.enrolled.get(member)?;
        (!certificate.foreign && issued < *enrolled)
            .then_some("shows a certificate from before it enrolled last")
    }
}

impl Refusals {
    /// Why a connection with this certificate is not let in or is cut off, if so. An agency that is
    /// revoked by name may still connect with another certificate of its own authority: that is how it
    /// enrols again, and [`crate::access`] lets it do nothing else.
    pub fn at_the_door(
        &self,
        member: &Member,
        certificate: &PeerCertificate,
    ) -> Option<&'static str> {
        let known = !certificate.foreign || self.keys.contains(&certificate.key.0);
        self.reason(member, certificate).filter(|_| known)
    }
}

impl<const N: usize> From<[AgencyName; N]> for Refusals {
    fn from(agencies: [AgencyName; N]) -> Self {
        Self { members: agencies.into_iter().map(Member::Agency).collect(), ..Self::default() }
    }
}

impl PeerCertificate {
    /// Reads a certificate that has been verified.
    ///
    /// # Errors
    /// [`CertificateFault::Der`].
    pub fn read(der: &[u8], foreign: bool) -> Result<Self, CertificateFault> {
        let validity = certificate::validity(der)?;
        Ok(Self {
            serial: certificate::serial(der)?,
            key: certificate::key_fingerprint(der)?,
            not_before: validity.not_before,
            not_after: validity.not_after,
            foreign,
        })
    }
}

impl Revocations {
    /// Starts with what is refused already.
    pub fn new(refused: impl Into<Refusals>) -> Self {
        Self(watch::Sender::new(Arc::new(refused.into())))
    }

    /// Replaces the set; live connections that are new in it are closed. Returns whether anything
    /// has changed.
    pub fn replace(&self, refused: impl Into<Refusals>) -> bool {
        let refused = refused.into();
        self.0.send_if_modified(|set| {
            let changed = **set != refused;
            if changed {
                *set = Arc::new(refused);
            }
            changed
        })
    }

    /// Adds one agency; its live connections are closed.
    pub fn revoke(&self, agency: AgencyName) {
        self.0.send_modify(|set| {
            Arc::make_mut(set).members.insert(Member::Agency(agency));
        });
    }

    /// A reading end.
    pub fn list(&self) -> RevocationList {
        RevocationList(self.0.subscribe())
    }
}

impl RevocationList {
    /// Why a member with this certificate is refused now, if it is.
    pub fn reason(&self, member: &Member, certificate: &PeerCertificate) -> Option<&'static str> {
        self.0.borrow().reason(member, certificate)
    }

    /// As [`Refusals::at_the_door`].
    pub fn at_the_door(
        &self,
        member: &Member,
        certificate: &PeerCertificate,
    ) -> Option<&'static str> {
        self.0.borrow().at_the_door(member, certificate)
    }

    /// Waits until a member with this certificate is refused; forever if it never is. One that was let
    /// in to enrol again is waited for until its certificate is refused.
    pub async fn until_refused(mut self, member: &Member, certificate: &PeerCertificate) {
        let enrolling = self.reason(member, certificate).is_some();
        let refused = self.0.wait_for(|set| match enrolling {
            true => set.at_the_door(member, certificate).is_some(),
            false => set.reason(member, certificate).is_some(),
        });
        if refused.await.is_err() {
            // Nobody can revoke any more: the process is on its way out.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn issued(at_second: u64, key: u8) -> PeerCertificate {
        PeerCertificate {
            serial: "4001".into(),
            key: Fingerprint([key; 32]),
            not_before: at(at_second) - BACKDATE,
            not_after: at(at_second + 1000),
            foreign: false,
        }
    }

    #[test]
    fn a_certificate_stays_refused_when_its_holder_comes_back() {
        let north: Member = "north".parse().unwrap();
        let (old, new) = (issued(1000, 1), issued(2000, 2));
        let mut refused = Refusals::from([AgencyName::new("north").unwrap()]);
        assert!(refused.reason(&north, &old).is_some() && refused.reason(&north, &new).is_some());
        // Enrolled again: by its key, and where nobody remembers the key, by its age.
        refused.members.clear();
        refused.keys.insert([1; 32]);
        assert!(refused.reason(&north, &old).is_some());
        assert_eq!(refused.reason(&north, &new), None);
        refused.keys.clear();
        assert_eq!(refused.reason(&north, &old), None);
        refused.enrolled.insert(north.clone(), at(2000));
        assert!(refused.reason(&north, &old).is_some());
        assert_eq!(refused.reason(&north, &new), None);
        // An agency's own authority knows nothing of when the agency enrolled here.
        let own = PeerCertificate { foreign: true, ..old.clone() };
        assert_eq!(refused.reason(&north, &own), None);
        // Revoked by name, it may knock with another certificate of its own, to enrol again.
        refused.members.insert(north.clone());
        assert!(refused.reason(&north, &own).is_some());
        assert_eq!(refused.at_the_door(&north, &own), None);
        assert!(refused.at_the_door(&north, &new).is_some(), "not with one of ours");
        refused.keys.insert([1; 32]);
        assert!(refused.at_the_door(&north, &own).is_some(), "nor with the one that was revoked");
        refused.keys.clear();
        refused.members.clear();
        let south: Member = "south".parse().unwrap();
        assert_eq!(refused.reason(&south, &old), None, "somebody else's");
    }
}
