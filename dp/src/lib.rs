//! Differential privacy of one job: clipping, quantisation, discrete noise, the accountant and the
//! privacy statement.
//!
//! Everything here is a pure function of public parameters, of the vector it is given and of a
//! random generator that it is given. It knows no network, clock, file, model, cohort member or
//! masking protocol. Adjacency is add/remove of one unit throughout; every guarantee is stated per
//! adversary (see [`Adversary`]).
//!
//! The order of use at a node: [`poisson_sample`] picks the units, [`add_clipped`] sums their clipped
//! contributions, [`quantise`] turns the sum into integers, [`DiscreteGaussian`] adds this node's
//! noise share and [`to_lanes`] or [`to_narrow_lanes`] hands the result to secure aggregation, as the
//! release's `lane_bits` say. What it costs is [`JobPrivacy`]'s business, and what is published about
//! it [`PrivacyStatement`]'s.

pub mod accountant;
mod budget;
mod clip;
mod error;
mod lanes;
mod mechanism;
mod noise;
mod poisson;
mod quantise;
mod rng;
mod rotation;
mod statement;

pub use accountant::{
    Epsilon, LossMechanism, ORDERS, PLD_LABEL, RdpCurve, calibrate, discrete_correction, epsilon,
    epsilon_for_noise, max_sampling_rate, max_steps, orders, pld_epsilon, subsampled_gaussian,
};
pub use budget::{
    Adversary, CRYPTO_ADVANTAGE, DeltaTerms, FixedReleases, Guarantee, JobPrivacy, MASKING_FAILURE,
};
pub use clip::{add_clipped, clip_factor, norm_upper, summation_error};
pub use error::DpError;
pub use lanes::{from_lanes, from_narrow_lanes, to_lanes, to_narrow_lanes};
pub use mechanism::{
    Compact, NoiseScope, PlainRelease, Release, ReleaseParameters, discrete_sum_tau,
};
pub use noise::{DiscreteGaussian, PreparedNoise, Skellam, total_variation_bound};
pub use poisson::poisson_sample;
pub use quantise::{quantise, quantise_into_lanes, quantise_into_narrow_lanes};
pub use rng::SecretRng;
pub use rotation::Rotation;
pub use statement::{
    AdversaryClaim, Claims, Identification, Mode, PrivacyStatement, ReleaseClaim, ReleaseKind,
    STATEMENT_FORMAT, SamplerClaim, Unit,
};
