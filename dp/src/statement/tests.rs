//! A statement survives JSON, recomputes to itself, and no single claim can be improved unnoticed.

use serde_json::{Value, json};

use super::*;
use crate::budget::JobPrivacy;
use crate::error::DpError;
use crate::mechanism::{NoiseScope, ReleaseParameters};

fn about() -> Identification {
    Identification {
        unit: Unit::Record,
        job_hash: Some("ab".repeat(32)),
        book_hash: None,
        audit_lower_bound: Some(0.4),
    }
}

fn job() -> JobPrivacy {
    let parameters = |dimension, noise_multiplier, sampling_rate| ReleaseParameters {
        clip_norm: 1.0,
        dimension,
        noise_multiplier,
        sampling_rate,
        cohort: 20,
        min_survivors: 17,
        colluders: 2,
        float_error: 1e-6,
        max_units_per_node: 10_000,
        noise: NoiseScope::Distributed,
        count_noise: None,
        compact: None,
    };
    JobPrivacy {
        statistics: Some(Release::derive(&parameters(30, 20.0, 1.0)).unwrap()),
        statistics_releases: 3,
        evaluation: None,
        evaluation_releases: 0,
        training: Release::derive(&parameters(1000, 2.0, 0.04)).unwrap(),
        training_releases: 300,
        delta: 1e-6,
    }
}

fn statement() -> PrivacyStatement {
    PrivacyStatement::for_job(&job(), about()).unwrap()
}

fn reread(value: Value) -> Result<PrivacyStatement, String> {
    serde_json::from_value(value).map_err(|e| e.to_string())
}

#[test]
fn round_trip_and_verification() {
    let statement = statement();
    let text = serde_json::to_string_pretty(&statement).unwrap();
    let back: PrivacyStatement = serde_json::from_str(&text).unwrap();
    assert_eq!(back, statement);
    back.verify().unwrap();
    let epsilon = back.recompute().unwrap();
    assert_eq!(epsilon, job().epsilon().unwrap());
    assert_eq!(back.claims.as_ref().unwrap().epsilon, epsilon.epsilon);
    assert_eq!(back.job().unwrap(), job());
}

#[test]
fn every_changed_claim_is_found() {
    let original = serde_json::to_value(statement()).unwrap();
    let first = "/claims/releases/0";
    for (pointer, value) in [
        ("/format", json!(2)),
        ("/adjacency", json!("replace one unit")),
        ("/not_covered", json!([])),
        ("/trust/0", json!("nobody is trusted")),
        ("/cryptography/1", json!("none")),
        ("/mode", json!("none")),
        ("/about/audit_lower_bound", json!(9.0)),
        ("/claims", Value::Null),
        ("/claims/epsilon", json!(1.0)),
        ("/claims/delta", json!(1e-5)),
        ("/claims/order", json!(99)),
        ("/claims/nature", json!("estimate")),
        ("/claims/accountant", json!("another 1")),
        ("/claims/orders/0", json!(3)),
        ("/claims/rdp/5", json!(0.001)),
        ("/claims/adversaries", json!([])),
        ("/claims/adversaries/2/guarantee/epsilon/epsilon", json!(1.0)),
        ("/claims/adversaries/2/honest_shares", json!(17)),
        ("/claims/adversaries/2/guarantee/delta_terms/masking", json!(0.0)),
        ("/claims/adversaries/2/guarantee/delta_terms/sampler", json!(0.0)),
        ("/claims/adversaries/3/guarantee", Value::Null),
        ("/claims/sampling", json!("shuffled")),
        ("/claims/mechanism", json!("Laplace")),
        ("/claims/floating_point", json!("fine")),
        ("/claims/releases/1/count", json!(200)),
        ("/claims/releases/1/kind", json!("statistics")),
        ("/claims/releases/0/sampler/total_variation", json!(0.0)),
        ("/claims/releases/0/sampler/name", json!("rand")),
        ("/claims/releases/0/count", json!(0)),
        ("/claims/releases/0/count", json!(1)),
        ("/claims/releases/1/release/sensitivity", json!(1.0)),
        ("/claims/releases/1/release/parameters/sampling_rate", json!(0.01)),
        ("/claims/releases/1/release/parameters/clip_norm", json!(0.1)),
        ("/claims/releases/1/release/parameters/cohort", json!(40)),
    ] {
        let mut changed = original.clone();
        let slot = changed.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}"));
        assert_ne!(*slot, value, "{pointer} is not changed");
        *slot = value;
        let verdict = reread(changed).and_then(|s| s.verify().map_err(|e| e.to_string()));
        assert!(verdict.is_err(), "{pointer} was changed unnoticed");
    }
    let mut missing = original;
    missing.pointer_mut(first).unwrap()["extra"] = json!(1);
    assert!(reread(missing).is_err(), "unknown fields are accepted");
}

