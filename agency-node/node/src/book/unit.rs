//! Whose presence an account hides, and which jobs may be charged to it.

use serde::{Deserialize, Serialize};
use tributary_dp::Unit;
use tributary_job::JobSpec;

/// What is added or removed between neighbouring datasets.
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
    /// The unit that a job protects; `None` if it protects nothing.
    pub fn of(job: &JobSpec) -> Option<Self> {
        job.privacy.mode.is_private().then(|| match job.unit() {
            Unit::Record => Self::Record,
            Unit::Person => Self::Person,
            Unit::Silo => Self::Silo,
        })
    }

    /// Whether what a job with this unit costs may be charged to an account with the unit
    /// `registered`: only if they are the same.
    ///
    /// A smaller unit says too little about a larger one. A larger one says less than it seems about
    /// a smaller one, too: one record more changes a person's clipped sum from one vector of norm C
    /// to another, up to 2 C apart, where a person more or less makes C; it is a replacement, and
    /// costs what a group of two units costs.
    pub fn covers(self, registered: Self) -> bool {
        self == registered
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
    use tributary_job::spec::PrivacyMode;

    #[test]
    fn a_unit_covers_itself_alone() {
        use ProtectedUnit::{Person, Record, Silo};
        for (job, registered, covered) in [
            (Record, Record, true),
            (Record, Person, false),
            (Record, Silo, false),
            (Person, Record, false),
            (Person, Person, true),
            (Person, Silo, false),
            (Silo, Record, false),
            (Silo, Person, false),
            (Silo, Silo, true),
        ] {
            assert_eq!(job.covers(registered), covered, "{job} for {registered}");
        }
    }

    #[test]
    fn a_mode_without_noise_protects_no_unit() {
        let text = include_str!("../../../../deploy/demo/flights.toml");
        let mut job = JobSpec::from_toml(text).unwrap();
        assert_eq!(ProtectedUnit::of(&job), Some(ProtectedUnit::Record));
        for (mode, unit) in [
            (PrivacyMode::None, None),
            (PrivacyMode::Person, Some(ProtectedUnit::Person)),
            (PrivacyMode::RecordLocal, Some(ProtectedUnit::Record)),
            (PrivacyMode::Silo, Some(ProtectedUnit::Silo)),
        ] {
            job.privacy.mode = mode;
            assert_eq!(ProtectedUnit::of(&job), unit, "{mode:?}");
        }
        job.privacy.mode = PrivacyMode::RecordLocal;
        job.data.person_column = Some("who".into());
        assert_eq!(ProtectedUnit::of(&job), Some(ProtectedUnit::Person));
    }
}
