//! A node's control variate follows certified rounds alone, through aborts, restarts and missed
//! certificates, and stays with the shared one.

use std::collections::VecDeque;

use tributary_job::ModelState;
use tributary_secagg::messages::{ResultAck, SignedMessage as _};
use tributary_secagg::{
    Digest, EpochFacts, NodeIndex, NodeMessage, NodeSet, ResultQc, ServerOutput, ServerRound,
};
use tributary_wire::Text;
use tributary_wire::session::{JobEnd, JobOutcome, ReportCode, StateChunk, ToNode};

use crate::engine::Record;
use crate::fixtures::{Federation, job_without_noise, sends};

/// Two passes by pairs, from the first round on: no statistics.
fn job() -> String {
    let local = "[training.local]\nepochs = 2\nbatch_size = 2\nlearning_rate = 0.5\nscaffold = \
                 true\n\n[privacy]";
    job_without_noise()
        .replace("max = 10.0 }", "max = 10.0, scaling = \"unit\" }")
        .replace("sampling_rate = 0.5", "sampling_rate = 1.0")
        .replace("[privacy]", local)
}

fn federation() -> (Federation, EpochFacts) {
    let tables = [3, 5, 7, 8, 9].map(|x| format!("x,y\n1,0\n{x},1\n{x},0\n9,1\n"));
    let mut federation = Federation::with_tables(&job(), tables.to_vec()).accepted();
    let facts = federation.agree(1);
    (federation, facts)
}

/// An attempt of the first round, open at the aggregator.
struct Open {
    server: ServerRound,
    next: ModelState,
}

/// Runs an attempt up to the sum; the vector of `late` never arrives in full.
fn open(federation: &mut Federation, facts: &EpochFacts, mut late: Option<usize>) -> Open {
    let view = federation.view(0);
    let (mut server, out) =
        ServerRound::open(&federation.server(), facts, view, NodeSet::full(5)).unwrap();
    let (mut queue, mut sum) = (VecDeque::from(sends(out)), None);
    let lost = late;
    loop {
        while let Some((node, message)) = queue.pop_front() {
            let node = usize::from(node.0);
            for answer in federation.tell(node, &message) {
                if lost == Some(node) && matches!(answer, NodeMessage::MaskedDone(_)) {
                    continue;
                }
                let out = server.handle(NodeIndex(node as u16), answer).unwrap();
                for output in &out {
                    if let ServerOutput::Opened { sum: found, .. } = output {
                        sum = Some(found.clone());
                    }
                }
                queue.extend(sends(out));
            }
        }
        let Some(node) = late.take() else { break };
        queue.extend(sends(server.drop_node(NodeIndex(node as u16))));
    }
    let survivors = server.survivors().unwrap().len();
    assert_eq!(survivors, 5 - usize::from(lost.is_some()));
    let Federation { plan, manifest, .. } = federation;
    let sum = plan.training.from_lanes(&sum.unwrap());
    let next = plan.apply(manifest, &plan.initial_state(manifest), &sum, survivors).unwrap();
    Open { server, next }
}

/// Certifies, and tells those who still take part; the certificate.
fn certify(federation: &mut Federation, open: &mut Open) -> ResultQc {
    let out = open.server.provide_state(open.next.hash(&federation.plan.job));
    let certificate = out.iter().find_map(|output| match output {
        ServerOutput::Certified(qc) => Some(qc.clone()),
        _ => None,
    });
    for (node, message) in sends(out) {
        federation.tell(usize::from(node.0), &message);
    }
    certificate.unwrap()
}

/// The certified state for an agency that missed it.
fn transfer(federation: &mut Federation, i: usize, state: &ModelState, qc: &ResultQc) {
    let (job, round) = (federation.plan.job.0, state.completed);
    let (data, certificate) = (state.encode().into(), Some(qc.encode()));
    let chunk = StateChunk { job, round, index: 0, count: 1, data, certificate };
    federation.give(i, ToNode::StateChunk(chunk));
    assert_eq!(federation.engines[i].job().unwrap().state(), state);
}

fn own(federation: &Federation, i: usize) -> Vec<f32> {
    let job = federation.engines[i].job().unwrap();
    job.control.as_ref().unwrap().value().to_vec()
}

