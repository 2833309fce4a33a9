//! What a node says.

use std::fmt;

use super::codes::{RefusalCode, ReportCode};
use super::{Secagg, short_hash};
use crate::names::DatasetName;
use crate::text::Text;

/// A frame of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromNode {
    /// Always the first frame.
    Hello(Hello),
    /// The answer to a job offer.
    JobReply(JobReply),
    /// A frame for a job's state machines.
    Secagg(Secagg),
    /// An attempt, or the job, is over for the node.
    Report(Report),
    /// The node is alive.
    Heartbeat,
}

/// Who the node is and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The protocol version it speaks; compare with [`crate::PROTOCOL_VERSION`].
    pub protocol_version: u32,
    /// Its software version, for people.
    pub software_version: Text,
    /// Datasets on offer: distinct names, at most [`crate::limits::MAX_DATASETS`].
    pub datasets: Vec<Dataset>,
    /// The job it is in.
    pub resume: Option<Resume>,
}

/// A dataset on offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Its registered name.
    pub name: DatasetName,
    /// The declared, public, constant number of records, at least 1.
    pub declared_records: u64,
}

/// Where a node stands in a job.
#[derive(Clone, PartialEq, Eq)]
pub struct Resume {
    /// The job.
    pub job: [u8; 32],
    /// First round whose result the node does not have.
    pub next_round: u32,
    /// Epoch whose keys it holds.
    pub epoch: Option<u32>,
    /// Context of an attempt whose masked vector it still has.
    pub upload: Option<[u8; 32]>,
}

/// A node's answer to a job offer.
#[derive(Clone, PartialEq, Eq)]
pub struct JobReply {
    /// The job.
    pub job: [u8; 32],
    /// Yes or no.
    pub answer: JobAnswer,
}

/// Yes, or no with a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobAnswer {
    /// The node takes part.
    Accepted,
    /// It does not.
    Refused {
        /// The reason.
        code: RefusalCode,
        /// Public numbers beside it.
        text: Text,
    },
}

/// An attempt, or the job, is over for the node.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    /// The job.
    pub job: [u8; 32],
    /// The round.
    pub round: u32,
    /// The attempt.
    pub attempt: u16,
    /// The reason.
    pub code: ReportCode,
    /// Public numbers beside it; never row content, batch sizes or data-dependent text.
    pub text: Text,
}

impl fmt::Debug for Resume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, next_round, epoch, upload } = self;
        let upload = upload.as_ref().map(short_hash);
        let job = short_hash(job);
        write!(f, "Resume({job}, next round {next_round}, epoch {epoch:?}, upload {upload:?})")
    }
}

impl fmt::Debug for JobReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobReply({}, {:?})", short_hash(&self.job), self.answer)
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job, round, attempt, code, text } = self;
        write!(f, "Report({}, round {round}, attempt {attempt}, {code}, {text:?})", short_hash(job))
    }
}
