//! When a job is over, against an aggregator that says otherwise than the certified sums.

use std::collections::VecDeque;

use tributary_job::{ModelState, Operation};
use tributary_secagg::{
    Digest, EpochFacts, NodeSet, ResultQc, RoundView, ServerOutput, ServerRound,
};
use tributary_wire::Text;
use tributary_wire::session::{JobEnd, JobOutcome, ReportCode, StateChunk, ToNode};

use crate::audit::Event;
use crate::book::{BookEntry, ReleaseKind};
use crate::fixtures::{Federation, JOB, job_without_noise, sends};

/// Nothing gains 8 nats: the second evaluation ends the job, or the first if it drowns in noise.
const STOPS: &str = "\n[evaluation]\nholdout = 0.5\nbins = 4\nevery = 1\nkeep = \"best\"\n\
    [evaluation.stopping]\nmetric = \"log_loss\"\npatience = 1\nmin_improvement = 8.0\n";

fn federation(job: &str) -> Federation {
    let mut table = String::from("x,y\n");
    (0..10).for_each(|i| table += &format!("{i}.5,{}\n", i % 2));
    let job = job.replace("rounds = 3", "rounds = 6");
    Federation::with_tables(&format!("{job}{STOPS}"), vec![table; 5]).accepted()
}

/// The newest certified state, and its certificate.
struct Certified {
    state: ModelState,
    certificate: Option<ResultQc>,
}

impl Certified {
    fn first(f: &Federation) -> Self {
        Self { state: f.plan.initial_state(&f.manifest), certificate: None }
    }

    /// What every party believes about the next round, whether or not the job is over.
    fn view(&self, f: &Federation, attempt: u16) -> RoundView {
        let operation = f.plan.operation(self.state.completed).unwrap();
        RoundView {
            round: self.state.completed,
            attempt,
            operation: operation.operation.code(),
            vector_len: operation.vector_len,
            lane_bits: operation.lanes(),
            state_hash: self.state.hash(&f.plan.job),
            params_hash: f.plan.params_hash(operation).unwrap(),
            previous: self.certificate.as_ref().map_or(Digest::ZERO, ResultQc::digest),
        }
    }

    /// Runs the next round; with `withheld` up to the open sum, without a certificate.
    fn round(&mut self, f: &mut Federation, facts: &EpochFacts, attempt: u16, withheld: bool) {
        let view = self.view(f, attempt);
        let opened = ServerRound::open(&f.server(), facts, view, NodeSet::full(5));
        let (mut server, out) = opened.unwrap();
        let (mut queue, mut next) = (VecDeque::from(out), None);
        while let Some(output) = queue.pop_front() {
            match output {
                ServerOutput::Opened { sum, survivors, .. } if !withheld => {
                    let operation = f.plan.operation(self.state.completed).unwrap();
                    let signed = operation.from_lanes(&sum);
                    let state = f.plan.apply(&f.manifest, &self.state, &signed, survivors.len());
                    let state = state.unwrap();
                    queue.extend(server.provide_state(state.hash(&f.plan.job)));
                    next = Some(state);
                }
                ServerOutput::Certified(qc) => self.certificate = Some(qc),
                output => {
                    for (node, message) in sends(vec![output]) {
                        for answer in f.tell(usize::from(node.0), &message) {
                            queue.extend(server.handle(node, answer).unwrap());
                        }
                    }
                }
            }
        }
        if let Some(next) = next {
            self.state = next;
        }
    }

    fn run_until(&mut self, f: &mut Federation, facts: &EpochFacts, over: impl Fn(&Self) -> bool) {
        while !over(self) && f.plan.next(&self.state).is_some() {
            self.round(f, facts, 0, false);
        }
        let own = |f: &Federation, i: usize| f.engines[i].job().unwrap().state().clone();
        assert!((0..5).all(|i| own(f, i) == self.state), "{:?}", f.notes);
    }

    fn end(&self, f: &Federation) -> ToNode {
        ToNode::JobEnd(JobEnd {
            job: f.plan.job.0,
            outcome: JobOutcome::Completed,
            text: Text::clipped("it no longer improved"),
            certificate: self.certificate.as_ref().map(ResultQc::encode),
        })
    }
}

fn charged(f: &Federation, i: usize) -> Vec<(u32, u16, ReleaseKind)> {
    let book = f.book(i);
    let entries = book.iter().map(|e| serde_json::from_value(e.body.clone()).unwrap());
    entries
        .filter_map(|entry| match entry {
            BookEntry::Charged { charge, .. } => Some((charge.round, charge.attempt, charge.kind)),
            _ => None,
        })
        .collect()
}

fn outcomes(f: &Federation) -> Vec<String> {
    let ended = |(_, event): &(usize, Event)| match event {
        Event::JobEnded { outcome, .. } => Some(outcome.clone()),
        _ => None,
    };
    f.audits.iter().filter_map(ended).collect()
}

/// The attack: the sums say that the job is over, and the aggregator asks for more vectors.
#[test]
fn an_aggregator_that_goes_on_after_the_sums_ended_the_job_gets_no_vector() {
    for job in [job_without_noise(), JOB.to_owned()] {
        let mut f = federation(&job);
        let facts = f.agree(1);
        let mut certified = Certified::first(&f);
        certified.run_until(&mut f, &facts, |_| false);
        assert!(f.plan.stops(&certified.state));
        assert!(certified.state.completed <= 5 && f.plan.rounds == 13);
        let before: Vec<_> = (0..5).map(|i| charged(&f, i)).collect();
        certified.round(&mut f, &facts, 0, true);
        assert_eq!(f.reports, [0, 1, 2, 3, 4].map(|i| (i, ReportCode::StateMismatch)));
        assert_eq!(before, (0..5).map(|i| charged(&f, i)).collect::<Vec<_>>());
        assert!(f.notes.iter().any(|note| note.contains("have ended this job")));
    }
}

