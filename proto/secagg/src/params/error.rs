//! Sentences for whoever writes a job: which number is wrong and what to change.
//! It knows no rule; the rules are in the files beside it.

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
    /// A roster size the graph does not serve.
    #[error("a roster of {n} nodes; the {graph} graph serves {least} to {most}")]
    RosterSize {
        /// The refused size.
        n: u16,
        /// Which graph.
        graph: &'static str,
        /// Smallest roster it serves.
        least: u16,
        /// Largest roster it serves.
        most: u16,
    },
    /// The survivor floor cannot be met by the roster.
    #[error(
        "u_min is {u_min} but the roster has only {n} nodes, so no round could end: enrol more \
         nodes, or lower the survivor floor (or the corrupt fraction, if the quorum is what asks \
         for this many)"
    )]
    Unreachable {
        /// Smallest survivor set asked for.
        u_min: u16,
        /// Nodes on the roster.
        n: u16,
    },
    /// A threshold below what the roster size, the corrupt nodes or the graph demand.
    #[error("{name} is {value}, it must be at least {least}: {why}")]
    TooLow {
        /// Which threshold.
        name: &'static str,
        /// The refused value.
        value: u16,
        /// The least safe value.
        least: u16,
        /// What goes wrong below it.
        why: &'static str,
    },
    /// A number of neighbours that no sparse graph has.
    #[error(
        "degree is {degree}; in the sparse graph of {n} nodes it must be even and 2 to {most}, as \
         a node has equally many neighbours on both sides and a share's slot is one byte"
    )]
    Degree {
        /// The refused number.
        degree: u16,
        /// Nodes on the roster.
        n: u16,
        /// Largest number allowed.
        most: u16,
    },
    /// More shares needed than anybody deals.
    #[error(
        "shamir_t is {shamir_t} but only {degree} neighbours hold shares, so no round could end: \
         raise degree"
    )]
    TooFewHolders {
        /// Shares that open a sharing.
        shamir_t: u16,
        /// Holders of a sharing.
        degree: u16,
    },
    /// No sparse graph is both safe and likely to finish a round.
    #[error(
        "no graph with at most {most} neighbours a node protects {n} nodes against {corrupt} \
         corrupt ones while {missing} may be missing: lower the dropout fraction (or raise the \
         survivor floor) or lower the corrupt fraction"
    )]
    NoGraph {
        /// Nodes on the roster.
        n: u16,
        /// Corrupt nodes to be tolerated.
        corrupt: u16,
        /// Missing nodes to be tolerated.
        missing: u16,
        /// Most neighbours a node can have.
        most: u16,
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