#[test]
fn a_release_changed_in_memory_is_found() {
    let mut statement = statement();
    let claims = statement.claims.as_mut().unwrap();
    claims.releases[1].release.clamp += 1;
    let error = statement.verify().unwrap_err();
    assert!(matches!(error, DpError::Mismatch { ref field, .. } if field == "release"), "{error}");
}

#[test]
fn mode_none_promises_nothing() {
    let statement = PrivacyStatement::for_plain_job(about());
    statement.verify().unwrap();
    assert_eq!(statement.recompute(), Err(DpError::NoGuarantee));
    assert!(statement.to_text().contains("NO differential privacy"));
    let mut boast = statement;
    boast.not_covered.clear();
    assert!(boast.verify().is_err());
}

#[test]
fn the_page_says_the_numbers() {
    let statement = statement();
    let page = statement.to_text();
    let claims = statement.claims.as_ref().unwrap();
    assert!(page.contains(&format!("epsilon = {:.4}, delta = 1e-6", claims.epsilon)), "{page}");
    for claim in &claims.adversaries {
        let epsilon = claim.guarantee.as_ref().unwrap().epsilon.epsilon;
        assert!(page.contains(&format!("({} noise shares): {epsilon:.4}", claim.honest_shares)));
    }
    for words in ["training, 300 charged", "statistics, 3 charged", "Not covered", "colluders 2"] {
        assert!(page.contains(words), "{words} is missing in\n{page}");
    }
    assert!(page.lines().all(|l| !l.contains("  -   -")));
}

/// Every mode says in its own words what it protects, and none passes for another.
#[test]
fn a_statement_for_every_mode() {
    let of = |unit, noise| {
        let mut job = job();
        let again = |r: &Release| {
            Release::derive(&ReleaseParameters { noise, ..r.parameters.clone() }).unwrap()
        };
        job.statistics = job.statistics.as_ref().map(again);
        job.training = again(&job.training);
        PrivacyStatement::for_job(&job, Identification { unit, ..about() }).unwrap()
    };
    let all = [
        (Unit::Record, NoiseScope::Distributed, Mode::Record, "one record"),
        (Unit::Person, NoiseScope::Distributed, Mode::Person, "one person"),
        (Unit::Record, NoiseScope::Local, Mode::RecordLocal, "nobody else is trusted"),
        (Unit::Person, NoiseScope::Local, Mode::RecordLocal, "one person"),
        (Unit::Silo, NoiseScope::Distributed, Mode::Silo, "one agency"),
        (Unit::Record, NoiseScope::Central, Mode::Central, "yardstick"),
    ];
    for (unit, noise, mode, words) in all {
        let statement = of(unit, noise);
        assert_eq!(statement.mode, mode);
        statement.verify().unwrap();
        assert!(statement.to_text().contains(words), "{mode:?}: {}", statement.to_text());
        for other in [Mode::Record, Mode::RecordLocal, Mode::Central] {
            let mut changed = statement.clone();
            changed.mode = other;
            assert_eq!(changed.verify().is_ok(), other == mode, "{mode:?} as {other:?}");
        }
        let mut changed = statement.clone();
        changed.about.unit = if unit == Unit::Silo { Unit::Record } else { Unit::Silo };
        assert!(changed.verify().is_err(), "{mode:?} with another unit");
    }
}
