//! zCDP to (epsilon, delta): opendp takes the best of all real orders, ours the best of the integer
//! orders that the accountant keeps.

use tributary_dp::{epsilon, subsampled_gaussian};

/// Parameters of one release with sensitivity 1, and delta.
fn grid() -> impl Iterator<Item = (f64, f64)> {
    let sigmas = [0.5, 0.8, 1.0, 2.0, 4.0, 7.0, 10.0, 20.0];
    sigmas.into_iter().flat_map(|s| [1e-3, 1e-5, 1e-6, 1e-9].map(|d| (s, d)))
}

fn ours(sigma: f64, delta: f64) -> f64 {
    epsilon(&subsampled_gaussian(1.0, sigma).unwrap(), delta).unwrap().epsilon
}

#[test]
fn never_below_opendp_and_close_to_it() {
    for (sigma, delta) in grid() {
        let (ours, theirs) =
            (ours(sigma, delta), tributary_dp_oracle::epsilon(sigma, delta).unwrap());
        assert!(ours >= theirs * (1.0 - 1e-9), "sigma {sigma}, delta {delta}: {ours} < {theirs}");
        let most = if sigma < 1.0 { 1.05 } else { 1.02 };
        assert!(ours <= theirs * most, "sigma {sigma}, delta {delta}: {ours}, opendp {theirs}");
    }
}

#[test]
fn at_most_the_loose_formula() {
    for (sigma, delta) in grid() {
        let rho = 1.0 / (2.0 * sigma * sigma);
        let loose = rho + 2.0 * (rho * (1.0 / delta).ln()).sqrt();
        let ours = ours(sigma, delta);
        assert!(ours <= loose, "sigma {sigma}, delta {delta}: {ours}, loose {loose}");
        assert!(tributary_dp_oracle::epsilon(sigma, delta).unwrap() <= loose);
    }
}
