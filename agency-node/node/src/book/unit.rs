//! Whose presence an account hides, and which units protect at least as much.
//!
//! A relation of its own and not the statement's enum: here only the order matters.

use serde::{Deserialize, Serialize};
use tributary_job::spec::PrivacyMode;

/// What is added or removed between neighbouring datasets, weakest first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum ProtectedUnit {
    /// One record.
    #[default]
    Record,
    /// All records of one person at this agency.
    Person,
    /// Everything that this agency holds.
    Silo,
}

impl ProtectedUnit {
    /// The unit that a job's mode protects; `None` if it protects nothing.
    pub fn of(mode: PrivacyMode) -> Option<Self> {
        // Exhaustive on purpose: a new mode has to say what it protects before it can be charged.
        match mode {
            PrivacyMode::Record => Some(Self::Record),
            PrivacyMode::None => None,
        }
    }

    /// Whether a guarantee for this unit implies the same one for `other`: a record is part of its
    /// person's records, and those are part of the agency's, so that what hides the larger change
    /// hides the smaller one at the same cost. Never the other way round.
    pub fn covers(self, other: Self) -> bool {
        self.rank() >= other.rank()
    }

    fn rank(self) -> u8 {
        match self {
            Self::Record => 0,
            Self::Person => 1,
            Self::Silo => 2,
        }
    }
}

impl std::fmt::Display for ProtectedUnit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Record => "record",
            Self::Person => "person",
            Self::Silo => "silo",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_unit_covers_a_smaller_one_and_not_the_other_way_round() {
        use ProtectedUnit::{Person, Record, Silo};
        for (job, registered, covered) in [
            (Record, Record, true),
            (Record, Person, false),
            (Record, Silo, false),
            (Person, Record, true),
            (Person, Person, true),
            (Person, Silo, false),
            (Silo, Record, true),
            (Silo, Person, true),
            (Silo, Silo, true),
        ] {
            assert_eq!(job.covers(registered), covered, "{job} for {registered}");
        }
    }

    #[test]
    fn a_mode_without_noise_protects_no_unit() {
        assert_eq!(ProtectedUnit::of(PrivacyMode::None), None);
        assert_eq!(ProtectedUnit::of(PrivacyMode::Record), Some(ProtectedUnit::Record));
    }
}
