//! Whose word a job needs, at the offer, before every round and before every charge.

use tributary_job::Manifest;
use tributary_secagg::{Identity, NodeMessage, NodeSet, ServerMessage};
use tributary_wire::Text;
use tributary_wire::session::{FromNode, JobAnswer, JobEnd, JobOutcome, RefusalCode, ToNode};

use crate::audit::Event;
use crate::book::Book;
use crate::consent::{Approval, Consent, Decision};
use crate::engine::{Engine, Now, Record};
use crate::fixtures::{Federation, JOB};
use crate::policy::{Approval as Rules, Hours, RosterTrust};

/// A federation whose first agency asks a data steward.
struct Scene {
    federation: Federation,
    jane: Identity,
    consent: Consent,
}

fn at(text: &str) -> Now {
    Now(text.to_owned())
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut crate::policy::Policy)) -> Self {
        let mut federation = Federation::new(JOB);
        let mut setup = federation.setup(0);
        let stewards = [("jane".to_owned(), vec!["d".to_owned()])].into();
        setup.policy.approval = Rules { stewards, ..Rules::default() };
        change(&mut setup.policy);
        federation.engines[0] = Engine::new(setup, Book::replay(&federation.book(0)).unwrap());
        let jane = Identity::generate().unwrap();
        let stewards = [("jane".to_owned(), jane.verifying_key())].into();
        let mut scene =
            Self { federation, jane, consent: Consent { stewards, ..Consent::default() } };
        scene.tell();
        scene
    }

    /// As the daemon does when somebody has decided.
    fn tell(&mut self) {
        self.federation.engines[0].set_consent(self.consent.clone());
    }

    fn job(&self) -> String {
        self.federation.plan.job.to_string()
    }

    fn approve(&mut self, expires: &str) {
        self.approve_version("v1", expires);
    }

    fn approve_version(&mut self, version: &str, expires: &str) {
        let job = self.job();
        let times = ("2026-01-01T00:00:00Z", expires);
        let approval = Approval::new(("a", &job), ("d", version), "jane", times);
        let approval = approval.sign(&self.jane).unwrap();
        self.consent.decisions.insert(job, Decision::Approved { approval });
        self.tell();
    }

    fn revoke(&mut self) {
        let (by, at) = ("jane".to_owned(), "2026-01-01T00:00:00Z".to_owned());
        let revoked = Decision::Revoked { by, at, reason: "a person withdrew".into() };
        self.consent.decisions.insert(self.job(), revoked);
        self.tell();
    }

    fn answer(&mut self) -> JobAnswer {
        self.federation.answer(0)
    }

    fn everybody_accepts(&mut self) {
        for i in 0..5 {
            assert_eq!(self.federation.answer(i), JobAnswer::Accepted);
        }
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.federation.audits.iter().filter(|(i, _)| *i == 0).map(|(_, e)| e.kind()).collect()
    }
}

fn code(answer: &JobAnswer) -> RefusalCode {
    match answer {
        JobAnswer::Refused { code, .. } => *code,
        JobAnswer::Accepted => panic!("accepted"),
    }
}

fn only_answer(sent: &[FromNode]) -> JobAnswer {
    match sent {
        [FromNode::JobReply(reply)] => reply.answer.clone(),
        other => panic!("one answer expected: {other:?}"),
    }
}

