//! One of each frame, with every field set.

use tributary_wire::DatasetName;
use tributary_wire::Text;
use tributary_wire::session::*;

pub fn node_frames() -> Vec<(&'static str, FromNode)> {
    let job = [0xab; 32];
    let text = Text::clipped("2.5 > 2.0");
    let dataset = |name: &str, declared_records| Dataset {
        name: DatasetName::new(name).unwrap(),
        declared_records,
    };
    vec![
        (
            "hello",
            FromNode::Hello(Hello {
                protocol_version: 1,
                software_version: Text::clipped("0.1.0"),
                datasets: vec![dataset("intake-2024", 12_345), dataset("b", 1)],
                resume: Some(Resume { job, next_round: 7, epoch: Some(0), upload: None }),
            }),
        ),
        (
            "hello.upload",
            FromNode::Hello(Hello {
                protocol_version: 1,
                software_version: Text::clipped("0.1.0"),
                datasets: Vec::new(),
                resume: Some(Resume { job, next_round: 7, epoch: Some(1), upload: Some([5; 32]) }),
            }),
        ),
        ("job_reply.accepted", FromNode::JobReply(JobReply { job, answer: JobAnswer::Accepted })),
        (
            "job_reply.refused",
            FromNode::JobReply(JobReply {
                job,
                answer: JobAnswer::Refused { code: RefusalCode::PolicyEpsilon, text: text.clone() },
            }),
        ),
        ("secagg", FromNode::Secagg(Secagg { job, frame: vec![1, 2, 3].into() })),
        (
            "report",
            FromNode::Report(Report {
                job,
                round: 3,
                attempt: 1,
                code: ReportCode::NonFinite,
                text,
            }),
        ),
        ("heartbeat", FromNode::Heartbeat),
    ]
}

pub fn server_frames() -> Vec<(&'static str, ToNode)> {
    let job = [0xcd; 32];
    vec![
        (
            "welcome",
            ToNode::Welcome(Welcome {
                protocol_version: 1,
                software_version: Text::clipped("0.1.0"),
                unix_seconds: 1_900_000_000,
            }),
        ),
        (
            "refused",
            ToNode::Refused(Refused {
                code: SessionRefusalCode::Version,
                text: Text::clipped("speak version 1"),
            }),
        ),
        ("job_offer", ToNode::JobOffer(JobOffer { manifest: b"{}".to_vec(), signature: [7; 64] })),
        ("secagg", ToNode::Secagg(Secagg { job, frame: vec![4, 5].into() })),
        (
            "state_chunk",
            ToNode::StateChunk(StateChunk {
                job,
                round: 9,
                index: 0,
                count: 2,
                data: vec![1; 8].into(),
                certificate: Some(vec![2; 4]),
            }),
        ),
        (
            "state_chunk.later",
            ToNode::StateChunk(StateChunk {
                job,
                round: 9,
                index: 1,
                count: 2,
                data: vec![3; 8].into(),
                certificate: None,
            }),
        ),
        ("idle", ToNode::Idle { text: Text::clipped("round 4 runs without you") }),
        (
            "job_end",
            ToNode::JobEnd(JobEnd {
                job,
                outcome: JobOutcome::Completed,
                text: Text::clipped("40 of 40 rounds"),
                certificate: Some(vec![9; 3]),
            }),
        ),
        (
            "checkpoint",
            ToNode::Checkpoint(Checkpoint { job, length: 17, head: [3; 32], signature: [8; 64] }),
        ),
    ]
}
