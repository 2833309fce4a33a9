//! The numbers that decide who may be corrupt, who may be missing and what is
//! still opened. Pure arithmetic: it knows no keys and no messages.

/// Largest roster of the complete-graph protocol. Larger rosters need the
/// sparse graph, whose thresholds are another constructor of [`Thresholds`].
pub const MAX_COMPLETE_GRAPH: u16 = 128;

/// Thresholds of a job, over its roster and not over the cohort of a round.
///
/// Fields are public so that they can be written down and compared;
/// [`crate::Roster::new`] refuses values that do not protect the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// N, nodes on the roster.
    pub n: u16,
    /// C, corrupt nodes tolerated.
    pub corrupt: u16,
    /// tau, signatures that make a quorum certificate.
    pub quorum: u16,
    /// Shares that open a Shamir sharing.
    pub shamir_t: u16,
    /// Smallest survivor set that the nodes open.
    pub u_min: u16,
}

impl Thresholds {
    /// Thresholds for the complete graph.
    ///
    /// With gamma = `corrupt_fraction` and delta = `dropout_fraction`:
    /// `C = ceil(gamma N)`, `tau = floor((N + C) / 2) + 1` (two quorums then
    /// share an honest node), `shamir_t = tau`,
    /// `u_min = max(tau, min_survivors, ceil((1 - delta) N))`.
    ///
    /// # Errors
    /// [`ParameterError`] if a fraction is not in `[0, 1)`, the roster has fewer
    /// than 2 or more than [`MAX_COMPLETE_GRAPH`] nodes, or the numbers contradict
    /// each other (for example `u_min > N`).
    pub fn complete_graph(
        n: u16,
        corrupt_fraction: f64,
        dropout_fraction: f64,
        min_survivors: u16,
    ) -> Result<Self, ParameterError> {
        for (name, value) in
            [("corrupt fraction", corrupt_fraction), ("dropout fraction", dropout_fraction)]
        {
            if !(0.0..1.0).contains(&value) {
                return Err(ParameterError::Fraction { name, value });
            }
        }
        let corrupt = ceil_of_product(corrupt_fraction, n);
        let quorum = quorum_of(n, corrupt);
        let expected = ceil_of_product(1.0 - dropout_fraction, n);
        let u_min = quorum.max(min_survivors).max(expected);
        let thresholds = Self { n, corrupt, quorum, shamir_t: quorum, u_min };
        thresholds.check()?;
        Ok(thresholds)
    }

    /// Whether the numbers protect the nodes in the complete graph.
    ///
    /// # Errors
    /// [`ParameterError`] naming the first rule that is broken.
    pub fn check(&self) -> Result<(), ParameterError> {
        if !(2..=MAX_COMPLETE_GRAPH).contains(&self.n) {
            return Err(ParameterError::RosterSize { n: self.n });
        }
        let least = quorum_of(self.n, self.corrupt);
        if self.quorum < least {
            return Err(ParameterError::TooLow { name: "quorum", value: self.quorum, least });
        }
        if self.shamir_t < self.quorum {
            return Err(ParameterError::TooLow {
                name: "shamir_t",
                value: self.shamir_t,
                least: self.quorum,
            });
        }
        if self.u_min < self.shamir_t {
            return Err(ParameterError::TooLow {
                name: "u_min",
                value: self.u_min,
                least: self.shamir_t,
            });
        }
        if self.u_min > self.n {
            return Err(ParameterError::Unreachable { u_min: self.u_min, n: self.n });
        }
        // The sum must hide an honest node among at least one other honest node.
        let least = self.corrupt.saturating_add(2);
        if self.u_min < least {
            return Err(ParameterError::TooLow { name: "u_min", value: self.u_min, least });
        }
        Ok(())
    }

    /// Nodes that may be missing from a cohort of `cohort` nodes before the
    /// attempt is given up.
    #[must_use]
    pub fn tolerated_dropouts(&self, cohort: u16) -> u16 {
        cohort.saturating_sub(self.u_min)
    }

    pub(crate) fn to_bytes(self) -> [u8; 10] {
        let mut out = [0u8; 10];
        let fields = [self.n, self.corrupt, self.quorum, self.shamir_t, self.u_min];
        for (slot, field) in out.as_chunks_mut::<2>().0.iter_mut().zip(fields) {
            *slot = field.to_le_bytes();
        }
        out
    }
}

