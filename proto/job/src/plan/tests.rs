//! The plan follows from the manifest, says no where it must, and binds what it must.

use super::*;
use crate::manifest::{MANIFEST_VERSION, RosterEntry};
use crate::spec::JobSpec;

pub(crate) const JOB: &str = r#"
name = "toy"
description = "A small job for tests."
agencies = ["a", "b", "c", "d", "e"]
dataset = "d"

[data]
label = { column = "y", positive = "1", negative = "0" }
features = [
    { kind = "numeric", column = "x", min = 0.0, max = 10.0 },
    { kind = "category", column = "k", values = ["p", "q"] },
]

[model]
family = "mlp"
hidden = [4]

[training]
rounds = 10
learning_rate = 0.5

[privacy]
mode = "record"
epsilon = 2.0
delta = 1e-6
clip_norm = 1.0
sampling_rate = 0.1

[secure_aggregation]
min_survivors = 4
"#;

pub(crate) fn manifest(text: &str) -> Manifest {
    let spec = JobSpec::from_toml(text).unwrap();
    let key = |i: u8| hex::encode([i; 32]);
    let roster = spec
        .agencies
        .iter()
        .enumerate()
        .map(|(i, agency)| RosterEntry {
            agency: agency.clone(),
            signing_key: key(i as u8 + 1),
            declared_records: 1000,
        })
        .collect();
    let aggregator_key = key(99);
    Manifest { version: MANIFEST_VERSION, spec, roster, aggregator_key, nonce: "00".into() }
}

#[test]
fn a_target_epsilon_covers_statistics_and_every_attempt() {
    let plan = Plan::derive(&manifest(JOB)).unwrap();
    let epsilon = plan.epsilon().unwrap().unwrap();
    assert!(epsilon.epsilon <= 2.0 && epsilon.epsilon > 1.9, "{epsilon:?}");
    assert_eq!(plan.rounds, 11);
    assert_eq!(plan.attempts, 20);
    let privacy = plan.privacy.as_ref().unwrap();
    assert_eq!((privacy.statistics_releases, privacy.training_releases), (3, 20));
    assert_eq!(plan.operation(0).unwrap().operation, Operation::Statistics);
    assert_eq!(plan.operation(10).unwrap().operation, Operation::Training);
    assert!(plan.operation(11).is_none());
    assert_eq!(plan.batch, 500.0);
}

#[test]
fn the_range_cannot_wrap_whatever_the_data() {
    let plan = Plan::derive(&manifest(JOB)).unwrap();
    for kind in [plan.statistics.as_ref().unwrap(), &plan.training] {
        assert!(kind.clamp * 5 < 1 << 31, "{kind:?}");
    }
}

#[test]
fn the_parameters_hash_binds_thresholds_noise_and_operation() {
    let base = Plan::derive(&manifest(JOB)).unwrap();
    let hash = |plan: &Plan| plan.params_hash(&plan.training).unwrap();
    for (from, to) in [
        ("epsilon = 2.0", "epsilon = 1.5"),
        ("clip_norm = 1.0", "clip_norm = 1.1"),
        ("min_survivors = 4", "min_survivors = 5"),
        ("sampling_rate = 0.1", "sampling_rate = 0.2"),
    ] {
        let other = Plan::derive(&manifest(&JOB.replace(from, to))).unwrap();
        assert_ne!(hash(&base), hash(&other), "{to}");
        assert_ne!(base.job, other.job, "{to}");
    }
    let statistics = base.params_hash(base.statistics.as_ref().unwrap()).unwrap();
    assert_ne!(hash(&base), statistics);
}

#[test]
fn impossible_jobs_are_refused_with_the_section_to_change() {
    let bad = |from: &str, to: &str| {
        let text = JOB.replace(from, to);
        assert_ne!(text, JOB, "{from}");
        match JobSpec::from_toml(&text) {
            Err(error) => error.to_string(),
            Ok(_) => Plan::derive(&manifest(&text)).unwrap_err().to_string(),
        }
    };
    for (from, to, expected) in [
        ("epsilon = 2.0", "epsilon = 2.0\nnoise_multiplier = 1.0", "privacy"),
        ("clip_norm = 1.0", "clip_norm = nan", "clip_norm"),
        ("min_survivors = 4", "min_survivors = 6", "secure_aggregation"),
        ("column = \"k\"", "column = \"y\"", "label"),
        ("rounds = 10", "rounds = 0", "training.rounds"),
        ("[privacy]", "[privacy]\ndelte = 1", "delte"),
        ("agencies = [\"a\", \"b\"", "agencies = [\"a\", \"a\"", "twice"),
        ("epsilon = 2.0", "epsilon = 0.001", "privacy"),
        ("[data]", "[data]\nperson_column = \"who\"", "person_column"),
    ] {
        let error = bad(from, to);
        assert!(error.contains(expected), "{to}: {error}");
    }
}