#[test]
fn a_job_that_nobody_approved_waits_and_is_taken_up_in_the_same_session() {
    let mut scene = Scene::new();
    let before = scene.federation.engines[0].book().status("d").unwrap();
    let JobAnswer::Refused { code, text } = scene.answer() else { panic!("accepted") };
    assert_eq!((code, text.as_str()), (RefusalCode::NotApproved, ""), "a code and no word more");
    let [.., Record::Requested { job, manifest, .. }] = scene.federation.persisted[0].as_slice()
    else {
        panic!("the request is not durable")
    };
    assert_eq!((job, manifest), (&scene.job(), &scene.federation.manifest.to_canonical().unwrap()));
    assert_eq!(scene.federation.engines[0].book().status("d").unwrap(), before, "costs nothing");
    // Time passes and nobody has decided: nothing is said.
    assert_eq!(scene.federation.reconsider(0), []);
    scene.approve("2026-01-31T00:00:00Z");
    let sent = scene.federation.reconsider(0);
    assert_eq!(only_answer(&sent), JobAnswer::Accepted);
    assert_eq!(scene.federation.reconsider(0), []);
    assert!(matches!(scene.federation.persisted[0].last(), Some(Record::Accepted { .. })));
    assert_eq!(scene.kinds(), ["offer-seen", "request-opened", "job-accepted"]);
    let grounds = scene.federation.audits.iter().rev().find_map(|(_, event)| match event {
        Event::JobAccepted { grounds, dataset_version, .. } => Some((grounds, dataset_version)),
        _ => None,
    });
    let (grounds, version) = grounds.unwrap();
    assert!(grounds.contains("approved by jane until 2026-01-31"), "{grounds}");
    assert_eq!(version, "v1");
}

#[test]
fn no_record_is_read_before_the_word() {
    let mut scene = Scene::new();
    let mut setup = scene.federation.setup(0);
    setup.policy.approval = Rules::default();
    for source in setup.datasets.values_mut() {
        source.load = Box::new(|_| panic!("opened"));
        source.version = Box::new(|| panic!("opened"));
    }
    let book = Book::replay(&scene.federation.book(0)).unwrap();
    scene.federation.engines[0] = Engine::new(setup, book);
    assert_eq!(code(&scene.answer()), RefusalCode::NotApproved);
}

#[test]
fn the_same_job_under_other_parameters_waits_again() {
    let mut scene = Scene::new();
    scene.approve("2026-01-31T00:00:00Z");
    let replays: [fn(&mut Manifest); 4] = [
        |m| m.nonce = "01".into(),
        |m| m.spec.training.rounds = 2,
        |m| m.spec.privacy.clip_norm = 2.0,
        |m| m.roster[4].signing_key = "ab".repeat(32),
    ];
    for replay in replays {
        let mut manifest = scene.federation.manifest.clone();
        std::mem::swap(&mut scene.federation.manifest, &mut manifest);
        replay(&mut scene.federation.manifest);
        assert_eq!(code(&scene.answer()), RefusalCode::NotApproved);
        scene.federation.manifest = manifest;
    }
    assert_eq!(scene.answer(), JobAnswer::Accepted);
}

#[test]
fn a_policy_that_is_stricter_than_the_approval_wins() {
    let mut scene = Scene::with(|policy| policy.max_rounds = 1);
    scene.approve("2026-01-31T00:00:00Z");
    assert_eq!(code(&scene.answer()), RefusalCode::PolicyOperation);
    let mut scene = Scene::with(|policy| policy.max_epsilon_per_year = 0.01);
    scene.approve("2026-01-31T00:00:00Z");
    assert_eq!(code(&scene.answer()), RefusalCode::BudgetSpent);
    let note = scene.federation.notes.iter().find(|n| n.contains("last 365 days")).unwrap();
    assert!(note.contains("the policy allows 0.01 a year"), "{note}");
}

/// Runs the key agreement and the first attempt up to agency 0's turn to upload; what it then sends.
fn up_to_the_charge(scene: &mut Scene, before_the_turn: impl FnOnce(&mut Scene)) -> usize {
    let facts = scene.federation.agree(1);
    let seat = scene.federation.server();
    let view = scene.federation.view(0);
    let (mut server, out) =
        tributary_secagg::ServerRound::open(&seat, &facts, view, NodeSet::full(5)).unwrap();
    let mut queue: std::collections::VecDeque<_> = crate::fixtures::sends(out).into();
    let mut hold = Some(before_the_turn);
    let mut uploaded = 0;
    while let Some((node, message)) = queue.pop_front() {
        let turn = node.0 == 0 && matches!(message, ServerMessage::UploadTurn(_));
        if let Some(hold) = hold.take_if(|_| turn) {
            hold(scene);
        }
        let answers = match node.0 {
            // Not only protocol messages come back from it here.
            0 => {
                let frame = tributary_wire::session::Secagg {
                    job: scene.federation.plan.job.0,
                    frame: message.encode().into(),
                };
                let sent = scene.federation.give(0, ToNode::Secagg(frame));
                let limits = scene.federation.limits;
                let message = |frame| match frame {
                    FromNode::Secagg(s) => Some(NodeMessage::decode(&s.frame, &limits).unwrap()),
                    _ => None,
                };
                sent.into_iter().filter_map(message).collect()
            }
            _ => scene.federation.tell(usize::from(node.0), &message),
        };
        for answer in answers {
            uploaded += usize::from(node.0 == 0 && matches!(answer, NodeMessage::MaskedDone(_)));
            queue.extend(crate::fixtures::sends(server.handle(node, answer).unwrap()));
        }
    }
    assert!(hold.is_none(), "no turn to upload came");
    uploaded
}

