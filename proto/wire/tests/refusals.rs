//! Each bound of the format, broken once: the error names the field.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use tributary_wire::limits::*;
use tributary_wire::session::{FromNode, ToNode};
use tributary_wire::{WireError, v1};
use v1::node_frame::Frame as N;
use v1::server_frame::Frame as S;

/// The field that an error names.
fn field(error: &WireError) -> &'static str {
    match error {
        WireError::NotProtobuf => "(bytes)",
        WireError::Missing { field }
        | WireError::Length { field, .. }
        | WireError::UnknownCode { field, .. }
        | WireError::Invalid { field, .. } => field,
    }
}

/// Takes the sample frame `name`, breaks it and returns the named field.
fn node(name: &str, break_it: impl Fn(&mut N)) -> &'static str {
    let (_, frame) = common::node_frames().into_iter().find(|(n, _)| *n == name).unwrap();
    let mut wire = v1::NodeFrame::from(frame);
    break_it(wire.frame.as_mut().unwrap());
    field(&FromNode::try_from(wire).unwrap_err())
}

fn server(name: &str, break_it: impl Fn(&mut S)) -> &'static str {
    let (_, frame) = common::server_frames().into_iter().find(|(n, _)| *n == name).unwrap();
    let mut wire = v1::ServerFrame::from(frame);
    break_it(wire.frame.as_mut().unwrap());
    field(&ToNode::try_from(wire).unwrap_err())
}

/// Changes the message inside a frame of a known kind.
macro_rules! with {
    ($frames:ident :: $kind:ident, |$m:ident| $change:expr) => {
        |frame: &mut $frames| {
            let $frames::$kind($m) = frame else { panic!("another frame") };
            $change;
        }
    };
}

#[test]
fn an_empty_frame_is_refused() {
    let missing = WireError::Missing { field: "frame" };
    assert_eq!(FromNode::decode(&[]), Err(missing.clone()));
    assert_eq!(ToNode::decode(&[]), Err(missing));
    assert_eq!(FromNode::decode(&[0xff]), Err(WireError::NotProtobuf));
    assert_eq!(ToNode::decode(&[0xff]), Err(WireError::NotProtobuf));
}

#[test]
fn hello() {
    let long = "x".repeat(MAX_TEXT_CHARS + 1);
    let break_version = with!(N::Hello, |m| m.software_version = long.clone());
    assert_eq!(node("hello", break_version), "hello.software_version");
    let repeated = with!(N::Hello, |m| m.datasets.push(m.datasets[0].clone()));
    assert_eq!(node("hello", repeated), "hello.datasets");
    let many = with!(N::Hello, |m| {
        m.datasets = (0..=MAX_DATASETS)
            .map(|i| v1::Dataset { name: format!("d{i}"), declared_records: 1 })
            .collect();
    });
    assert_eq!(node("hello", many), "hello.datasets");
    let upper = with!(N::Hello, |m| m.datasets[0].name = "Intake".into());
    assert_eq!(node("hello", upper), "hello.datasets.name");
    let empty = with!(N::Hello, |m| m.datasets[0].declared_records = 0);
    assert_eq!(node("hello", empty), "hello.datasets.declared_records");
    let short = with!(N::Hello, |m| m.resume.as_mut().unwrap().job_hash.truncate(31));
    assert_eq!(node("hello", short), "hello.resume.job_hash");
}

#[test]
fn replies_and_reports() {
    let none = with!(N::JobReply, |m| m.answer = None);
    assert_eq!(node("job_reply.accepted", none), "job_reply.answer");
    let hash = with!(N::JobReply, |m| m.job_hash.push(0));
    assert_eq!(node("job_reply.accepted", hash), "job_reply.job_hash");
    let code = with!(N::JobReply, |m| {
        let Some(v1::job_reply::Answer::Refused(r)) = &mut m.answer else { panic!("accepted") };
        r.code = 0;
    });
    assert_eq!(node("job_reply.refused", code), "job_reply.refused.code");
    assert_eq!(node("report", with!(N::Report, |m| m.code = 99)), "report.code");
    assert_eq!(node("report", with!(N::Report, |m| m.attempt = 65_536)), "report.attempt");
    assert_eq!(node("report", with!(N::Report, |m| m.text = "a\nb".into())), "report.text");
    assert_eq!(node("report", with!(N::Report, |m| m.job_hash.clear())), "report.job_hash");
}

