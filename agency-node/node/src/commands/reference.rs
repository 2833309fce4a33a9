//! `agency-node reference`: the settings of each file that a node reads.

use tributary_job::reference::{markdown, of_schema};
use tributary_training::mapping::Mapping;

use crate::config::Config;
use crate::policy::Policy;
use crate::records::postgres;

/// Depth of the headings of sections.
const LEVEL: usize = 3;

/// A file with settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum File {
    /// `node.toml`: where the aggregator is and how the node runs.
    Node,
    /// `policy.toml`: what may run here.
    Policy,
    /// A mapping: how a dataset's columns become those of a job.
    Mapping,
    /// A PostgreSQL query as a dataset.
    Postgres,
    /// A job, as a researcher writes it.
    Job,
}

impl File {
    pub(super) fn markdown(self) -> String {
        match self {
            Self::Node => markdown::<Config>(LEVEL),
            Self::Policy => markdown::<Policy>(LEVEL),
            Self::Mapping => of_schema(&Mapping::schema(), LEVEL),
            Self::Postgres => markdown::<postgres::Config>(LEVEL),
            Self::Job => markdown::<tributary_job::JobSpec>(LEVEL),
        }
    }
}