fn charges(scene: &Scene) -> usize {
    scene.federation.book(0).iter().filter(|e| e.kind == "budget-charged").count()
}

#[test]
fn a_round_of_an_approved_job_is_charged_and_recorded() {
    let mut scene = Scene::new();
    scene.approve("2026-01-31T00:00:00Z");
    scene.everybody_accepts();
    assert_eq!(up_to_the_charge(&mut scene, |_| {}), 1);
    assert_eq!(charges(&scene), 1);
    let release = scene.federation.audits.iter().find_map(|(i, event)| match event {
        Event::Release { rdp, epsilon_spent, operation, .. } if *i == 0 => {
            Some((*rdp, *epsilon_spent, operation.clone()))
        }
        _ => None,
    });
    let (rdp, spent, operation) = release.unwrap();
    assert!(rdp > 0.0);
    assert_eq!(operation, "statistics");
    let status = scene.federation.engines[0].book().status("d").unwrap();
    assert_eq!(spent, Some(status.spent));
}

#[test]
fn a_revocation_stops_the_job_before_its_next_charge_and_ends_it_here() {
    let mut scene = Scene::new();
    scene.approve("2026-01-31T00:00:00Z");
    scene.everybody_accepts();
    assert_eq!(up_to_the_charge(&mut scene, Scene::revoke), 0, "it uploaded");
    assert_eq!(charges(&scene), 0);
    let engine = &scene.federation.engines[0];
    assert!(engine.job().is_none() && engine.book().is_closed(&scene.job()));
    assert_eq!(engine.book().status("d").unwrap().committed, 0.0, "the rest is free again");
    assert!(matches!(scene.federation.persisted[0].last(), Some(Record::Ended { .. })));
    let tail = scene.kinds();
    assert_eq!(tail[tail.len() - 2..], ["job-paused", "job-ended"]);
    // Approved anew it does not come back: its keys are gone.
    scene.approve("2026-01-31T00:00:00Z");
    assert_eq!(code(&scene.answer()), RefusalCode::Unsupported);
}

#[test]
fn an_approval_that_ends_stops_the_job_and_a_new_one_lets_it_go_on() {
    let mut scene = Scene::new();
    scene.approve("2026-01-02T00:00:00Z");
    scene.everybody_accepts();
    let late = |scene: &mut Scene| scene.federation.time = at("2026-01-02T00:00:00Z");
    assert_eq!(up_to_the_charge(&mut scene, late), 0, "it uploaded");
    assert_eq!(charges(&scene), 0);
    let committed = scene.federation.engines[0].book().status("d").unwrap().committed;
    assert!(committed > 0.0, "the job still waits");
    assert_eq!(scene.federation.reconsider(0), [], "it was said once");
    scene.approve("2026-01-31T00:00:00Z");
    let sent = scene.federation.reconsider(0);
    assert_eq!(only_answer(&sent), JobAnswer::Accepted);
    assert_eq!(scene.kinds().last(), Some(&"job-resumed"));
}

