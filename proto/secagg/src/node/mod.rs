//! The node's side: one machine per attempt of a round, one file per phase.
//!
//! A machine takes messages and calls of its own program and gives back messages
//! to send and requests. It has no clock and no storage. The rules of storage are
//! the caller's: *persist, then send*. Durable before each of the following
//! leaves the machine: the stepped epoch (before the commit), the charge (before
//! [`NodeRound::release_upload`]), the acknowledgement, the shares, the result
//! acknowledgement. What was given out once is resent from the caller's own
//! store; this machine never makes it a second time.

mod acknowledge;
mod chains;
mod commit;
mod epoch;
mod output;
mod relay;
mod result;
mod reveal;
mod upload;

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::Arc;

use rand_core::RngCore;
use zeroize::Zeroizing;

pub use chains::{MAX_STEPS_AHEAD, NodeEpoch};
pub use epoch::{NodeEpochHello, NodeEpochKem};
pub use output::{NodeOutput, NodePhase};

use crate::digest::Digest;
use crate::fault::Fault;
use crate::identity::Identity;
use crate::ids::{NodeIndex, NodeSet};
use crate::messages::{Kind, NodeMessage, ServerMessage, SignedMessage};
use crate::roster::Roster;

/// Facts of the attempt that no phase changes.
pub(crate) struct Attempt {
    roster: Arc<Roster>,
    identity: Arc<Identity>,
    me: NodeIndex,
    ctx: Digest,
    cohort: NodeSet,
    vector_len: usize,
}

impl Attempt {
    fn send(message: impl Into<NodeMessage>) -> NodeOutput {
        NodeOutput::Send(message.into())
    }

    /// Checks the aggregator's signature on a message of this attempt.
    fn check_signature<M: SignedMessage>(&self, message: &M) -> Result<(), Fault> {
        if message.is_signed_by(&self.roster.aggregator) {
            return Ok(());
        }
        Err(Fault::aggregator(format!("sent a {} with a bad signature", M::SIGNED_KIND)))
    }

    /// The rules every set of nodes the aggregator names must keep: within
    /// `outer`, this node in it, at least `u_min` nodes, and at least `shamir_t`
    /// holders of shares (in the complete graph every node is one).
    fn check_set(&self, name: &str, set: &NodeSet, outer: &NodeSet) -> Result<(), Fault> {
        let refuse = |what: String| Err(Fault::aggregator(format!("named {name} that {what}")));
        let least = self.roster.thresholds.u_min.max(self.roster.thresholds.shamir_t);
        if !set.is_subset(outer) {
            return refuse(format!(
                "hold nodes ({}) outside the set before",
                set.difference(outer)
            ));
        }
        if !set.contains(self.me) {
            return refuse("leave this node out".to_owned());
        }
        if set.len() < usize::from(least) {
            return refuse(format!("are {} nodes, fewer than u_min = {least}", set.len()));
        }
        Ok(())
    }
}

/// One phase's data. A transition takes the old value whole, so that whatever
/// it does not pass on is dropped and wiped - also when the transition fails.
enum State {
    Committed(relay::Committed),
    AwaitingVector(upload::AwaitingVector),
    Ready(upload::Ready),
    AwaitingCharge(upload::AwaitingCharge),
    Uploaded(acknowledge::Uploaded),
    Acknowledged(reveal::Acknowledged),
    Revealed(result::Revealed),
    Opened(result::Opened),
    Attested(result::Attested),
    Certified,
    Aborted,
    Faulted,
}

type Step = Result<(State, Vec<NodeOutput>), Fault>;

/// A node's machine for one attempt of one round, from the commit to the
/// certified result.
pub struct NodeRound {
    attempt: Attempt,
    state: State,
    seen: BTreeMap<Kind, Digest>,
    opening: Option<Zeroizing<[u8; 32]>>,
}

impl NodeRound {
    /// Takes a message of the aggregator.
    ///
    /// A repetition of a message already taken is ignored; a different one of
    /// the same kind is equivocation.
    ///
    /// # Errors
    /// [`Fault`] saying who did what. After a fault the machine has wiped its
    /// secrets and refuses everything.
    pub fn handle(&mut self, message: ServerMessage) -> Result<Vec<NodeOutput>, Fault> {
        self.refuse_if_over()?;
        if message.context() != self.attempt.ctx {
            self.state = State::Faulted;
            return Err(Fault::aggregator(format!(
                "sent a {} of another context, replayed or misrouted",
                message.kind()
            )));
        }
        if message.kind() != Kind::SumChunk {
            let found = message.fingerprint();
            match self.seen.insert(message.kind(), found) {
                Some(known) if known == found => return Ok(Vec::new()),
                Some(_) => {
                    self.state = State::Faulted;
                    return Err(Fault::aggregator(format!(
                        "sent two different {} messages for one attempt",
                        message.kind()
                    )));
                }
                None => {}
            }
        }
        let step = self.step(message);
        self.settle(step)
    }

