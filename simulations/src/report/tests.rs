//! The page holds every section, follows the numbers, and nothing in it can break out.

use std::collections::BTreeMap;

use tributary_dp::Adversary;
use tributary_ledger::Head;
use tributary_round::record::AbortEntry;

use super::*;
use crate::summary::{AgainstAdversary, CurvePoint, RecordHead, RoundMillis};

/// Six rounds of three agencies; `b` is lost in round 2 and back in round 4.
pub(crate) fn example() -> Summary {
    let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    let (all, two) = (names(&["a", "b", "c"]), names(&["a", "c"]));
    Summary {
        job: "toy".into(),
        description: "Tell <good> from \"bad\".".into(),
        job_hash: "ab".repeat(32),
        agencies: all.clone(),
        declared_records: BTreeMap::from([("a".into(), 12_345), ("b".into(), 9), ("c".into(), 7)]),
        rounds: 6,
        training_rounds: 5,
        attempts: 7,
        survivors: vec![all.clone(), all.clone(), two.clone(), two, all.clone(), all],
        dropped: BTreeMap::from([(2, names(&["b"]))]),
        min_survivors: 2,
        colluders: 1,
        times_to_event: false,
        test_auc: Some(0.74),
        test_accuracy: 0.7,
        test_log_loss: 0.5,
        test_records: 1000,
        held_out: None,
        evaluations: Vec::new(),
        released: None,
        learning_curve: vec![
            CurvePoint { round: 1, test_auc: Some(0.5), test_accuracy: 0.5, test_log_loss: 0.7 },
            CurvePoint { round: 6, test_auc: Some(0.74), test_accuracy: 0.7, test_log_loss: 0.5 },
        ],
        pooled_test_auc: Some(0.75),
        silo_test_auc: BTreeMap::from([("a".into(), 0.71), ("b".into(), 0.45), ("c".into(), 0.6)]),
        pooled_test_accuracy: 0.71,
        silo_test_accuracy: BTreeMap::from([("a".into(), 0.69), ("b".into(), 0.5)]),
        bits_per_token: None,
        mode: "record".into(),
        epsilon: Some(1.5),
        delta: 1e-6,
        planned_epsilon: Some(1.9),
        epsilon_against: Adversary::ALL
            .into_iter()
            .map(|adversary| AgainstAdversary { adversary, honest_shares: 2, epsilon: Some(1.5) })
            .collect(),
        epsilon_by_round: vec![0.5, 0.8, 1.0, 1.2, 1.4, 1.5],
        noise_multiplier: Some(1.2),
        sampling_rate: 0.1,
        clip_norm: 1.0,
        parameters: 65,
        bytes_up_per_parameter: 4.2,
        round_millis: RoundMillis { median: 10.0, p95: 20.0 },
        trainer: "reference".into(),
        seconds: BTreeMap::from([("train".into(), 90.0), ("total".into(), 90.0)]),
        record_head: RecordHead { length: 9, hash: "cd".repeat(32) },
        simulated: false,
        software_version: "0.1.0".into(),
    }
}

fn record() -> Record {
    let (late, reason) = (vec!["b".to_owned(), "c".to_owned()], "too few & late".to_owned());
    Record {
        rounds: Vec::new(),
        aborts: vec![AbortEntry {
            gone: vec![],
            round: 3,
            attempt: 0,
            cohort: vec![],
            late,
            reason,
        }],
        agencies: Vec::new(),
        accusations: Vec::new(),
        end: None,
        head: Head::default(),
    }
}

#[test]
fn every_section_is_there_and_tells_what_happened() {
    let page = page(&example(), &record());
    for id in [
        "learning-curve",
        "comparison",
        "who",
        "privacy-spent",
        "privacy-statement",
        "agencies",
        "time",
        "verify",
    ] {
        assert_eq!(page.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
    for text in [
        "b was lost during round 2; the round was finished without it. It took part again from \
         round 4 on.",
        "Attempt 0 of round 3 was given up: too few &amp; late (b, c let a deadline pass).",
        "12,345",
        "4 of 6",
        "simulate verify",
        "1 min 30 s",
        "What is not covered",
    ] {
        assert!(page.contains(text), "{text}");
    }
}

#[test]
fn the_page_is_self_contained_and_safe() {
    let page = page(&example(), &record());
    assert!(page.contains("Tell &lt;good&gt; from &quot;bad&quot;"));
    for never in ["<script", "http://", "https://", "url(", "<link", "@import", "NaN", "<good>"] {
        assert!(!page.contains(never), "{never}");
    }
    for tag in ["section", "svg", "table", "ul", "div", "header", "footer", "main", "details"] {
        let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
        assert_eq!(page.matches(&open).count(), page.matches(&close).count(), "{tag}");
    }
    // Every chart has words for those who cannot see it.
    let charts = page.matches("role=\"img\"").count();
    assert_eq!((charts, page.matches("<desc").count()), (5, 5));
}

#[test]
fn a_simulation_says_that_it_is_one() {
    let words = "its noise protects nobody";
    assert!(!page(&example(), &record()).contains(words));
    let simulated = Summary { simulated: true, ..example() };
    assert!(page(&simulated, &record()).contains(words));
}

#[test]
fn without_noise_the_page_says_so() {
    let mut open = example();
    open.epsilon = None;
    open.planned_epsilon = None;
    open.epsilon_by_round.clear();
    open.epsilon_against.clear();
    let page = page(&open, &record());
    assert!(page.contains("no differential privacy") && !page.contains("id=\"privacy-statement\""));
}