#[test]
fn a_clock_that_is_set_back_revives_nothing() {
    let mut clock = crate::clock::Clock::new(None);
    let time = |text: &str| at(text).time().unwrap();
    let mut scene = Scene::new();
    scene.approve("2026-01-02T00:00:00Z");
    scene.federation.time = clock.at(time("2026-01-02T00:00:01Z"));
    assert_eq!(code(&scene.answer()), RefusalCode::NotApproved);
    scene.federation.time = clock.at(time("2026-01-01T12:00:00Z"));
    assert_eq!(code(&scene.answer()), RefusalCode::NotApproved);
    // Without the highest time it would.
    scene.federation.time = at("2026-01-01T12:00:00Z");
    assert_eq!(scene.answer(), JobAnswer::Accepted);
}

#[test]
fn a_dataset_that_changes_voids_the_approval_at_the_offer_and_between_rounds() {
    let mut scene = Scene::new();
    scene.approve_version("v0", "2026-01-31T00:00:00Z");
    assert_eq!(code(&scene.answer()), RefusalCode::NotApproved);
    let said = |scene: &Scene| scene.federation.notes.last().unwrap().clone();
    assert!(said(&scene).contains("has changed since jane approved"), "{}", said(&scene));
    scene.approve("2026-01-31T00:00:00Z");
    assert_eq!(only_answer(&scene.federation.reconsider(0)), JobAnswer::Accepted);
    *scene.federation.versions[0].lock().unwrap() = Ok("v2".into());
    assert_eq!(code(&only_answer(&scene.federation.reconsider(0))), RefusalCode::NotApproved);
    assert!(said(&scene).contains("has changed since it was read"), "{}", said(&scene));
    // An approval of the new version does not cover what is in memory.
    scene.approve_version("v2", "2026-01-31T00:00:00Z");
    assert_eq!(scene.federation.reconsider(0), []);
}

#[test]
fn rounds_run_within_the_hours_and_the_job_waits_outside_of_them() {
    #[derive(serde::Deserialize)]
    struct File {
        hours: Vec<Hours>,
    }
    // 2026-01-01 is a Thursday.
    let text = "hours = [{ days = [\"thu\"], from = \"20:00\", to = \"06:00\" }]";
    let hours = toml::from_str::<File>(text).unwrap().hours;
    let mut scene = Scene::with(|policy| policy.hours = hours);
    scene.approve("2026-01-31T00:00:00Z");
    let JobAnswer::Refused { code: why, text } = scene.answer() else { panic!("accepted") };
    assert_eq!(why, RefusalCode::OutsideHours);
    assert_eq!(text.as_str(), "until 2026-01-01T20:00:00Z");
    scene.federation.time = at("2026-01-01T20:00:00Z");
    assert_eq!(only_answer(&scene.federation.reconsider(0)), JobAnswer::Accepted);
    for i in 1..5 {
        assert_eq!(scene.federation.answer(i), JobAnswer::Accepted);
    }
    // A round that began in time ends, and the next one waits.
    let close = |scene: &mut Scene| scene.federation.time = at("2026-01-02T06:00:00Z");
    assert_eq!(up_to_the_charge(&mut scene, close), 1);
    assert_eq!(charges(&scene), 1);
    scene.federation.engines[0].hello("again");
    assert_eq!(code(&scene.answer()), RefusalCode::OutsideHours);
    assert_eq!(scene.federation.reconsider(0), []);
    scene.federation.time = at("2026-01-08T20:00:00Z");
    assert_eq!(only_answer(&scene.federation.reconsider(0)), JobAnswer::Accepted);
}

