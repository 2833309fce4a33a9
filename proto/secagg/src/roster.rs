//! Who takes part in a job: the members' keys, the aggregator's key and the
//! thresholds, fixed for the life of the job. It knows no epoch and no round.

use std::collections::BTreeSet;

use crate::digest::{Digest, hash};
use crate::identity::VerifyingKey;
use crate::ids::{NodeIndex, Party};
use crate::params::{ParameterError, Thresholds};

/// The parties of one job. Every party holds an equal copy, taken from the
/// governance-signed manifest, never from the aggregator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    /// Hash of the job's manifest.
    pub job: Digest,
    /// The nodes' keys; a node's [`NodeIndex`] is its position here.
    pub members: Vec<VerifyingKey>,
    /// The aggregator's key.
    pub aggregator: VerifyingKey,
    /// Thresholds over this roster.
    pub thresholds: Thresholds,
}

impl Roster {
    /// Checks and builds a roster.
    ///
    /// # Errors
    /// [`ParameterError`] if a key occurs twice, the number of members is not
    /// `thresholds.n`, or the thresholds do not protect the nodes.
    pub fn new(
        job: Digest,
        members: Vec<VerifyingKey>,
        aggregator: VerifyingKey,
        thresholds: Thresholds,
    ) -> Result<Self, ParameterError> {
        thresholds.check()?;
        if members.len() != usize::from(thresholds.n) {
            return Err(ParameterError::MemberCount {
                expected: thresholds.n,
                found: members.len(),
            });
        }
        let mut seen = BTreeSet::new();
        for key in members.iter().chain([&aggregator]) {
            if !seen.insert(key) {
                return Err(ParameterError::DuplicateKey { key: key.fingerprint() });
            }
        }
        Ok(Self { job, members, aggregator, thresholds })
    }

    /// Number of nodes on the roster.
    #[must_use]
    pub fn size(&self) -> u16 {
        self.thresholds.n
    }

    /// The key of a node, or `None` if the index lies outside the roster.
    #[must_use]
    pub fn member(&self, node: NodeIndex) -> Option<&VerifyingKey> {
        self.members.get(node.position())
    }

    /// The key of a party, or `None` for an index outside the roster.
    #[must_use]
    pub fn key_of(&self, party: Party) -> Option<&VerifyingKey> {
        match party {
            Party::Aggregator => Some(&self.aggregator),
            Party::Node(node) => self.member(node),
        }
    }

    /// Position of a key, or `None` if it is nobody's.
    #[must_use]
    pub fn index_of(&self, key: &VerifyingKey) -> Option<NodeIndex> {
        let position = self.members.iter().position(|member| member == key)?;
        u16::try_from(position).ok().map(NodeIndex)
    }

    /// Hash over job, thresholds and all keys. It enters every epoch transcript,
    /// so parties with different rosters or thresholds share no key.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let thresholds = self.thresholds.to_bytes();
        let mut parts: Vec<&[u8]> = vec![&self.job.0, &thresholds, &self.aggregator.0];
        parts.extend(self.members.iter().map(|key| key.0.as_slice()));
        hash("roster", &parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn keys(n: usize) -> Vec<VerifyingKey> {
        (0..n).map(|_| Identity::generate().unwrap().verifying_key()).collect()
    }

    #[test]
    fn refuses_duplicates_and_wrong_sizes() {
        let thresholds = Thresholds::complete_graph(4, 0.0, 0.25, 3).unwrap();
        let all = keys(5);
        let (members, aggregator) = (all[..4].to_vec(), all[4]);
        let build = |members: Vec<VerifyingKey>, aggregator| {
            Roster::new(Digest::ZERO, members, aggregator, thresholds)
        };
        assert!(build(members.clone(), aggregator).is_ok());
        assert!(build(members.clone(), members[2]).is_err());
        assert!(build(members[..3].to_vec(), aggregator).is_err());
        let mut twice = members.clone();
        twice[0] = twice[3];
        assert!(matches!(build(twice, aggregator), Err(ParameterError::DuplicateKey { .. })));
        let weak = Thresholds { quorum: 2, ..thresholds };
        assert!(Roster::new(Digest::ZERO, members, aggregator, weak).is_err());
    }

    #[test]
    fn digest_covers_every_field() {
        let thresholds = Thresholds::complete_graph(4, 0.0, 0.25, 3).unwrap();
        let all = keys(6);
        let roster = Roster::new(Digest::ZERO, all[..4].to_vec(), all[4], thresholds).unwrap();
        let mut others = vec![roster.clone(); 4];
        others[0].job = hash("other", &[]);
        others[1].members.swap(0, 1);
        others[2].aggregator = all[5];
        others[3].thresholds.u_min = 4;
        for other in others {
            assert_ne!(other.digest(), roster.digest());
        }
        assert_eq!(roster.index_of(&all[2]), Some(NodeIndex(2)));
        assert_eq!(roster.index_of(&all[5]), None);
    }
}