#[test]
fn secagg_both_ways() {
    assert_eq!(node("secagg", with!(N::Secagg, |m| m.frame.clear())), "secagg.frame");
    let long = with!(N::Secagg, |m| m.frame = vec![0; MAX_SECAGG_BYTES + 1].into());
    assert_eq!(node("secagg", long), "secagg.frame");
    assert_eq!(server("secagg", with!(S::Secagg, |m| m.job_hash.clear())), "secagg.job_hash");
}

#[test]
fn session_control() {
    let tab = with!(S::Welcome, |m| m.software_version = "0\t1".into());
    assert_eq!(server("welcome", tab), "welcome.software_version");
    assert_eq!(server("refused", with!(S::Refused, |m| m.code = 0)), "refused.code");
    assert_eq!(server("idle", with!(S::Idle, |m| m.text = "\u{1b}[31m".into())), "idle.text");
}

#[test]
fn offers_and_ends() {
    let none = with!(S::JobOffer, |m| m.manifest.clear());
    assert_eq!(server("job_offer", none), "job_offer.manifest");
    let long = with!(S::JobOffer, |m| m.manifest = vec![b' '; MAX_MANIFEST_BYTES + 1]);
    assert_eq!(server("job_offer", long), "job_offer.manifest");
    let short = with!(S::JobOffer, |m| m.signature.truncate(63));
    assert_eq!(server("job_offer", short), "job_offer.signature");
    assert_eq!(server("job_end", with!(S::JobEnd, |m| m.outcome = 5)), "job_end.outcome");
    let uncertified = with!(S::JobEnd, |m| m.certificate.clear());
    assert_eq!(server("job_end", uncertified), "job_end.certificate");
    let long = with!(S::JobEnd, |m| m.certificate = vec![0; MAX_CERTIFICATE_BYTES + 1]);
    assert_eq!(server("job_end", long), "job_end.certificate");
}

#[test]
fn state_chunks() {
    let bare = with!(S::StateChunk, |m| m.certificate.clear());
    assert_eq!(server("state_chunk", bare), "state_chunk.certificate");
    let late = with!(S::StateChunk, |m| m.certificate = vec![1]);
    assert_eq!(server("state_chunk.later", late), "state_chunk.certificate");
    let past = with!(S::StateChunk, |m| m.index = m.count);
    assert_eq!(server("state_chunk.later", past), "state_chunk.index");
    let endless = with!(S::StateChunk, |m| m.count = MAX_STATE_CHUNKS + 1);
    assert_eq!(server("state_chunk", endless), "state_chunk.count");
    let none = with!(S::StateChunk, |m| m.count = 0);
    assert_eq!(server("state_chunk", none), "state_chunk.count");
    let empty = with!(S::StateChunk, |m| m.data.clear());
    assert_eq!(server("state_chunk", empty), "state_chunk.data");
    let long = with!(S::StateChunk, |m| m.data = vec![0; MAX_STATE_CHUNK_BYTES + 1].into());
    assert_eq!(server("state_chunk", long), "state_chunk.data");
}

#[test]
fn checkpoint() {
    let broken = |change: &dyn Fn(&mut v1::Checkpoint)| {
        server("checkpoint", |frame| {
            let S::Checkpoint(m) = frame else { panic!("another frame") };
            change(m);
        })
    };
    assert_eq!(broken(&|m| m.job_hash.truncate(31)), "checkpoint.job_hash");
    assert_eq!(broken(&|m| m.length = 0), "checkpoint.length");
    assert_eq!(broken(&|m| m.head.push(0)), "checkpoint.head");
    assert_eq!(broken(&|m| m.signature.clear()), "checkpoint.signature");
}

#[test]
fn the_context_of_an_upload_has_32_bytes() {
    let named = node("hello.upload", |frame| {
        let N::Hello(m) = frame else { panic!("another frame") };
        m.resume.as_mut().unwrap().upload_context.pop();
    });
    assert_eq!(named, "hello.resume.upload_context");
}