    /// Hands in the vector: `vector_len` lanes, already clipped, quantised and
    /// with noise. Only a commitment to it leaves now.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if no vector was asked for or its length is wrong.
    pub fn provide_vector(
        &mut self,
        x: Vec<u32>,
        rng: &mut dyn RngCore,
    ) -> Result<Vec<NodeOutput>, Fault> {
        let x = Zeroizing::new(x);
        self.refuse_if_over()?;
        let step = match mem::replace(&mut self.state, State::Faulted) {
            State::AwaitingVector(state) => {
                let mut opening = Zeroizing::new([0u8; 32]);
                rng.fill_bytes(opening.as_mut());
                let step = state.provide(&self.attempt, x, &opening);
                self.opening = Some(opening);
                step
            }
            other => Err(misuse("a vector", &other)),
        };
        self.settle(step)
    }

    /// Gives out the masked vector. Call it only when the charge is durable.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if no charge was asked for.
    pub fn release_upload(&mut self) -> Result<Vec<NodeOutput>, Fault> {
        self.refuse_if_over()?;
        let step = match mem::replace(&mut self.state, State::Faulted) {
            State::AwaitingCharge(state) => state.release(&self.attempt),
            other => Err(misuse("a release", &other)),
        };
        self.settle(step)
    }

    /// Signs the state that this node computed from the sum.
    ///
    /// # Errors
    /// [`Fault::Misuse`] if the sum is not opened yet; [`Fault::Incompatible`] if
    /// the quorum is already known and names another state.
    pub fn acknowledge_result(&mut self, state_hash: Digest) -> Result<Vec<NodeOutput>, Fault> {
        self.refuse_if_over()?;
        let step = match mem::replace(&mut self.state, State::Faulted) {
            State::Opened(state) => state.attest(&self.attempt, state_hash),
            other => Err(misuse("a state", &other)),
        };
        self.settle(step)
    }

    /// The context of the attempt.
    #[must_use]
    pub fn ctx(&self) -> Digest {
        self.attempt.ctx
    }

    /// Where the attempt stands.
    #[must_use]
    pub fn phase(&self) -> NodePhase {
        self.state.phase()
    }

    /// The 32 bytes that open the commitment in `Ready`, once there is one. They
    /// and the vector may be opened inside the agency only.
    #[must_use]
    pub fn vector_opening(&self) -> Option<&[u8; 32]> {
        self.opening.as_deref()
    }

    fn start(attempt: Attempt, state: State) -> Self {
        Self { attempt, state, seen: BTreeMap::new(), opening: None }
    }

    fn step(&mut self, message: ServerMessage) -> Step {
        let attempt = &self.attempt;
        match (mem::replace(&mut self.state, State::Faulted), message) {
            (_, ServerMessage::Abort(abort)) => {
                attempt.check_signature(&abort)?;
                Ok((State::Aborted, vec![NodeOutput::Aborted(abort)]))
            }
            (State::Committed(state), ServerMessage::ShareRelay(relay)) => {
                state.on_relay(attempt, &relay)
            }
            (State::Ready(state), ServerMessage::UploadGrant(grant)) => {
                state.on_grant(attempt, &grant)
            }
            (State::Uploaded(state), ServerMessage::SurvivorManifest(manifest)) => {
                state.on_manifest(attempt, manifest)
            }
            (State::Acknowledged(state), ServerMessage::SurvivorQc(quorum)) => {
                state.on_quorum(attempt, &quorum)
            }
            (State::Revealed(state), ServerMessage::SumChunk(chunk)) => state.on_chunk(&chunk),
            (State::Revealed(state), ServerMessage::RoundResult(result)) => {
                state.on_result(attempt, &result)
            }
            (State::Opened(state), ServerMessage::ResultQc(quorum)) => {
                Ok((state.remember(quorum), Vec::new()))
            }
            (State::Attested(state), ServerMessage::ResultQc(quorum)) => {
                state.on_quorum(attempt, quorum)
            }
            (state, message) => Err(Fault::aggregator(format!(
                "sent a {} while this node was {}",
                message.kind(),
                state.phase()
            ))),
        }
    }

    fn settle(&mut self, step: Step) -> Result<Vec<NodeOutput>, Fault> {
        let (state, outputs) = step?;
        self.state = state;
        Ok(outputs)
    }

    fn refuse_if_over(&self) -> Result<(), Fault> {
        match self.state.phase() {
            phase @ (NodePhase::Certified | NodePhase::Aborted | NodePhase::Faulted) => {
                Err(Fault::misuse(format!("the attempt is over: {phase}; open the next one")))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for NodeRound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeRound {{ node {}, {}, <redacted> }}", self.attempt.me, self.phase())
    }
}

impl State {
    fn phase(&self) -> NodePhase {
        match self {
            Self::Committed(_) => NodePhase::Committed,
            Self::AwaitingVector(_) => NodePhase::AwaitingVector,
            Self::Ready(_) => NodePhase::Ready,
            Self::AwaitingCharge(_) => NodePhase::AwaitingCharge,
            Self::Uploaded(_) => NodePhase::Uploaded,
            Self::Acknowledged(_) => NodePhase::Acknowledged,
            Self::Revealed(_) => NodePhase::Revealed,
            Self::Opened(_) => NodePhase::Opened,
            Self::Attested(_) => NodePhase::Attested,
            Self::Certified => NodePhase::Certified,
            Self::Aborted => NodePhase::Aborted,
            Self::Faulted => NodePhase::Faulted,
        }
    }
}

fn misuse(what: &str, state: &State) -> Fault {
    Fault::misuse(format!("{what} was handed in while the node was {}", state.phase()))
}
