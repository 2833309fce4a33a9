//! What is sent is what arrives, and nothing that arrives can panic the process.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod common;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use tributary_wire::session::*;
use tributary_wire::{DatasetName, Text, WireError, control, enrolment, renewal, v1};

fn text() -> impl Strategy<Value = Text> {
    "\\PC{0,300}".prop_map(Text::clipped)
}

fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..100)
}

fn one_of<T: Copy + std::fmt::Debug>(all: &'static [T]) -> impl Strategy<Value = T> {
    (0..all.len()).prop_map(|i| all[i])
}

fn hello() -> impl Strategy<Value = Hello> {
    let dataset = btree_map("[a-z0-9-]{1,63}", 1..=u64::MAX, 0..6);
    let resume = proptest::option::of((
        any::<[u8; 32]>(),
        any::<u32>(),
        any::<Option<u32>>(),
        any::<Option<[u8; 32]>>(),
    ));
    (any::<u32>(), text(), dataset, resume).prop_map(
        |(version, software_version, datasets, resume)| Hello {
            protocol_version: version,
            software_version,
            datasets: datasets
                .into_iter()
                .map(|(name, declared_records)| Dataset {
                    name: DatasetName::new(name).unwrap(),
                    declared_records,
                })
                .collect(),
            resume: resume.map(|(job, next_round, epoch, upload)| Resume {
                job,
                next_round,
                epoch,
                upload,
            }),
        },
    )
}

fn job_reply() -> impl Strategy<Value = JobReply> {
    let refused = (one_of(RefusalCode::ALL), text())
        .prop_map(|(code, text)| JobAnswer::Refused { code, text });
    (any::<[u8; 32]>(), prop_oneof![Just(JobAnswer::Accepted), refused])
        .prop_map(|(job, answer)| JobReply { job, answer })
}

fn secagg() -> impl Strategy<Value = Secagg> {
    (any::<[u8; 32]>(), some_bytes()).prop_map(|(job, frame)| Secagg { job, frame: frame.into() })
}

fn report() -> impl Strategy<Value = Report> {
    (any::<[u8; 32]>(), any::<u32>(), any::<u16>(), one_of(ReportCode::ALL), text())
        .prop_map(|(job, round, attempt, code, text)| Report { job, round, attempt, code, text })
}

fn from_node() -> impl Strategy<Value = FromNode> {
    prop_oneof![
        hello().prop_map(FromNode::Hello),
        job_reply().prop_map(FromNode::JobReply),
        secagg().prop_map(FromNode::Secagg),
        report().prop_map(FromNode::Report),
        Just(FromNode::Heartbeat),
    ]
}

fn state_chunk() -> impl Strategy<Value = StateChunk> {
    (any::<[u8; 32]>(), any::<u32>(), 0_u32..8192, some_bytes(), some_bytes()).prop_flat_map(
        |(job, round, index, data, certificate)| {
            (index + 1..=8192).prop_map(move |count| StateChunk {
                job,
                round,
                index,
                count,
                data: data.clone().into(),
                certificate: (index == 0).then(|| certificate.clone()),
            })
        },
    )
}

fn job_end() -> impl Strategy<Value = JobEnd> {
    (any::<[u8; 32]>(), one_of(JobOutcome::ALL), text(), some_bytes(), any::<bool>()).prop_map(
        |(job, outcome, text, certificate, certified)| {
            let certified = certified || outcome == JobOutcome::Completed;
            JobEnd { job, outcome, text, certificate: certified.then_some(certificate) }
        },
    )
}

