//! The numbers that decide who may be corrupt, who may be missing, how many
//! neighbours a node has and what is still opened. Pure arithmetic: it knows no
//! keys, no messages and not which node stands where in the graph.

mod error;
mod hypergeometric;
mod sparse;
#[cfg(test)]
mod tests;

pub use error::ParameterError;

/// Largest roster of the complete graph; [`Thresholds::solve`] gives larger
/// ones the sparse graph.
pub const MAX_COMPLETE_GRAPH: u16 = 128;

/// Largest roster of all. The thresholds are sound for every 16-bit size; this
/// bound is what messages and memory are laid out and tested for.
pub const MAX_ROSTER: u16 = 2000;

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
    /// Neighbours of a node: `n - 1` in the complete graph, an even k below
    /// that in the sparse one.
    pub degree: u16,
}

impl Thresholds {
    /// The thresholds a job uses: the complete graph up to
    /// [`MAX_COMPLETE_GRAPH`] nodes, the sparse one above.
    ///
    /// # Errors
    /// As [`Self::complete_graph`] and [`Self::sparse_graph`].
    pub fn solve(
        n: u16,
        corrupt_fraction: f64,
        dropout_fraction: f64,
        min_survivors: u16,
    ) -> Result<Self, ParameterError> {
        if n <= MAX_COMPLETE_GRAPH {
            Self::complete_graph(n, corrupt_fraction, dropout_fraction, min_survivors)
        } else {
            Self::sparse_graph(n, corrupt_fraction, dropout_fraction, min_survivors)
        }
    }

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
        let mut thresholds =
            Self::without_graph(n, corrupt_fraction, dropout_fraction, min_survivors)?;
        thresholds.shamir_t = thresholds.quorum;
        thresholds.degree = n.saturating_sub(1);
        thresholds.check()?;
        Ok(thresholds)
    }

    /// Thresholds for the sparse graph, in which a node has k neighbours and
    /// only they hold shares of its seeds.
    ///
    /// `C`, `tau` and `u_min` are as in [`Self::complete_graph`], and
    /// `shamir_t = max(q_k, k/2 + q_(k/2), ceil((q_k + k - 1.25) / 2)) + 2`, where
    /// q_m corrupt nodes among m are exceeded in no place of the graph, up to a
    /// probability of `2^-47` (Bell, Bonawitz, Gascon, Lepoint, Raykova, *Secure
    /// Single-Server Aggregation with (Poly)Logarithmic Overhead*, CCS 2020).
    /// `degree` is the smallest even k for which `shamir_t` holders are left to
    /// everybody when `N - u_min` nodes are missing, up to a probability of
    /// `2^-20`. More missing nodes end the attempt in any graph.
    ///
    /// # Errors
    /// [`ParameterError`] if a fraction is not in `[0, 1)`, the roster has not
    /// 129 to [`MAX_ROSTER`] nodes, the numbers contradict each other, or no k up
    /// to 254 suffices.
    pub fn sparse_graph(
        n: u16,
        corrupt_fraction: f64,
        dropout_fraction: f64,
        min_survivors: u16,
    ) -> Result<Self, ParameterError> {
        let (least, most) = (MAX_COMPLETE_GRAPH + 1, MAX_ROSTER);
        if !(least..=most).contains(&n) {
            return Err(ParameterError::RosterSize { n, graph: "sparse", least, most });
        }
        let mut thresholds =
            Self::without_graph(n, corrupt_fraction, dropout_fraction, min_survivors)?;
        let (corrupt, missing) = (thresholds.corrupt, n - thresholds.u_min);
        let solved = sparse::smallest(n, corrupt, missing, sparse::SHIPPED)
            .ok_or(ParameterError::NoGraph { n, corrupt, missing, most: sparse::MAX_DEGREE })?;
        (thresholds.degree, thresholds.shamir_t) = solved;
        thresholds.check()?;
        Ok(thresholds)
    }

    /// Whether the numbers protect the nodes. A node asks this about what a
    /// manifest says: nothing is taken on trust, the least secure `shamir_t` of
    /// a sparse graph is computed anew (well below a millisecond, and with the
    /// same outcome on every processor).
    ///
    /// It does not ask whether a round is likely to end: a sparse graph with too
    /// many dropouts aborts and opens nothing.
    ///
    /// # Errors
    /// [`ParameterError`] naming the first rule that is broken.
    pub fn check(&self) -> Result<(), ParameterError> {
        let (n, complete) = (self.n, self.is_complete());
        let (graph, least, most) =
            if complete { ("complete", 2, MAX_COMPLETE_GRAPH) } else { ("sparse", 4, MAX_ROSTER) };
        if !(least..=most).contains(&n) {
            return Err(ParameterError::RosterSize { n, graph, least, most });
        }
        if !complete && !sparse::is_degree(self.degree, n) {
            let most = sparse::MAX_DEGREE.min(n - 2);
            return Err(ParameterError::Degree { degree: self.degree, n, most });
        }
        if self.u_min > n {
            return Err(ParameterError::Unreachable { u_min: self.u_min, n });
        }
        let quorum = quorum_of(n, self.corrupt);
        at_least("quorum", self.quorum, quorum, "two quorums must share an honest node")?;
        at_least(
            "u_min",
            self.u_min,
            self.quorum,
            "as many nodes must agree on the survivors as make a quorum",
        )?;
        at_least(
            "u_min",
            self.u_min,
            self.corrupt.saturating_add(2),
            "a sum must hide an honest node among at least one other honest node",
        )?;
        if complete {
            at_least(
                "shamir_t",
                self.shamir_t,
                self.quorum,
                "only those who agree on one set of survivors may open a seed",
            )?;
            at_least("u_min", self.u_min, self.shamir_t, "the survivors must be able to open seeds")
        } else {
            at_least(
                "shamir_t",
                self.shamir_t,
                sparse::least_shamir_t(n, self.corrupt, self.degree, sparse::SHIPPED),
                "with fewer the corrupt neighbours of a node could open what they must not",
            )?;
            if self.shamir_t > self.degree {
                return Err(ParameterError::TooFewHolders {
                    shamir_t: self.shamir_t,
                    degree: self.degree,
                });
            }
            Ok(())
        }
    }

    /// Nodes that may be missing from a cohort of `cohort` nodes before the
    /// attempt is given up.
    #[must_use]
    pub fn tolerated_dropouts(&self, cohort: u16) -> u16 {
        cohort.saturating_sub(self.u_min)
    }

    /// Whether every node is a neighbour of every other one.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.degree == self.n.saturating_sub(1)
    }

    pub(crate) fn to_bytes(self) -> [u8; 12] {
        let mut out = [0u8; 12];
        let fields = [self.n, self.corrupt, self.quorum, self.shamir_t, self.u_min, self.degree];
        for (slot, field) in out.as_chunks_mut::<2>().0.iter_mut().zip(fields) {
            *slot = field.to_le_bytes();
        }
        out
    }

    /// What does not depend on the graph; `degree` and `shamir_t` are still 0.
    fn without_graph(
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
        if (2..=MAX_ROSTER).contains(&n) && u_min > n {
            return Err(ParameterError::Unreachable { u_min, n });
        }
        Ok(Self { n, corrupt, quorum, shamir_t: 0, u_min, degree: 0 })
    }
}

fn at_least(
    name: &'static str,
    value: u16,
    least: u16,
    why: &'static str,
) -> Result<(), ParameterError> {
    if value < least {
        return Err(ParameterError::TooLow { name, value, least, why });
    }
    Ok(())
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
