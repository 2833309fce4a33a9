//! The fixed texts of a statement. A change here is a change of what is promised.

use super::{Mode, Unit};
use crate::mechanism::{Compact, NoiseScope, ReleaseParameters};

/// Neighbouring data sets.
pub(super) fn adjacency(unit: Unit) -> &'static str {
    match unit {
        Unit::Record | Unit::Person => "add or remove one unit",
        Unit::Silo => "replace one agency's contribution by zeros; its noise share stays",
    }
}

/// Nature of every epsilon in a statement.
pub(super) const BOUND: &str = "bound";

/// How units are sampled.
pub(super) fn sampling(unit: Unit) -> &'static str {
    match unit {
        Unit::Record | Unit::Person => POISSON,
        Unit::Silo => EVERY_SILO,
    }
}

/// What a reader of a statement must be told first.
pub(super) fn warning(mode: Mode) -> Option<&'static str> {
    match mode {
        Mode::Central => Some(
            "This is a yardstick of simulations: it trusts the aggregator with every contribution and \
             with the noise, and no node offers it.",
        ),
        Mode::Silo => Some(
            "The unit is an agency's whole contribution. What one record changes replaces one \
             contribution by another: twice the unit, so that its epsilon is that of a group of two.",
        ),
        _ => None,
    }
}

const EVERY_SILO: &str = "none: every agency of the cohort takes part in every round";

const POISSON: &str = "Poisson: each unit of a node independently with the release's \
sampling rate, from a ChaCha20 generator seeded with 256 bits of the operating system; the realised \
batch size is never published; every attempt draws a new sample";

/// The mechanism.
pub(super) fn mechanism(parameters: &ReleaseParameters) -> String {
    let noise = match parameters.noise {
        NoiseScope::Distributed => DISTRIBUTED,
        NoiseScope::Local => LOCAL,
        NoiseScope::Central => CENTRAL,
    };
    let mut text = noise.to_owned();
    if let Some(Compact { resolution }) = parameters.compact {
        let scale = format!("s = {resolution} sqrt(d) / clip");
        text = format!("{}; {COMPACT}", text.replace(WIDE_SCALE, &scale));
    }
    if parameters.count_noise.is_some() {
        text = format!("{text}; {ADAPTIVE}");
    }
    text
}

const WIDE_SCALE: &str = "s = 100 sqrt(d) / clip";

const COMPACT: &str = "training releases are in compact encoding: sums are turned by public random \
signs and a Hadamard transform before they are scaled, and back after the sum is opened; D bounds what \
rounding adds in all coordinates together, but for a chance of 1e-15 a release that is deducted from \
delta; a release of statistics is in wide encoding, s = 100 sqrt(d) / clip";

const ADAPTIVE: &str = "the last coordinate of a training release counts, as plus or minus one half, \
the units within the clip norm; it is part of the sensitivity, and the next round's clip norm follows \
from the released count alone";

const LOCAL: &str = "local discrete Gaussian: contributions clipped in L2, summed, scaled by \
s = 100 sqrt(d) / clip, clamped, rounded stochastically; each node adds a whole independent discrete \
Gaussian with parameter sigma_local = z D; the sum modulo 2^lane_bits is opened";

const CENTRAL: &str = "discrete Gaussian as if added centrally: contributions clipped in L2, summed, \
scaled by s = 100 sqrt(d) / clip, clamped, rounded stochastically; the shares of all n nodes, \
sigma_local = z D / sqrt(n) each, are in every sum that is used";

const DISTRIBUTED: &str = "distributed discrete Gaussian: contributions clipped in L2, \
summed, scaled by s = 100 sqrt(d) / clip, clamped, rounded stochastically; each node adds an \
independent discrete Gaussian with parameter sigma_local = z D / sqrt(h); the sum modulo \
2^lane_bits is opened";

/// The sampler.
pub(super) const SAMPLER: &str = "inverse-CDF table with 128-bit thresholds; above sigma 1024 the sum \
x1 + k x2 of two draws with 1 + k^2 <= sigma / 2.13";

/// Floating point.
pub(super) const FLOATING_POINT: &str = "norms are bounded from above and factors from below; \
rounding in a node's sum is in the sensitivity as eta (float_error, or the bound of a plain f64 sum \
over max_units_per_node if larger); rounding of scale times sum as sqrt(d) 2^-20; integers and noise \
are exact; the accountant rounds upwards";

/// What no epsilon covers.
pub(super) const NOT_COVERED: [&str; 8] = [
    "the time that training takes, which depends on how many units were drawn: amplification by \
sampling assumes that nobody measures it",
    "records beyond 2^20 at a node, which are not read: there one record more pushes another out",
    "who or what one unit is: a record is one of the parsed file, a person the exact text of a cell",
    "hyperparameter tuning and model selection on the same data outside this job",
    "label lists, categories, bounds and feature names, which come from the schema",
    "the declared number of records per node, cohort, survivors and times of messages",
    "a unit that is present in several nodes: each presence is protected singly",
    "other jobs on the same data: see the node's budget book",
];

/// Who is trusted.
pub(super) fn trust(noise: NoiseScope) -> Vec<&'static str> {
    match noise {
        NoiseScope::Distributed => TRUST.to_vec(),
        NoiseScope::Local => LOCAL_TRUST.to_vec(),
        NoiseScope::Central => CENTRAL_TRUST.to_vec(),
    }
}

const LOCAL_TRUST: [&str; 2] = [
    "a unit's own node runs this software unchanged and keeps its randomness secret",
    "nobody else is trusted: the guarantee in the book holds against the aggregator and all other nodes",
];

const CENTRAL_TRUST: [&str; 2] = [
    "the aggregator sees contributions without noise and is trusted with them",
    "every node of the cohort contributes to every round and none colludes with anybody",
];

const TRUST: [&str; 3] = [
    "a unit's own node runs this software unchanged and keeps its randomness secret",
    "the aggregator is not trusted; nor are up to the stated number of colluding nodes, at least one",
    "of the smallest survivor set, the nodes that are no colluders add the noise they promised",
];

/// Cryptographic assumptions.
pub(super) const CRYPTOGRAPHY: [&str; 2] = [
    "X25519 or ML-KEM-768, with HKDF-SHA-256, AES-256, Ed25519: joint advantage at most 2^-64 per job",
    "the masking protocol fails against the tolerated colluders with probability at most 2^-40 per job",
];

/// What mode none leaves open.
pub(super) const NONE_NOT_COVERED: [&str; 2] = [
    "everything that can be learnt from the sums and from the model: there is no differential privacy",
    "differences of sums over rounds and jobs; a node's vector is hidden within one sum only",
];
