//! Every row of the reference table (dp-accounting 0.6): the Renyi bound at integer orders, the
//! estimate by privacy-loss distributions, and for each row that neither covers the reason. The table
//! is not part of the repository; without it the tests say so and the embedded values must do.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use serde_json::Value;
use tributary_dp::accountant::{
    laplace, sampled_without_replacement, tree_aggregation, zero_concentrated,
};
use tributary_dp::{
    LossMechanism, RdpCurve, discrete_correction, discrete_sum_tau, epsilon, pld_epsilon,
    subsampled_gaussian,
};

/// One line of the table.
struct Row {
    id: String,
    mechanism: String,
    params: Value,
    delta: f64,
    /// Default orders, fractions among them.
    rdp: Option<f64>,
    /// Integer orders.
    rdp_int: Option<f64>,
    pld: Option<f64>,
}

/// The table; `None`, with a printed line, if it is absent.
fn table() -> Option<Vec<Row>> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference/dp_reference.csv");
    let Ok(mut table) = csv::Reader::from_path(&path) else {
        println!("skipped: {} is absent", path.display());
        return None;
    };
    let rows = table.records().map(Result::unwrap).map(|row| Row {
        id: row[0].to_owned(),
        mechanism: row[1].to_owned(),
        params: serde_json::from_str(&row[2]).unwrap(),
        delta: row[3].parse().unwrap(),
        rdp: row[4].parse().ok(),
        rdp_int: row[5].parse().ok(),
        pld: row[6].parse().ok(),
    });
    Some(rows.collect())
}

/// A number in a flat JSON object.
fn number(params: &Value, key: &str) -> f64 {
    params[key].as_f64().unwrap_or_else(|| panic!("no {key} in {params}"))
}

/// Sensitivity of a rounded vector: deterministic, or the smaller bound with probability 1 - beta.
fn sensitivity(clip: f64, dimension: f64, beta: f64) -> f64 {
    let deterministic = clip + dimension.sqrt();
    if beta == 0.0 {
        return deterministic;
    }
    let tail = (2.0 * (1.0 / beta).ln()).sqrt() * (clip + dimension.sqrt() / 2.0);
    deterministic.min((clip * clip + dimension / 4.0 + tail).sqrt())
}

fn curve(mechanism: &str, p: &Value) -> Option<RdpCurve> {
    let per_release = match mechanism {
        "gaussian" => subsampled_gaussian(1.0, number(p, "sigma")).unwrap(),
        "poisson_subsampled_gaussian" => {
            subsampled_gaussian(number(p, "q"), number(p, "sigma")).unwrap()
        }
        "discrete_gaussian_scalar" => {
            subsampled_gaussian(1.0, number(p, "sigma") / number(p, "sensitivity")).unwrap()
        }
        "distributed_discrete_gaussian" => {
            let (sigma, nodes) = (number(p, "sigma_local_int"), number(p, "nodes"));
            let d = sensitivity(number(p, "clip_scaled"), number(p, "dim"), number(p, "beta"));
            let gaussian = subsampled_gaussian(number(p, "q"), sigma * nodes.sqrt() / d).unwrap();
            let tau = discrete_sum_tau(sigma, nodes as u16);
            &gaussian + &discrete_correction(tau, number(p, "dim") as usize)
        }
        "laplace" => laplace(number(p, "b")).unwrap(),
        "sample_wor_gaussian" => {
            let (n, b) = (number(p, "n") as u64, number(p, "b") as u64);
            sampled_without_replacement(n, b, number(p, "sigma")).unwrap()
        }
        // Not composed: one tree for all steps, one release without steps.
        "tree_aggregation" => {
            let steps = number(p, "steps") as u32;
            return Some(tree_aggregation(number(p, "sigma"), steps).unwrap());
        }
        "zcdp" => return Some(zero_concentrated(number(p, "rho")).unwrap()),
        _ => return None,
    };
    Some(per_release.times(number(p, "steps") as u32))
}

/// (mechanism parameters as in the table, delta, epsilon): rows D1 to D5 and DG2.
const DISTRIBUTED: [(&str, &str, f64, f64); 6] = [
    (
        "distributed_discrete_gaussian",
        r#"{"nodes":1,"sigma_local_int":10.0,"clip_scaled":10.0,"dim":1,"beta":0.0,"steps":1,"q":1}"#,
        1e-5,
        5.2777283,
    ),
    (
        "distributed_discrete_gaussian",
        r#"{"nodes":10,"sigma_local_int":100.0,"clip_scaled":100.0,"dim":1000,
            "beta":0.6065306597126334,"steps":1,"q":1}"#,
        1e-5,
        1.3341041,
    ),
    (
        "distributed_discrete_gaussian",
        r#"{"nodes":100,"sigma_local_int":20.0,"clip_scaled":50.0,"dim":10000,
            "beta":0.6065306597126334,"steps":100,"q":1}"#,
        1e-6,
        25.077984,
    ),
    (
        "distributed_discrete_gaussian",
        r#"{"nodes":20,"sigma_local_int":300000.0,"clip_scaled":100000.0,"dim":1000000,
            "beta":0.0,"steps":200,"q":1}"#,
        1e-6,
        5.622762,
    ),
    (
        "distributed_discrete_gaussian",
        r#"{"nodes":20,"sigma_local_int":300000.0,"clip_scaled":100000.0,"dim":1000000,
            "beta":0.0,"steps":500,"q":0.05}"#,
        1e-6,
        0.36118552,
    ),
    ("discrete_gaussian_scalar", r#"{"sigma":20.0,"sensitivity":10,"steps":10}"#, 1e-5, 8.0878616),
];