/// The attack: the aggregator calls a job completed whose metric still improves, so that a model that it
/// likes better counts as the job's outcome.
#[test]
fn an_aggregator_that_calls_an_unfinished_job_completed_is_contradicted() {
    let mut f = federation(&job_without_noise());
    let facts = f.agree(1);
    let mut certified = Certified::first(&f);
    certified.run_until(&mut f, &facts, |c| c.state.completed == 3);
    assert!(!f.plan.stops(&certified.state), "one evaluation is no reason to stop");
    let end = certified.end(&f);
    f.give(0, end);
    assert!(outcomes(&f)[0].contains("not completed as the aggregator says"), "{:?}", outcomes(&f));
    // The same words once they are true.
    let mut f = federation(&job_without_noise());
    let facts = f.agree(1);
    let mut certified = Certified::first(&f);
    certified.run_until(&mut f, &facts, |_| false);
    let end = certified.end(&f);
    f.give(1, end);
    assert_eq!(outcomes(&f), ["completed: it no longer improved"]);
}

/// The attack: a node that was away is given a state with another history of evaluations.
#[test]
fn a_state_with_another_history_than_the_certified_one_is_refused() {
    let mut f = federation(&job_without_noise());
    let facts = f.agree(1);
    let mut certified = Certified::first(&f);
    certified.run_until(&mut f, &facts, |c| c.state.completed == 3);
    let own = f.engines[0].job().unwrap().state().clone();
    let give = |f: &mut Federation, state: &ModelState| {
        f.reports.clear();
        f.give(
            0,
            ToNode::StateChunk(StateChunk {
                job: f.plan.job.0,
                round: state.completed - 1,
                index: 0,
                count: 1,
                data: state.encode().into(),
                certificate: certified.certificate.as_ref().map(ResultQc::encode),
            }),
        );
        f.reports.clone()
    };
    assert_eq!(give(&mut f, &own), [], "its own state is no news");
    let mut other = own.clone();
    other.evaluations.as_mut().unwrap().sums[0][0] += 1;
    let mut shorter = own.clone();
    shorter.evaluations.as_mut().unwrap().sums.clear();
    let mut none = own.clone();
    none.evaluations = None;
    let mut worse = own.clone();
    worse.evaluations.as_mut().unwrap().best = None;
    for forged in [other, shorter, none, worse] {
        assert_eq!(give(&mut f, &forged), [(0, ReportCode::StateMismatch)]);
        assert_eq!(*f.engines[0].job().unwrap().state(), own);
    }
}

/// All evaluations are reserved in advance; what an early end leaves of the reservation goes back.
#[test]
fn a_job_that_ends_early_gives_back_what_it_did_not_use() {
    let mut f = federation(JOB);
    let open = f.engines[0].book().account("d").unwrap().open.values().next().unwrap();
    // Six evaluations and the spare attempts that they share.
    assert_eq!(open.left().unwrap()[&ReleaseKind::Evaluation], 16);
    let facts = f.agree(1);
    let mut certified = Certified::first(&f);
    let reserved = f.engines[0].book().status("d").unwrap().committed;
    certified.run_until(&mut f, &facts, |_| false);
    assert_eq!(f.engines[0].book().status("d").unwrap().committed, reserved);
    let rounds = certified.state.completed;
    let kinds = charged(&f, 0).iter().filter(|c| c.2 == ReleaseKind::Evaluation).count();
    assert_eq!(kinds as u32, f.plan.schedule.evaluations_in(rounds));
    let end = certified.end(&f);
    f.give(0, end);
    let after = f.engines[0].book().status("d").unwrap();
    // What is committed is what was charged: nothing stays reserved.
    assert!(after.committed < reserved, "{} of {reserved}", after.committed);
    assert!((after.committed - after.spent).abs() < 1e-9, "{after:?}");
    let account = f.engines[0].book().account("d").unwrap();
    assert!(account.open.is_empty());
    assert_eq!(outcomes(&f), ["completed: it no longer improved"]);
}

/// Killed in the middle of an evaluation, after the charge: the attempt stays charged once, the next one is
/// another attempt, and the history is what was certified.
#[test]
fn killed_in_the_middle_of_an_evaluation_nothing_is_charged_twice_or_forgotten() {
    let mut f = federation(JOB);
    let facts = f.agree(1);
    let mut certified = Certified::first(&f);
    certified.run_until(&mut f, &facts, |c| c.state.completed == 2);
    let operation = f.plan.operation(2).unwrap().operation;
    assert_eq!(operation, Operation::Evaluation);
    certified.round(&mut f, &facts, 0, true);
    (0..5).for_each(|i| f.restart(i));
    let facts = f.agree(2);
    certified.round(&mut f, &facts, 0, true);
    assert_eq!(f.reports, [0, 1, 2, 3, 4].map(|i| (i, ReportCode::AttemptSpent)));
    certified.round(&mut f, &facts, 1, false);
    assert_eq!(certified.state.evaluations.as_ref().unwrap().sums.len(), 1);
    (0..5).for_each(|i| f.restart(i));
    for i in 0..5 {
        assert_eq!(*f.engines[i].job().unwrap().state(), certified.state);
        let evaluations = charged(&f, i).into_iter().filter(|c| c.2 == ReleaseKind::Evaluation);
        let numbers: Vec<_> = evaluations.map(|(round, attempt, _)| (round, attempt)).collect();
        assert_eq!(numbers, [(2, 0), (2, 1)]);
    }
}
