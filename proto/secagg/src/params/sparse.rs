//! How many neighbours a node needs in the sparse graph, and how many of them
//! must open a seed. It knows probabilities and no ring: the ring is in
//! [`crate::graph`].
//!
//! Source: Bell, Bonawitz, Gascon, Lepoint, Raykova, *Secure Single-Server
//! Aggregation with (Poly)Logarithmic Overhead*, CCS 2020, for the ring-Harary
//! graph of a random order and for corrupt nodes that are fixed before it is
//! drawn. Let q_m be the number of corrupt nodes among m places of the ring.
//! `shamir_t` is the largest of three terms, plus 2:
//!
//! - `q_k`: the corrupt neighbours of a node never open a seed by themselves;
//! - `k/2 + q_(k/2)`: if the honest nodes that are left fall apart, each part is
//!   a piece of the ring, and its last node has no honest neighbour on one side;
//!   at most k/2 neighbours on the other side and `q_(k/2)` corrupt ones on
//!   this one do not open its self mask, so the part's sum stays hidden;
//! - `ceil((q_k + k - 1.25) / 2)`: the honest neighbours reveal one kind of
//!   share each and the corrupt ones both, `k + q_k` in all; that is less than
//!   twice `shamir_t`, so nobody's two seeds are both opened.
//!
//! **Why q_m is taken among all N nodes.** Any m places of the ring hold a
//! uniform m-subset of the N nodes, and there are N windows of k/2 places and N
//! of k places around a node. The union over all windows, whoever stands beside
//! them, costs N times the tail among N. Asking only about windows beside an
//! honest node gives `N - C` times the tail among the other N - 1, which is the
//! same probability less that of windows beside corrupt nodes: never more. Each
//! of the two kinds gets half of the failure probability.
//!
//! **Why dropouts are drawn without replacement.** More than `N - u_min` missing
//! nodes end the attempt anyway, so exactly that many are what the graph must
//! bear. The same union over N windows of k places applies.

use super::hypergeometric::Urn;

/// Most neighbours of a node: a share's slot is one byte and never 0, and the
/// number is even.
pub(super) const MAX_DEGREE: u16 = 254;

/// Bits against a round that fails though the tolerated nodes are missing, over
/// all nodes.
const CORRECTNESS_BITS: u32 = 20;

/// How the solver counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convention {
    /// The graph betrays somebody with probability at most `2^-security_bits`,
    /// over all nodes.
    pub security_bits: u32,
    /// Shares of its own seeds that a dealer keeps.
    pub own_shares: u16,
}

/// What is shipped: 41 bits, and 6 more because the coin of the graph can be
/// redrawn: 3 restarts in each of 16 epochs leave a choice of 64 graphs at most.
/// A dealer keeps no share, as a missing dealer could not use it.
pub(super) const SHIPPED: Convention = Convention { security_bits: 41 + 6, own_shares: 0 };

/// Whether a sparse graph of `n` nodes can have this many neighbours a node.
pub(super) fn is_degree(degree: u16, n: u16) -> bool {
    (2..=MAX_DEGREE).contains(&degree) && degree.is_multiple_of(2) && degree.saturating_add(1) < n
}

/// The least `shamir_t` that protects `n` nodes with `corrupt` corrupt ones
/// among them in the graph of this degree.
pub(super) fn least_shamir_t(n: u16, corrupt: u16, degree: u16, convention: Convention) -> u16 {
    let bound = share_of(n, convention.security_bits + 1);
    let among = |draws| Urn { population: n, marked: corrupt, draws }.exceeded_at_most(bound);
    let half = degree / 2;
    let (q_k, q_half) = (among(degree), among(half));
    // ceil((q_k + k - 1.25) / 2) in whole numbers.
    let both_kinds = (q_k + degree) / 2;
    q_k.max(half + q_half).max(both_kinds) + 2
}

/// The smallest degree, with its least `shamir_t`, that also lets a round end
/// when `missing` nodes are missing; `None` if there is none.
pub(super) fn smallest(
    n: u16,
    corrupt: u16,
    missing: u16,
    convention: Convention,
) -> Option<(u16, u16)> {
    let bound = share_of(n, CORRECTNESS_BITS);
    (2..=MAX_DEGREE).step_by(2).take_while(|degree| is_degree(*degree, n)).find_map(|degree| {
        let shamir_t = least_shamir_t(n, corrupt, degree, convention);
        let lost = Urn { population: n, marked: missing, draws: degree }.exceeded_at_most(bound);
        (shamir_t + lost <= degree + convention.own_shares).then_some((degree, shamir_t))
    })
}

/// `2^-bits / n`, for fewer than 64 bits.
fn share_of(n: u16, bits: u32) -> f64 {
    1.0 / (1u64 << bits) as f64 / f64::from(n)
}
