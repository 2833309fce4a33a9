//! Frames of a node.

use std::collections::BTreeSet;

use super::{array, bounded};
use crate::error::WireError;
use crate::limits::{MAX_DATASETS, MAX_SECAGG_BYTES};
use crate::names::DatasetName;
use crate::session::{
    Dataset, FromNode, Hello, JobAnswer, JobReply, RefusalCode, Report, ReportCode, Resume, Secagg,
};
use crate::text::Text;
use crate::v1::{self, job_reply::Answer, node_frame::Frame};

impl TryFrom<v1::NodeFrame> for FromNode {
    type Error = WireError;

    fn try_from(frame: v1::NodeFrame) -> Result<Self, WireError> {
        match frame.frame.ok_or(WireError::Missing { field: "frame" })? {
            Frame::Hello(m) => hello(m).map(Self::Hello),
            Frame::JobReply(m) => job_reply(m).map(Self::JobReply),
            Frame::Secagg(m) => m.try_into().map(Self::Secagg),
            Frame::Report(m) => report(m).map(Self::Report),
            Frame::Heartbeat(v1::Heartbeat {}) => Ok(Self::Heartbeat),
        }
    }
}

impl From<FromNode> for v1::NodeFrame {
    fn from(frame: FromNode) -> Self {
        let frame = match frame {
            FromNode::Hello(m) => Frame::Hello(v1::Hello {
                protocol_version: m.protocol_version,
                software_version: m.software_version.into_string(),
                datasets: m.datasets.into_iter().map(Into::into).collect(),
                resume: m.resume.map(Into::into),
            }),
            FromNode::JobReply(m) => Frame::JobReply(v1::JobReply {
                job_hash: m.job.to_vec(),
                answer: Some(m.answer.into()),
            }),
            FromNode::Secagg(m) => Frame::Secagg(m.into()),
            FromNode::Report(m) => Frame::Report(v1::Report {
                job_hash: m.job.to_vec(),
                round: m.round,
                attempt: m.attempt.into(),
                code: m.code.to_wire(),
                text: m.text.into_string(),
            }),
            FromNode::Heartbeat => Frame::Heartbeat(v1::Heartbeat {}),
        };
        Self { frame: Some(frame) }
    }
}

impl TryFrom<v1::Secagg> for Secagg {
    type Error = WireError;

    fn try_from(m: v1::Secagg) -> Result<Self, WireError> {
        Ok(Self {
            job: array("secagg.job_hash", &m.job_hash)?,
            frame: {
                let found = m.frame.len();
                bounded("secagg.frame", m.frame, found, 1, MAX_SECAGG_BYTES)?
            },
        })
    }
}

impl From<Secagg> for v1::Secagg {
    fn from(m: Secagg) -> Self {
        Self { job_hash: m.job.to_vec(), frame: m.frame }
    }
}

impl From<Dataset> for v1::Dataset {
    fn from(m: Dataset) -> Self {
        Self { name: m.name.into(), declared_records: m.declared_records }
    }
}

impl From<Resume> for v1::Resume {
    fn from(m: Resume) -> Self {
        let upload_context = m.upload.map(|context| context.to_vec()).unwrap_or_default();
        Self { job_hash: m.job.to_vec(), next_round: m.next_round, epoch: m.epoch, upload_context }
    }
}

impl From<JobAnswer> for Answer {
    fn from(answer: JobAnswer) -> Self {
        match answer {
            JobAnswer::Accepted => Self::Accepted(v1::JobAccepted {}),
            JobAnswer::Refused { code, text } => {
                Self::Refused(v1::JobRefused { code: code.to_wire(), text: text.into_string() })
            }
        }
    }
}

fn hello(m: v1::Hello) -> Result<Hello, WireError> {
    let found = m.datasets.len();
    let datasets = bounded("hello.datasets", m.datasets, found, 0, MAX_DATASETS)?;
    let datasets: Vec<Dataset> = datasets.into_iter().map(dataset).collect::<Result<_, _>>()?;
    let names: BTreeSet<_> = datasets.iter().map(|d| &d.name).collect();
    if names.len() != datasets.len() {
        let problem = "has a name twice";
        return Err(WireError::Invalid { field: "hello.datasets", problem });
    }
    Ok(Hello {
        protocol_version: m.protocol_version,
        software_version: Text::parse("hello.software_version", m.software_version)?,
        datasets,
        resume: m.resume.map(resume).transpose()?,
    })
}

fn dataset(m: v1::Dataset) -> Result<Dataset, WireError> {
    if m.declared_records == 0 {
        let field = "hello.datasets.declared_records";
        return Err(WireError::Invalid { field, problem: "must be at least 1" });
    }
    let name = DatasetName::parse("hello.datasets.name", m.name)?;
    Ok(Dataset { name, declared_records: m.declared_records })
}

fn resume(m: v1::Resume) -> Result<Resume, WireError> {
    let job = array("hello.resume.job_hash", &m.job_hash)?;
    let upload = match m.upload_context.is_empty() {
        true => None,
        false => Some(array("hello.resume.upload_context", &m.upload_context)?),
    };
    Ok(Resume { job, next_round: m.next_round, epoch: m.epoch, upload })
}

fn job_reply(m: v1::JobReply) -> Result<JobReply, WireError> {
    let answer = match m.answer.ok_or(WireError::Missing { field: "job_reply.answer" })? {
        Answer::Accepted(v1::JobAccepted {}) => JobAnswer::Accepted,
        Answer::Refused(m) => JobAnswer::Refused {
            code: RefusalCode::parse("job_reply.refused.code", m.code)?,
            text: Text::parse("job_reply.refused.text", m.text)?,
        },
    };
    Ok(JobReply { job: array("job_reply.job_hash", &m.job_hash)?, answer })
}

fn report(m: v1::Report) -> Result<Report, WireError> {
    let too_large = |_| WireError::Invalid { field: "report.attempt", problem: "is above 65535" };
    Ok(Report {
        job: array("report.job_hash", &m.job_hash)?,
        round: m.round,
        attempt: m.attempt.try_into().map_err(too_large)?,
        code: ReportCode::parse("report.code", m.code)?,
        text: Text::parse("report.text", m.text)?,
    })
}