/// Parameters that contradict each other or do not protect the nodes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParameterError {
    /// A fraction outside `[0, 1)`.
    #[error("the {name} is {value}; it must be at least 0 and below 1")]
    Fraction {
        /// Which one.
        name: &'static str,
        /// The refused value.
        value: f64,
    },
    /// A roster size the complete graph does not serve.
    #[error("a roster of {n} nodes; the complete graph serves 2 to 128")]
    RosterSize {
        /// The refused size.
        n: u16,
    },
    /// The survivor floor cannot be met by the roster.
    #[error(
        "u_min is {u_min} but the roster has only {n} nodes; lower the survivor floor or enrol more nodes"
    )]
    Unreachable {
        /// Smallest survivor set asked for.
        u_min: u16,
        /// Nodes on the roster.
        n: u16,
    },
    /// A threshold below what the roster size and the corrupt nodes demand.
    #[error("{name} is {value}, it must be at least {least}")]
    TooLow {
        /// Which threshold.
        name: &'static str,
        /// The refused value.
        value: u16,
        /// The least safe value.
        least: u16,
    },
    /// The member list and the thresholds disagree about the roster size.
    #[error("the thresholds are for {expected} nodes, the roster lists {found}")]
    MemberCount {
        /// `Thresholds::n`.
        expected: u16,
        /// Members listed.
        found: usize,
    },
    /// One key is listed twice (or is also the aggregator's).
    #[error("the key {key} stands on the roster more than once; every party needs its own")]
    DuplicateKey {
        /// Fingerprint of the key.
        key: String,
    },
}

fn quorum_of(n: u16, corrupt: u16) -> u16 {
    n.saturating_add(corrupt) / 2 + 1
}

/// `ceil(fraction * n)`, where a product that is a whole number but for float
/// noise (`0.2 * 10 = 2.0000000000000004`) counts as that whole number.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn ceil_of_product(fraction: f64, n: u16) -> u16 {
    const NOISE: f64 = 1e-9;
    (fraction * f64::from(n) - NOISE).ceil().max(0.0) as u16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(n: u16, gamma: f64, delta: f64, floor: u16) -> Result<Thresholds, ParameterError> {
        Thresholds::complete_graph(n, gamma, delta, floor)
    }

    #[test]
    fn examples_of_the_design() {
        for (n, gamma, corrupt, quorum) in
            [(5, 0.2, 1, 4), (10, 0.2, 2, 7), (100, 0.2, 20, 61), (10, 0.0, 0, 6), (3, 0.3, 1, 3)]
        {
            let thresholds = of(n, gamma, 0.5, 0).unwrap();
            assert_eq!((thresholds.corrupt, thresholds.quorum), (corrupt, quorum), "n={n}");
            assert_eq!(thresholds.shamir_t, quorum);
        }
    }

    #[test]
    fn survivor_floor_is_the_largest_of_three() {
        assert_eq!(of(5, 0.2, 0.2, 4).unwrap().u_min, 4);
        assert_eq!(of(5, 0.2, 0.2, 5).unwrap().u_min, 5);
        assert_eq!(of(10, 0.2, 0.3, 5).unwrap().u_min, 7);
        assert_eq!(of(10, 0.2, 0.1, 5).unwrap().u_min, 9);
        assert_eq!(of(100, 0.2, 0.1, 5).unwrap().u_min, 90);
        assert_eq!(of(10, 0.2, 0.3, 5).unwrap().tolerated_dropouts(10), 3);
        assert_eq!(of(10, 0.2, 0.3, 5).unwrap().tolerated_dropouts(6), 0);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(of(4, 0.0, 0.2, 5).is_err());
        assert!(of(1, 0.0, 0.2, 0).is_err());
        assert!(of(129, 0.0, 0.2, 0).is_err());
        assert!(of(10, f64::NAN, 0.2, 0).is_err());
        assert!(of(10, 1.0, 0.2, 0).is_err());
        assert!(of(10, 0.1, -0.1, 0).is_err());
        assert!(of(3, 0.6, 0.5, 0).is_err(), "one honest node's vector would be the sum");
    }

    #[test]
    fn weakened_thresholds_are_refused() {
        let good = of(10, 0.2, 0.3, 5).unwrap();
        assert!(good.check().is_ok());
        assert!(Thresholds { quorum: 6, ..good }.check().is_err());
        assert!(Thresholds { shamir_t: 6, ..good }.check().is_err());
        assert!(Thresholds { u_min: 6, ..good }.check().is_err());
        assert!(Thresholds { u_min: 11, ..good }.check().is_err());
        assert!(Thresholds { corrupt: 4, ..good }.check().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn two_quorums_share_an_honest_node(n in 2u16..=128, gamma in 0.0f64..0.5, delta in 0.0f64..0.9) {
            if let Ok(thresholds) = of(n, gamma, delta, 0) {
                prop_assert!(2 * thresholds.quorum > n + thresholds.corrupt);
                prop_assert!(thresholds.u_min >= thresholds.quorum);
                prop_assert!(f64::from(thresholds.corrupt) + 1e-6 >= gamma * f64::from(n));
            }
        }
    }
}