#[test]
fn distributed_rows() {
    for (mechanism, params, delta, expected) in DISTRIBUTED {
        let curve = curve(mechanism, &serde_json::from_str(params).unwrap()).unwrap();
        let value = epsilon(&curve, delta).unwrap().epsilon;
        assert!((value / expected - 1.0).abs() < 1e-6, "{params}: {value} against {expected}");
    }
}

/// The mechanism whose privacy loss is estimated.
fn loss(mechanism: &str, p: &Value) -> Option<(LossMechanism, u32)> {
    let whole = |key| number(p, key) as u32;
    let steps = p["steps"].as_f64()? as u32;
    let noise_multiplier = p["sigma"].as_f64();
    Some((
        match mechanism {
            "gaussian" => LossMechanism::Gaussian { noise_multiplier: noise_multiplier? },
            "poisson_subsampled_gaussian" => LossMechanism::SampledGaussian {
                sampling_rate: number(p, "q"),
                noise_multiplier: noise_multiplier?,
            },
            "mixture_of_gaussians_group" => LossMechanism::SampledGroup {
                sampling_rate: number(p, "q"),
                noise_multiplier: noise_multiplier?,
                group: whole("k") as u16,
            },
            "discrete_gaussian_scalar" => LossMechanism::DiscreteGaussian {
                sigma: number(p, "sigma"),
                sensitivity: whole("sensitivity"),
            },
            "laplace" => LossMechanism::Laplace { scale: number(p, "b") },
            "discrete_laplace" => LossMechanism::DiscreteLaplace {
                parameter: number(p, "a"),
                sensitivity: whole("sens"),
            },
            _ => return None,
        },
        steps,
    ))
}

/// Rows that this accountant does not offer, and why; every other row must be checked.
const NOT_OFFERED: [(&str, &str); 2] = [
    ("truncated_poisson_gaussian", "batches have a cap for memory that is no part of the sampling"),
    ("skellam", "a Skellam release has an accountant of its own, with its own rows of this table"),
];

#[test]
fn every_row_is_accounted_for() {
    let Some(rows) = table() else { return };
    let (mut bounds, mut estimates) = (0, 0);
    for row in &rows {
        let Row { id, mechanism, params, delta, .. } = row;
        if let Some((_, why)) = NOT_OFFERED.iter().find(|(name, _)| name == mechanism) {
            println!("{id}: not offered: {why}");
            continue;
        }
        let mut checked = false;
        if let Some(curve) = curve(mechanism, params) {
            let value = epsilon(&curve, *delta).unwrap().epsilon;
            check_bound(row, value);
            (bounds, checked) = (bounds + 1, true);
        }
        if let (Some(expected), Some((mechanism, steps))) = (row.pld, loss(mechanism, params)) {
            let value = pld_epsilon(&[(mechanism, steps)], *delta).unwrap();
            let error = value / expected - 1.0;
            assert!((0.0..0.01).contains(&error), "{id}: {value} against {expected}");
            (estimates, checked) = (estimates + 1, true);
        }
        assert!(checked, "{id} is not checked: {mechanism}");
    }
    println!("{} rows: {bounds} bounds, {estimates} estimates", rows.len());
    assert!(bounds >= 35 && estimates >= 30, "{bounds} bounds, {estimates} estimates");
}

fn check_bound(row: &Row, value: f64) {
    let Row { id, mechanism, .. } = row;
    let expected = row.rdp_int.or(row.rdp);
    let Some(expected) = expected else { panic!("{id}: the table gives no bound to compare with") };
    let error = value / expected - 1.0;
    match mechanism.as_str() {
        // Where tau is visible the table takes the tighter conversion for a whole vector of Kairouz
        // et al., which does not combine with sampling; ours is the larger bound, and such noise
        // (sigma_local below 3) is refused by a release anyway.
        "distributed_discrete_gaussian" if id == "D6" || id == "D7" => {
            assert!(error > 0.0, "{id}: {value} is below {expected}");
        }
        // The table has fractional orders only: whole ones give no less, and little more.
        "tree_aggregation" => {
            assert!((0.0..0.01).contains(&error), "{id}: {value} against {expected}");
        }
        _ => assert!(error.abs() < 1e-6, "{id}: {value} against {expected}"),
    }
}