fn is_zero(values: &[f32]) -> bool {
    values.iter().all(|v| *v == 0.0)
}

/// The shared one is not zero and is the mean of the agencies'.
fn together(federation: &Federation, state: &ModelState) {
    let shared = state.control.as_ref().unwrap();
    assert!(!is_zero(shared));
    for (j, c) in shared.iter().enumerate() {
        let mean = (0..5).map(|i| own(federation, i)[j]).sum::<f32>() / 5.0;
        assert!((c - mean).abs() < 1e-6, "{c} {mean}");
    }
}

#[test]
fn a_certified_round_moves_it_in_the_same_record_as_the_state() {
    let (mut federation, facts) = federation();
    let mut attempt = open(&mut federation, &facts, None);
    assert!((0..5).all(|i| is_zero(&own(&federation, i))), "an open sum is not a certified one");
    certify(&mut federation, &mut attempt);
    together(&federation, &attempt.next);
    assert_ne!(own(&federation, 0), own(&federation, 4), "they have other records");
    for i in 0..5 {
        let before = own(&federation, i);
        assert!(!is_zero(&before));
        let last = federation.persisted[i]
            .iter()
            .rfind(|record| matches!(record, Record::State { .. } | Record::Control { .. }));
        assert!(matches!(last, Some(Record::State { control: Some(_), .. })), "{last:?}");
        federation.restart(i);
        assert_eq!(own(&federation, i), before);
    }
}

/// Whatever it made of the attempt is durable before the vector leaves, and counts for nothing.
#[test]
fn an_abandoned_attempt_leaves_it_as_it_was() {
    let (mut federation, facts) = federation();
    let mut attempt = open(&mut federation, &facts, None);
    for i in 0..5 {
        let place = |wanted: fn(&Record) -> bool| federation.persisted[i].iter().position(wanted);
        let control = place(|r| matches!(r, Record::Control { .. })).unwrap();
        let charged = |r: &Record| matches!(r, Record::Book(e) if e.kind == "budget-charged");
        assert!(control < place(charged).unwrap(), "before it is paid for and leaves");
    }
    // One agency's session breaks, one is killed, the others hear that it is over.
    federation.engines[0].hello("again");
    federation.restart(1);
    for (node, message) in sends(attempt.server.cancel()) {
        federation.tell(usize::from(node.0), &message);
    }
    assert!((0..5).all(|i| !federation.engines[i].in_attempt()));
    assert!((0..5).all(|i| is_zero(&own(&federation, i))));
    (0..5).for_each(|i| federation.restart(i));
    assert!((0..5).all(|i| is_zero(&own(&federation, i))));
}

/// Killed with its vector on the way: the certificate, when it comes with the state, says that the
/// vector is in the sum.
#[test]
fn a_node_that_died_before_its_certificate_catches_up_with_the_others() {
    let (mut federation, facts) = federation();
    let mut attempt = open(&mut federation, &facts, None);
    federation.restart(2);
    let qc = certify(&mut federation, &mut attempt);
    assert!(is_zero(&own(&federation, 2)));
    transfer(&mut federation, 2, &attempt.next, &qc);
    together(&federation, &attempt.next);
    // The same state again changes nothing, before and after another restart.
    let after = own(&federation, 2);
    transfer(&mut federation, 2, &attempt.next, &qc);
    federation.restart(2);
    transfer(&mut federation, 2, &attempt.next, &qc);
    assert_eq!(own(&federation, 2), after);
}

#[test]
fn an_agency_that_is_not_among_the_survivors_keeps_its_own() {
    let (mut federation, facts) = federation();
    let mut attempt = open(&mut federation, &facts, Some(4));
    let qc = certify(&mut federation, &mut attempt);
    transfer(&mut federation, 4, &attempt.next, &qc);
    assert!(is_zero(&own(&federation, 4)));
    assert!(!is_zero(&own(&federation, 0)));
    together(&federation, &attempt.next);
    federation.restart(4);
    assert!(is_zero(&own(&federation, 4)));
}

