//! opendp behind the few functions that Tributary is compared with.
//!
//! Nothing of the system may depend on this crate. It knows no release, node or round.

use dashu::rational::RBig;
use opendp::combinators::make_zCDP_to_approxDP;
use opendp::core::Measurement;
use opendp::domains::{AtomDomain, VectorDomain};
use opendp::error::{Error, ErrorVariant, Fallible};
use opendp::measurements::make_gaussian;
use opendp::measures::ZeroConcentratedDivergence;
use opendp::metrics::{AbsoluteDistance, L2Distance};
use opendp::traits::samplers::sample_discrete_gaussian;

/// `n` samples of opendp's discrete Gaussian with parameter `sigma`, taken exactly.
///
/// # Errors
/// If `sigma` is not a finite number, or what opendp reports.
pub fn samples(sigma: f64, n: usize) -> Fallible<Vec<i64>> {
    let scale = RBig::try_from(sigma).map_err(|_| refused("sigma is not finite"))?;
    (0..n)
        .map(|_| {
            let sample = sample_discrete_gaussian(scale.clone())?;
            i64::try_from(sample).map_err(|_| refused("a sample beyond 64 bits"))
        })
        .collect()
}

/// opendp's Gaussian measurement of integer vectors.
pub type Gaussian = Measurement<
    VectorDomain<AtomDomain<i64>>,
    L2Distance<f64>,
    ZeroConcentratedDivergence,
    Vec<i64>,
>;

/// opendp's measurement that adds discrete Gaussian noise to a vector, as its users call it.
///
/// # Errors
/// What opendp reports.
pub fn measurement(sigma: f64) -> Fallible<Gaussian> {
    let domain = VectorDomain::new(AtomDomain::<i64>::default());
    make_gaussian(domain, L2Distance::default(), sigma, None)
}

/// opendp's epsilon at `delta` of one scalar release with sensitivity 1 and parameter `sigma`, by way of
/// zCDP with rho = 1 / (2 sigma^2).
///
/// # Errors
/// What opendp reports.
pub fn epsilon(sigma: f64, delta: f64) -> Fallible<f64> {
    let domain = AtomDomain::<i64>::default();
    let metric = AbsoluteDistance::<f64>::default();
    let release: Measurement<_, _, ZeroConcentratedDivergence, i64> =
        make_gaussian(domain, metric, sigma, None)?;
    make_zCDP_to_approxDP(release)?.map(&1.0)?.epsilon(delta)
}

fn refused(message: &str) -> Error {
    let mut error = Error::from(ErrorVariant::FailedFunction);
    error.message = Some(message.to_owned());
    error
}