#[test]
fn every_attempt_of_the_statistics_round_is_paid_for_in_advance() {
    let attempts = |n: u16| {
        let text = JOB.replace("epsilon = 2.0", "noise_multiplier = 2.0");
        let text = format!("{text}max_attempts = {n}\n");
        Plan::derive(&manifest(&text)).unwrap()
    };
    let (one, five) = (attempts(1), attempts(5));
    assert_eq!(five.privacy.as_ref().unwrap().statistics_releases, 5);
    let epsilon = |plan: &Plan| plan.epsilon().unwrap().unwrap().epsilon;
    assert!(epsilon(&five) > epsilon(&one));
    let text = JOB.replace(r#"    { kind = "numeric", column = "x", min = 0.0, max = 10.0 },"#, "");
    let without = Plan::derive(&manifest(&text)).unwrap();
    assert_eq!(without.privacy.unwrap().statistics_releases, 0);
}

#[test]
fn a_model_beyond_the_limit_is_refused_before_it_is_laid_out() {
    for hidden in ["[65536, 65536]", "[65536, 65536, 65536, 65536, 65536, 65536, 65536, 65536]"] {
        let text = JOB.replace("hidden = [4]", &format!("hidden = {hidden}"));
        let error = Plan::derive(&manifest(&text)).unwrap_err().to_string();
        assert!(error.contains("parameters"), "{error}");
    }
    let model = crate::spec::ModelSpec::Mlp { hidden: vec![4, 7] };
    assert_eq!(model.parameters(3, 5), Some(ParameterLayout::of(&model, 3, 5).total() as u64));
    assert_eq!(model.parameters(usize::MAX, 1), None);
}

#[test]
fn a_description_is_one_short_printable_line() {
    for (good, text) in [
        (true, "x".repeat(256)),
        (false, "x".repeat(257)),
        (false, "two\\nlines".to_owned()),
        (false, "\\u001b[2Jclear".to_owned()),
        (false, "\\u202edetsurt".to_owned()),
        (true, "Gr\u{f6}\u{df}e \u{2013} 5 \u{b5}m".to_owned()),
    ] {
        let job = JOB.replace("A small job for tests.", &text);
        let parsed = JobSpec::from_toml(&job);
        assert_eq!(parsed.is_ok(), good, "{text:?}");
        assert!(parsed.is_ok() || parsed.unwrap_err().field == "description");
    }
}

#[test]
fn mode_none_has_no_noise_and_no_epsilon() {
    let text = JOB
        .replace("mode = \"record\"\nepsilon = 2.0", "mode = \"none\"")
        .replace("[data]", "[data]\nperson_column = \"who\"");
    let plan = Plan::derive(&manifest(&text)).unwrap();
    assert!(plan.epsilon().unwrap().is_none());
    assert!(plan.training.release.is_none());
}

#[test]
fn what_a_specification_can_say_anew_leaves_the_hash_of_old_jobs_alone() {
    let hash = manifest(JOB).hash().unwrap().to_string();
    assert_eq!(hash, "5ddcfd98aec97bca39e652254a3144e23cf5538c02908af836942502548dd1a8");
}

#[test]
fn a_job_that_standardises_nothing_has_no_statistics_round() {
    let text = JOB
        .replace("max = 10.0 }", "max = 10.0, scaling = \"unit\" }")
        .replace(r#"positive = "1", negative = "0""#, r#"classes = ["0", "1", "2"]"#);
    let manifest = manifest(&text);
    let plan = Plan::derive(&manifest).unwrap();
    assert!(plan.statistics.is_none());
    assert_eq!((plan.rounds, plan.numeric_features), (10, 0));
    assert_eq!(plan.layout.total(), (3 * 4 + 4) + (4 * 3 + 3));
    assert_eq!(Manifest::from_canonical(&manifest.to_canonical().unwrap()).unwrap(), manifest);
}

#[test]
fn a_manifest_has_one_form_and_one_hash() {
    let manifest = manifest(JOB);
    let text = manifest.to_canonical().unwrap();
    assert_eq!(Manifest::from_canonical(&text).unwrap(), manifest);
    assert!(Manifest::from_canonical(&format!(" {text}")).is_err());
    let swapped = text.replace("\"version\":1", "\"version\":2");
    assert!(Manifest::from_canonical(&swapped).unwrap_err().to_string().contains("version 2"));
}

/// A decoder's job, as a researcher writes it.
const LANGUAGE: &str = include_str!("../../../../simulations/scenarios/babble-job.toml");

#[test]
fn a_language_job_has_its_tensors_its_memory_and_no_statistics() {
    let spec = JobSpec::from_toml(LANGUAGE).unwrap();
    let families = (spec.model.family(), spec.data.is_language_model());
    assert_eq!(families, ("decoder", true));
    for (from, to, says) in [
        ("family = \"decoder\"", "family = \"mlp\"", "unknown field"),
        ("heads = 4", "heads = 5", "model.heads"),
        ("microbatch = 16", "microbatch = 0", "model.microbatch"),
        ("optimiser = \"adam\"", "optimiser = \"lion\"", "unknown variant"),
        (
            "[data.text]\ncolumn",
            "[data.label]\ncolumn = \"y\"\npositive = \"1\"\nnegative = \"0\"\n[data.text]\ncolumn",
            "leave the label out",
        ),
        ("mode = \"person\"", "mode = \"record\"", "data.person_column"),
    ] {
        assert!(LANGUAGE.contains(from), "{from}");
        let error = JobSpec::from_toml(&LANGUAGE.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(says), "{from} -> {to}: {error}");
    }
}