#[test]
fn a_roster_with_an_invented_agency_is_refused_with_a_code_and_named_here() {
    let mut scene = Scene::with(|policy| policy.roster = RosterTrust::Pinned);
    scene.approve("2026-01-31T00:00:00Z");
    let fingerprints: Vec<_> = scene
        .federation
        .manifest
        .roster
        .iter()
        .map(|entry| (entry.agency.clone(), crate::consent::pins::fingerprint_of(entry)))
        .collect();
    // All but the invented one.
    scene.consent.peers = fingerprints[1..4].iter().cloned().collect();
    scene.tell();
    let JobAnswer::Refused { code: why, text } = scene.answer() else { panic!("accepted") };
    assert_eq!((why, text.as_str()), (RefusalCode::PolicyRoster, ""));
    let (agency, fingerprint) = &fingerprints[4];
    let note = scene.federation.notes.iter().find(|n| n.contains(fingerprint)).unwrap();
    assert!(note.contains(&format!("{agency} with {fingerprint}")), "{note}");
    assert!(note.contains("peers add"), "{note}");
    let Some((0, Event::JobRefused { why, .. })) = scene.federation.audits.last() else {
        panic!("not recorded")
    };
    assert!(why.contains(fingerprint), "{why}");
    // Another key for an agency that is pinned.
    let other = Identity::generate().unwrap().verifying_key().fingerprint();
    scene.consent.peers.insert(agency.clone(), other);
    scene.tell();
    assert_eq!(code(&scene.answer()), RefusalCode::PolicyRoster);
    scene.consent.peers.insert(agency.clone(), fingerprint.clone());
    scene.tell();
    assert_eq!(scene.answer(), JobAnswer::Accepted);
}

#[test]
fn first_use_pins_durably_before_the_job_is_accepted_and_refuses_another_key_later() {
    let mut scene = Scene::with(|policy| policy.roster = RosterTrust::FirstUse);
    scene.approve("2026-01-31T00:00:00Z");
    assert_eq!(scene.answer(), JobAnswer::Accepted);
    let records = &scene.federation.persisted[0];
    let pinned: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Pinned(row) => Some((row.agency.clone(), row.fingerprint.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(pinned.len(), 4, "everybody but itself");
    assert!(matches!(records.last(), Some(Record::Accepted { .. })));
    scene.consent.peers = pinned.into_iter().collect();
    let mut next = Scene::with(|policy| policy.roster = RosterTrust::FirstUse);
    next.consent.peers = scene.consent.peers.clone();
    next.tell();
    let other = Identity::generate().unwrap().verifying_key();
    next.federation.manifest.roster[2].signing_key = other.to_string();
    assert_eq!(code(&next.answer()), RefusalCode::PolicyRoster);
    // Who trusts the aggregator alone still believes a pin more.
    let mut trusting = Scene::with(|policy| policy.roster = RosterTrust::Aggregator);
    trusting.consent.peers = scene.consent.peers.clone();
    trusting.tell();
    trusting.federation.manifest.roster[2].signing_key = other.to_string();
    assert_eq!(code(&trusting.answer()), RefusalCode::PolicyRoster);
}

#[test]
fn the_end_of_a_job_that_waits_closes_the_request() {
    let mut scene = Scene::new();
    assert_eq!(code(&scene.answer()), RefusalCode::NotApproved);
    let end = ToNode::JobEnd(JobEnd {
        job: scene.federation.plan.job.0,
        outcome: JobOutcome::Stopped,
        text: Text::clipped("not every agency accepted in time"),
        certificate: None,
    });
    scene.federation.give(0, end);
    let Some(Record::RequestClosed { outcome, .. }) = scene.federation.persisted[0].last() else {
        panic!("still open")
    };
    assert!(outcome.contains("in time"), "{outcome}");
    scene.approve("2026-01-31T00:00:00Z");
    assert_eq!(scene.federation.reconsider(0), [], "nobody asks any more");
}

#[test]
fn offers_without_end_fill_no_record() {
    let mut scene = Scene::new();
    for i in 0..300 {
        scene.federation.manifest.nonce = format!("{i:04x}");
        assert_eq!(code(&scene.answer()), RefusalCode::NotApproved);
        assert_eq!(code(&scene.answer()), RefusalCode::NotApproved);
    }
    assert_eq!(scene.kinds().len(), 100);
    scene.federation.time = at("2026-01-01T01:00:00Z");
    scene.federation.manifest.nonce = "ffff".into();
    scene.answer();
    let Some((_, Event::RequestOpened { why, .. })) = scene.federation.audits.last() else {
        panic!("not recorded")
    };
    assert!(why.contains("entries about offers were left out"), "{why}");
}