/// A certificate of another attempt as a quorum would sign it, the first agency not among them.
fn signed(federation: &Federation, state: &ModelState) -> ResultQc {
    let survivors = NodeSet::of(5, (1..5).map(NodeIndex));
    let (digest, state_hash) = (Digest([7; 32]), state.hash(&federation.plan.job));
    let signature = |i: usize| {
        let ack = ResultAck {
            context: digest,
            manifest: digest,
            sum_root: digest,
            state_hash,
            survivors: survivors.clone(),
            signature: [0; 64],
        };
        (NodeIndex(i as u16), ack.signed_by(&federation.setup(i).identity).signature)
    };
    ResultQc {
        context: digest,
        manifest_hash: digest,
        sum_root: digest,
        state_hash,
        signatures: (1..5).map(signature).collect(),
        survivors,
    }
}

/// The job went on for two rounds after its vector left: the newest certificate says nothing of it.
#[test]
fn a_node_that_cannot_tell_whether_its_vector_counted_sits_out() {
    let (mut federation, facts) = federation();
    let attempt = open(&mut federation, &facts, None);
    let later = ModelState { completed: 2, ..attempt.next };
    let qc = signed(&federation, &later);
    transfer(&mut federation, 0, &later, &qc);
    assert!(is_zero(&own(&federation, 0)));
    federation.restart(0);
    federation.reports.clear();
    let (_, out) =
        ServerRound::open(&federation.server(), &facts, federation.view(1), NodeSet::full(5))
            .unwrap();
    let start = sends(out).into_iter().find(|(node, _)| node.0 == 0).unwrap().1;
    assert!(federation.tell(0, &start).is_empty());
    assert_eq!(federation.reports, [(0, ReportCode::TrainingFailed)]);
    let said = federation.notes.iter().any(|note| note.contains("vector of round 0"));
    assert!(said, "{:?}", federation.notes);
}

/// A state with Adam's memory is longer too.
#[test]
fn a_state_of_three_vectors_is_caught_up_with() {
    let adam = job()
        .replace("scaffold = true\n", "")
        .replace("rounds = 3", "rounds = 3\noptimiser = \"adam\"\nmomentum = 0.9");
    let mut federation = Federation::new(&adam).accepted();
    federation.agree(1);
    let initial = federation.plan.initial_state(&federation.manifest);
    assert!(initial.second_moment.is_some());
    let later = ModelState { completed: 2, ..initial };
    let qc = signed(&federation, &later);
    transfer(&mut federation, 0, &later, &qc);
}

#[test]
fn a_state_without_a_control_variate_is_refused_and_none_survives_the_job() {
    let (mut federation, facts) = federation();
    let mut attempt = open(&mut federation, &facts, None);
    let bare = ModelState { control: None, ..attempt.next.clone() };
    let qc = signed(&federation, &bare);
    let (job, round) = (federation.plan.job.0, bare.completed);
    let (data, certificate) = (bare.encode().into(), Some(qc.encode()));
    let chunk = StateChunk { job, round, index: 0, count: 1, data, certificate };
    federation.give(0, ToNode::StateChunk(chunk));
    assert_eq!(federation.engines[0].job().unwrap().state().completed, 0);
    certify(&mut federation, &mut attempt);
    // Without its half of the record a node does not go on: zeros would bias every later round.
    let manifest = federation.persisted[1].iter().find_map(|record| match record {
        Record::Accepted { manifest, .. } => Some(manifest.clone()),
        _ => None,
    });
    let stored = crate::engine::StoredJob {
        manifest: manifest.unwrap(),
        epoch: None,
        state: federation.persisted[1].iter().rev().find_map(|record| match record {
            Record::State { state, certificate, .. } => Some((state.clone(), certificate.clone())),
            _ => None,
        }),
        answered: None,
        control: None,
    };
    let problem = federation.engines[1].resume(&stored).unwrap_err();
    assert!(problem.to_string().contains("control variate"), "{problem}");
    let (outcome, text) = (JobOutcome::Stopped, Text::clipped("enough"));
    let end = JobEnd { job: federation.plan.job.0, outcome, text, certificate: None };
    federation.give(2, ToNode::JobEnd(end));
    assert!(federation.engines[2].job().is_none());
}
