//! Frames of the aggregator.

use super::{array, bounded, bytes, optional};
use crate::error::WireError;
use crate::limits::{
    MAX_CERTIFICATE_BYTES, MAX_MANIFEST_BYTES, MAX_STATE_CHUNK_BYTES, MAX_STATE_CHUNKS,
};
use crate::session::{
    Checkpoint, JobEnd, JobOffer, JobOutcome, Refused, SessionRefusalCode, StateChunk, ToNode,
    Welcome,
};
use crate::text::Text;
use crate::v1::{self, server_frame::Frame};

impl TryFrom<v1::ServerFrame> for ToNode {
    type Error = WireError;

    fn try_from(frame: v1::ServerFrame) -> Result<Self, WireError> {
        match frame.frame.ok_or(WireError::Missing { field: "frame" })? {
            Frame::Welcome(m) => welcome(m).map(Self::Welcome),
            Frame::Refused(m) => refused(m).map(Self::Refused),
            Frame::JobOffer(m) => job_offer(m).map(Self::JobOffer),
            Frame::Secagg(m) => m.try_into().map(Self::Secagg),
            Frame::StateChunk(m) => state_chunk(m).map(Self::StateChunk),
            Frame::Idle(m) => Ok(Self::Idle { text: Text::parse("idle.text", m.text)? }),
            Frame::JobEnd(m) => job_end(m).map(Self::JobEnd),
            Frame::Checkpoint(m) => checkpoint(&m).map(Self::Checkpoint),
        }
    }
}

impl From<ToNode> for v1::ServerFrame {
    fn from(frame: ToNode) -> Self {
        let frame = match frame {
            ToNode::Welcome(m) => Frame::Welcome(v1::Welcome {
                protocol_version: m.protocol_version,
                software_version: m.software_version.into_string(),
                unix_seconds: m.unix_seconds,
            }),
            ToNode::Refused(m) => {
                Frame::Refused(v1::Refused { code: m.code.to_wire(), text: m.text.into_string() })
            }
            ToNode::JobOffer(m) => Frame::JobOffer(v1::JobOffer {
                manifest: m.manifest,
                signature: m.signature.to_vec(),
            }),
            ToNode::Secagg(m) => Frame::Secagg(m.into()),
            ToNode::StateChunk(m) => Frame::StateChunk(v1::StateChunk {
                job_hash: m.job.to_vec(),
                round: m.round,
                index: m.index,
                count: m.count,
                data: m.data,
                certificate: m.certificate.unwrap_or_default(),
            }),
            ToNode::Idle { text } => Frame::Idle(v1::Idle { text: text.into_string() }),
            ToNode::JobEnd(m) => Frame::JobEnd(v1::JobEnd {
                job_hash: m.job.to_vec(),
                outcome: m.outcome.to_wire(),
                text: m.text.into_string(),
                certificate: m.certificate.unwrap_or_default(),
            }),
            ToNode::Checkpoint(m) => Frame::Checkpoint(v1::Checkpoint {
                job_hash: m.job.to_vec(),
                length: m.length,
                head: m.head.to_vec(),
                signature: m.signature.to_vec(),
            }),
        };
        Self { frame: Some(frame) }
    }
}

fn welcome(m: v1::Welcome) -> Result<Welcome, WireError> {
    Ok(Welcome {
        protocol_version: m.protocol_version,
        software_version: Text::parse("welcome.software_version", m.software_version)?,
        unix_seconds: m.unix_seconds,
    })
}

fn refused(m: v1::Refused) -> Result<Refused, WireError> {
    Ok(Refused {
        code: SessionRefusalCode::parse("refused.code", m.code)?,
        text: Text::parse("refused.text", m.text)?,
    })
}

fn job_offer(m: v1::JobOffer) -> Result<JobOffer, WireError> {
    Ok(JobOffer {
        manifest: bytes("job_offer.manifest", m.manifest, MAX_MANIFEST_BYTES)?,
        signature: array("job_offer.signature", &m.signature)?,
    })
}

fn state_chunk(m: v1::StateChunk) -> Result<StateChunk, WireError> {
    if !(1..=MAX_STATE_CHUNKS).contains(&m.count) {
        return Err(WireError::Invalid { field: "state_chunk.count", problem: "is out of bounds" });
    }
    if m.index >= m.count {
        let problem = "is not below the count";
        return Err(WireError::Invalid { field: "state_chunk.index", problem });
    }
    let certificate = optional("state_chunk.certificate", m.certificate, MAX_CERTIFICATE_BYTES)?;
    if certificate.is_some() != (m.index == 0) {
        let problem = "belongs to piece 0 and only there";
        return Err(WireError::Invalid { field: "state_chunk.certificate", problem });
    }
    let found = m.data.len();
    Ok(StateChunk {
        job: array("state_chunk.job_hash", &m.job_hash)?,
        round: m.round,
        index: m.index,
        count: m.count,
        data: bounded("state_chunk.data", m.data, found, 1, MAX_STATE_CHUNK_BYTES)?,
        certificate,
    })
}

fn job_end(m: v1::JobEnd) -> Result<JobEnd, WireError> {
    let outcome = JobOutcome::parse("job_end.outcome", m.outcome)?;
    let certificate = optional("job_end.certificate", m.certificate, MAX_CERTIFICATE_BYTES)?;
    if outcome == JobOutcome::Completed && certificate.is_none() {
        return Err(WireError::Missing { field: "job_end.certificate" });
    }
    Ok(JobEnd {
        job: array("job_end.job_hash", &m.job_hash)?,
        outcome,
        text: Text::parse("job_end.text", m.text)?,
        certificate,
    })
}

fn checkpoint(m: &v1::Checkpoint) -> Result<Checkpoint, WireError> {
    if m.length == 0 {
        let field = "checkpoint.length";
        return Err(WireError::Invalid { field, problem: "must be at least 1" });
    }
    Ok(Checkpoint {
        job: array("checkpoint.job_hash", &m.job_hash)?,
        length: m.length,
        head: array("checkpoint.head", &m.head)?,
        signature: array("checkpoint.signature", &m.signature)?,
    })
}
