//! Why this crate refuses. Messages name public parameters only, never a value computed from data.

/// A refusal: which parameter, what it was, what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DpError {
    /// A parameter is outside its domain.
    #[error("{name} = {value} is not allowed: it must be {requirement}")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// Its value, as text.
        value: String,
        /// The domain.
        requirement: &'static str,
    },
    /// Colluders may be all but none of the survivors: no noise is guaranteed.
    #[error(
        "no honest noise is left: min_survivors {min_survivors} minus colluders {colluders} is below \
         1; raise min_survivors or lower colluders"
    )]
    NoHonestNoise {
        /// Smallest survivor set that nodes open.
        min_survivors: u16,
        /// Colluding nodes assumed (at least one).
        colluders: u16,
    },
    /// The noisy sum does not fit into signed 32-bit lanes.
    #[error(
        "the sum over {cohort} nodes does not fit into 32-bit lanes: after the noise only {clamp} \
         integer units per node are left and {needed} are needed; lower noise_multiplier, the \
         dimension or the cohort"
    )]
    LanesOverflow {
        /// Cohort size.
        cohort: u16,
        /// Largest clamp that would still fit.
        clamp: i64,
        /// Smallest useful clamp.
        needed: i64,
    },
    /// No noise multiplier reaches the target.
    #[error(
        "epsilon {target} cannot be reached at delta {delta}: the fixed releases and the deductions \
         alone cost {floor}; raise the target, or the noise of the fixed releases, or use fewer of \
         them"
    )]
    Unreachable {
        /// Target epsilon.
        target: f64,
        /// Target delta.
        delta: f64,
        /// Epsilon at the largest noise tried.
        floor: f64,
    },
    /// The deductions from delta (sampler, cryptography) exceed delta.
    #[error(
        "delta {delta} is used up by the sampler's and the cryptography's terms at epsilon {epsilon}; \
         raise delta or the noise"
    )]
    DeltaExhausted {
        /// Target delta.
        delta: f64,
        /// Epsilon at which the terms were evaluated.
        epsilon: f64,
    },
    /// A vector or a curve has another length than its parameters say.
    #[error("{what} has {actual} entries, expected {expected}")]
    Length {
        /// Which vector.
        what: &'static str,
        /// Entries found.
        actual: usize,
        /// Entries expected.
        expected: usize,
    },
    /// The operating system gave no randomness; nothing may be released without it.
    #[error("the operating system's random generator failed: {0}; release nothing and retry")]
    Randomness(String),
    /// A derived value differs from what its parameters give.
    #[error("{field} is stated as {stated} but its parameters give {derived}: do not trust it")]
    Mismatch {
        /// Name of the field.
        field: String,
        /// Value stated.
        stated: String,
        /// Value derived.
        derived: String,
    },
    /// A statement of mode `none` has no epsilon to recompute.
    #[error("mode none gives no differential privacy: there is no epsilon to compute")]
    NoGuarantee,
}

impl DpError {
    /// Shorthand for [`DpError::Parameter`].
    pub(crate) fn parameter(
        name: &'static str,
        value: impl ToString,
        requirement: &'static str,
    ) -> Self {
        Self::Parameter { name, value: value.to_string(), requirement }
    }
}

/// Refuses unless `value` is finite and in `[low, high]`.
pub(crate) fn in_range(
    name: &'static str,
    value: f64,
    low: f64,
    high: f64,
    requirement: &'static str,
) -> Result<(), DpError> {
    if value.is_finite() && value >= low && value <= high {
        return Ok(());
    }
    Err(DpError::parameter(name, value, requirement))
}
