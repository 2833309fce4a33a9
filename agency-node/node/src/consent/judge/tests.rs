//! Approvals that hold, and each way in which one does not.

use std::collections::BTreeMap;

use tributary_job::spec::PrivacyMode;
use tributary_secagg::Identity;

use super::*;
use crate::consent::SignedApproval;
use crate::fixtures::JOB;
use crate::policy::{Approval as Rules, Automatic};

const NOW: &str = "2026-03-01T12:00:00Z";
const JANE: &str = "jane";

struct Scene {
    rules: Rules,
    consent: Consent,
    spec: JobSpec,
    jane: Identity,
    now: Option<OffsetDateTime>,
    version: Result<String, String>,
}

fn scene() -> Scene {
    let jane = Identity::generate().unwrap();
    let sets = |name: &str| (name.to_owned(), vec!["d".to_owned()]);
    let rules = Rules { stewards: [sets(JANE), sets("joe")].into(), ..Rules::default() };
    let stewards = BTreeMap::from([(JANE.to_owned(), jane.verifying_key())]);
    Scene {
        rules,
        consent: Consent { stewards, ..Consent::default() },
        spec: JobSpec::from_toml(JOB).unwrap(),
        jane,
        now: parse_time(NOW),
        version: Ok("v1".to_owned()),
    }
}

/// What Jane signs about the job `j` on version `v1`.
fn approval() -> Approval {
    let times = ("2026-03-01T11:00:00Z", "2026-03-08T11:00:00Z");
    Approval::new(("a", "j"), ("d", "v1"), JANE, times)
}

impl Scene {
    fn approve(&mut self, signed: SignedApproval) {
        self.consent.decisions.insert("j".into(), Decision::Approved { approval: signed });
    }

    fn of(&self, job: &str, epsilon: f64) -> Verdict {
        let version = || self.version.clone();
        let case = Case {
            agency: "a",
            job,
            spec: &self.spec,
            epsilon: Some(epsilon),
            rounds: 4,
            now: self.now,
            dataset_version: &version,
        };
        judge(&self.rules, &self.consent, &case)
    }

    fn verdict(&self) -> Verdict {
        self.of("j", 1.0)
    }