fn to_node() -> impl Strategy<Value = ToNode> {
    let welcome = (any::<u32>(), text(), any::<u64>()).prop_map(
        |(protocol_version, software_version, time)| Welcome {
            protocol_version,
            software_version,
            unix_seconds: time,
        },
    );
    let refused =
        (one_of(SessionRefusalCode::ALL), text()).prop_map(|(code, text)| Refused { code, text });
    let offer = (some_bytes(), vec(any::<u8>(), 64)).prop_map(|(manifest, signature)| JobOffer {
        manifest,
        signature: signature.try_into().unwrap(),
    });
    let checkpoint = (any::<[u8; 32]>(), 1..=u64::MAX, any::<[u8; 32]>(), vec(any::<u8>(), 64))
        .prop_map(|(job, length, head, signature)| Checkpoint {
            job,
            length,
            head,
            signature: signature.try_into().unwrap(),
        });
    prop_oneof![
        checkpoint.prop_map(ToNode::Checkpoint),
        welcome.prop_map(ToNode::Welcome),
        refused.prop_map(ToNode::Refused),
        offer.prop_map(ToNode::JobOffer),
        secagg().prop_map(ToNode::Secagg),
        state_chunk().prop_map(ToNode::StateChunk),
        text().prop_map(|text| ToNode::Idle { text }),
        job_end().prop_map(ToNode::JobEnd),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn node_frames_round_trip(frame in from_node()) {
        prop_assert_eq!(FromNode::decode(&frame.clone().encode()), Ok(frame));
    }

    #[test]
    fn server_frames_round_trip(frame in to_node()) {
        prop_assert_eq!(ToNode::decode(&frame.clone().encode()), Ok(frame));
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        // Whatever is accepted must be a valid value, that is one that survives a round trip.
        if let Ok(frame) = FromNode::decode(&bytes) {
            prop_assert_eq!(FromNode::decode(&frame.clone().encode()), Ok(frame));
        }
        if let Ok(frame) = ToNode::decode(&bytes) {
            prop_assert_eq!(ToNode::decode(&frame.clone().encode()), Ok(frame));
        }
    }

    /// Random bytes rarely reach the inner fields; frames with a few bytes changed do.
    #[test]
    fn damaged_frames_never_panic(
        which in any::<proptest::sample::Index>(),
        damage in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut frames: Vec<Vec<u8>> =
            common::node_frames().into_iter().map(|(_, frame)| frame.encode()).collect();
        frames.extend(common::server_frames().into_iter().map(|(_, frame)| frame.encode()));
        let mut bytes = frames[which.index(frames.len())].clone();
        for (position, byte) in damage {
            let position = position.index(bytes.len());
            bytes[position] = byte;
        }
        if let Ok(frame) = FromNode::decode(&bytes) {
            prop_assert_eq!(FromNode::decode(&frame.clone().encode()), Ok(frame));
        }
        if let Ok(frame) = ToNode::decode(&bytes) {
            prop_assert_eq!(ToNode::decode(&frame.clone().encode()), Ok(frame));
        }
    }
}

#[test]
fn enrolment_round_trips_and_hides_its_token() {
    let request = v1::EnrolRequest {
        protocol_version: 1,
        token: "trb1_secret".into(),
        certificate_request: vec![0x30],
        signing_key: vec![5; 32],
        software_version: "0.1.0".into(),
    };
    assert!(!format!("{request:?}").contains("secret"));
    let parsed = enrolment::Enrol::try_from(request.clone()).unwrap();
    assert!(!format!("{parsed:?}").contains("secret"));
    assert_eq!(v1::EnrolRequest::from(parsed), request);

    let spaced = v1::EnrolRequest { token: "a b".into(), ..request.clone() };
    assert!(matches!(
        enrolment::Enrol::try_from(spaced),
        Err(WireError::Invalid { field: "enrol.token", .. })
    ));
    let long = v1::EnrolRequest { token: "a".repeat(1025), ..request.clone() };
    assert!(matches!(
        enrolment::Enrol::try_from(long),
        Err(WireError::Length { field: "enrol.token", found: 1025, .. })
    ));
    let key = v1::EnrolRequest { signing_key: vec![5; 31], ..request };
    assert!(matches!(
        enrolment::Enrol::try_from(key),
        Err(WireError::Length { field: "enrol.signing_key", found: 31, .. })
    ));

    let reply = enrolment::Enrolled {
        certificate_chain_pem: Some("chain".into()),
        ca_pem: "ca".into(),
        aggregator_signing_key: [6; 32],
        member: "north".parse().unwrap(),
    };
    let wire = v1::EnrolReply::from(reply.clone());
    assert_eq!(enrolment::Enrolled::try_from(wire.clone()), Ok(reply));
    let renamed = v1::EnrolReply { member: "North!".into(), ..wire };
    assert!(matches!(
        enrolment::Enrolled::try_from(renamed),
        Err(WireError::Invalid { field: "enrolled.member", .. })
    ));
}

#[test]
fn renewal_round_trips_and_its_bounds_hold() {
    let ask = renewal::Renew {
        certificate_request: Some(vec![0x30]),
        trusted_authorities: vec![[1; 32], [2; 32]],
    };
    let wire = v1::RenewRequest::from(ask.clone());
    assert_eq!(renewal::Renew::try_from(wire.clone()), Ok(ask));
    let none = v1::RenewRequest { certificate_request: vec![], ..wire.clone() };
    assert_eq!(renewal::Renew::try_from(none).unwrap().certificate_request, None);
    for trusted_authorities in [vec![vec![1; 31]], vec![vec![1; 32]; 9]] {
        let wrong = v1::RenewRequest { trusted_authorities, ..wire.clone() };
        let error = renewal::Renew::try_from(wrong).unwrap_err();
        let field = "renew.trusted_authorities";
        assert!(matches!(error, WireError::Length { field: f, .. } if f == field), "{error}");
    }
    let reply =
        renewal::Renewed { certificate_chain_pem: None, ca_pem: "ca".into(), renew_now: true };
    let wire = v1::RenewReply::from(reply.clone());
    assert_eq!(renewal::Renewed::try_from(wire), Ok(reply));
    assert!(renewal::Renewed::try_from(v1::RenewReply::default()).is_err(), "no authority");
}

#[test]
fn what_people_ask_round_trips_and_its_bounds_hold() {
    let submit = v1::SubmitJobRequest { job_toml: "x".repeat(1024 * 1024 + 1) };
    assert!(control::SubmitJob::try_from(submit).is_err());
    let token = v1::IssueTokenRequest { member: "auditor/ada".into(), valid_hours: 1 };
    let parsed = control::IssueToken::try_from(token.clone()).unwrap();
    assert_eq!(v1::IssueTokenRequest::from(parsed), token);
    let reply = v1::IssueTokenReply { token: "trb1_secret".into() };
    assert!(!format!("{reply:?}").contains("secret"));
    let issued = control::IssuedToken::try_from(reply).unwrap();
    assert!(!format!("{issued:?}").contains("secret"));
    for (member, valid_hours) in [("king/ada", 1), ("", 1), ("north", 9000)] {
        let wrong = v1::IssueTokenRequest { member: member.into(), valid_hours };
        assert!(control::IssueToken::try_from(wrong).is_err(), "{member} {valid_hours}");
    }
    let revoke = |member: &str, serial: &str| {
        let wire = v1::RevokeRequest { member: member.into(), serial: serial.into() };
        control::Revoke::try_from(wire)
    };
    assert_eq!(revoke("north", ""), Ok(control::Revoke::Member("north".parse().unwrap())));
    let serial = control::Serial::new("7F:00").unwrap();
    assert_eq!(revoke("", "7f00"), Ok(control::Revoke::Certificate(serial)));
    for (member, serial) in [("", ""), ("north", "7f"), ("", "xyz"), ("", &"7".repeat(41))] {
        assert!(revoke(member, serial).is_err(), "{member} {serial}");
    }
    for job in ["", "a b", "a\u{7f}", &"j".repeat(161)] {
        assert!(control::JobName::try_from(v1::JobRequest { job: job.into() }).is_err(), "{job}");
    }
    let report = control::AgencyReport {
        agency: "north".parse().unwrap(),
        revoked: true,
        signing_key: [3; 32],
        certificate: Some((control::Serial::new("ab").unwrap(), 7)),
    };
    let wire = v1::AgencyReport::from(report.clone());
    assert_eq!(control::AgencyReport::try_from(wire), Ok(report));
}

#[test]
fn a_fetched_file_cannot_lead_out_of_its_folder() {
    let chunk = |path: &str| {
        control::FileChunk::try_from(v1::FileChunk { path: path.into(), data: vec![1] })
    };
    for good in ["manifest.json", "sums/0001.bin", "model.safetensors"] {
        assert_eq!(chunk(good).unwrap().path, good);
    }
    for bad in ["", "/etc/passwd", "../x", "sums/../../x", "a//b", ".ssh/x", "a\\b", "C:x", "A"] {
        assert!(chunk(bad).is_err(), "{bad}");
    }
    let long = v1::FileChunk { path: "a".into(), data: vec![0; 1024 * 1024 + 1] };
    assert!(control::FileChunk::try_from(long).is_err());
}