    /// Why it waits.
    fn waits(&self) -> String {
        match self.verdict() {
            Verdict::Waits(why) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn granted() -> Scene {
    let mut scene = scene();
    let signed = approval().sign(&scene.jane).unwrap();
    scene.approve(signed);
    assert!(matches!(scene.verdict(), Verdict::Granted(Grounds::Steward { .. })));
    scene
}

#[test]
fn nobodys_word_is_no_word() {
    let mut scene = scene();
    assert!(scene.waits().contains("requests show"), "{}", scene.waits());
    scene.consent.stewards.clear();
    assert!(scene.waits().contains("steward add"), "{}", scene.waits());
    scene.rules.stewards.clear();
    assert!(scene.waits().contains("approval.stewards"), "{}", scene.waits());
    scene.rules = Rules::not_required();
    assert_eq!(scene.verdict(), Verdict::Granted(Grounds::Policy));
}

#[test]
fn an_approved_job_under_other_parameters_is_another_job() {
    let scene = granted();
    // The aggregator shows the same approval's job with one number changed: another hash.
    assert!(matches!(scene.of("k", 1.0), Verdict::Waits(_)));
}

#[test]
fn an_approval_of_another_job_agency_dataset_or_version_is_refused() {
    type Change = fn(&mut Approval);
    let change: [(Change, &str); 4] = [
        (|a| a.job = "k".into(), "for job k, not for j"),
        (|a| a.agency = "b".into(), "for agency b, not for a"),
        (|a| a.dataset = "e".into(), "for dataset e, not for d"),
        (|a| a.dataset_version = "v0".into(), "it was version v0, it is version v1"),
    ];
    for (change, words) in change {
        let (mut scene, mut other) = (scene(), approval());
        change(&mut other);
        let signed = other.sign(&scene.jane).unwrap();
        scene.approve(signed);
        assert!(scene.waits().contains(words), "{}", scene.waits());
    }
}

#[test]
fn a_tampered_statement_or_a_foreign_signature_is_refused() {
    let mut scene = scene();
    let signed = approval().sign(&scene.jane).unwrap();
    let later = signed.statement.replace("2026-03-08", "2026-05-08");
    assert_ne!(later, signed.statement);
    let forged = approval().sign(&Identity::generate().unwrap()).unwrap();
    for (statement, signature) in [
        (later, signed.signature.clone()),
        (signed.statement.clone(), forged.signature),
        (signed.statement.clone(), String::new()),
        (signed.statement.clone(), "zz".repeat(64)),
    ] {
        scene.approve(SignedApproval { statement, signature });
        assert!(scene.waits().contains("not signed by the registered key of jane"));
    }
    let spaced = signed.statement.replace(":", ": ");
    for statement in [spaced, "{}".into(), "x".repeat(9000), String::new()] {
        scene.approve(SignedApproval { statement, signature: signed.signature.clone() });
        assert!(scene.waits().contains("cannot be read"), "{}", scene.waits());
    }
}

#[test]
fn a_steward_who_is_unknown_removed_or_not_named_for_the_dataset_approves_nothing() {
    let mut scene = granted();
    // Joe may approve by the policy, and is not registered: nobody can sign as Joe.
    let mut joe = approval();
    joe.steward = "joe".into();
    let signed = joe.sign(&scene.jane).unwrap();
    scene.approve(signed);
    assert!(scene.waits().contains("joe, who is not registered"), "{}", scene.waits());
    // Registered with a key of his own, Jane's signature is still not his.
    let key = Identity::generate().unwrap();
    scene.consent.stewards.insert("joe".into(), key.verifying_key());
    assert!(scene.waits().contains("registered key of joe"), "{}", scene.waits());
    let mut scene = granted();
    scene.rules.stewards.insert(JANE.into(), vec!["other".into()]);
    assert!(scene.waits().contains("may not approve jobs on d"), "{}", scene.waits());
    let mut scene = granted();
    scene.consent.stewards.remove(JANE);
    assert!(scene.waits().contains("not registered"), "{}", scene.waits());
}

#[test]
fn an_approval_ends_and_has_a_longest_span() {
    let mut scene = granted();
    scene.now = parse_time("2026-03-08T10:59:59Z");
    assert!(matches!(scene.verdict(), Verdict::Granted(_)));
    scene.now = parse_time("2026-03-08T11:00:00Z");
    assert!(scene.waits().contains("expired at 2026-03-08T11:00:00Z"), "{}", scene.waits());
    // A node that does not know the time believes nothing that ends.
    scene.now = None;
    assert!(scene.waits().contains("does not know the time"), "{}", scene.waits());
    scene.now = parse_time("2026-03-01T10:00:00Z");
    assert!(scene.waits().contains("from the future"), "{}", scene.waits());
    let mut scene = granted();
    scene.rules.max_days = 6;
    assert!(scene.waits().contains("longer than the 6 days"), "{}", scene.waits());
}

#[test]
fn a_dataset_that_cannot_be_read_is_not_the_approved_one() {
    let mut scene = granted();
    scene.version = Err("/srv/d.csv: no such file".into());
    assert!(scene.waits().contains("no such file"), "{}", scene.waits());
}

#[test]
fn a_no_wins_over_everything() {
    let (by, at, reason) = ("joe".to_owned(), NOW.to_owned(), "not this year".to_owned());
    let denied = Decision::Denied { by: by.clone(), at: at.clone(), reason: reason.clone() };
    let revoked = Decision::Revoked { by, at, reason };
    for no in [denied, revoked] {
        for required in [true, false] {
            let mut scene = granted();
            scene.rules.required = required;
            scene.rules.auto = Some(automatic());
            scene.consent.decisions.insert("j".into(), no.clone());
            let Verdict::Refused(why) = scene.verdict() else { panic!("{:?}", scene.verdict()) };
            assert!(why.contains("joe") && why.contains("not this year"), "{why}");
        }
    }
}

fn automatic() -> Automatic {
    Automatic {
        datasets: vec!["d".into()],
        modes: vec![PrivacyMode::Record],
        max_epsilon: 1.0,
        max_rounds: 4,
    }
}

#[test]
fn nobody_is_asked_only_within_every_automatic_bound() {
    let mut scene = scene();
    scene.rules.auto = Some(automatic());
    assert_eq!(scene.verdict(), Verdict::Granted(Grounds::Automatic));
    assert!(matches!(scene.of("j", 1.001), Verdict::Waits(_)));
    let narrower: [fn(&mut Automatic); 4] = [
        |auto| auto.datasets = vec!["e".into()],
        |auto| auto.modes = vec![PrivacyMode::Person],
        |auto| auto.max_epsilon = 0.5,
        |auto| auto.max_rounds = 3,
    ];
    for narrow in narrower {
        let mut auto = automatic();
        narrow(&mut auto);
        scene.rules.auto = Some(auto);
        assert!(matches!(scene.verdict(), Verdict::Waits(_)), "{:?}", scene.rules.auto);
    }
}
