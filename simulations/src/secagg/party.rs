//! One node's machines from the epoch's first message to the last certified result, driven by the
//! messages of the aggregator alone. It knows no connection and no clock; its vectors come from
//! whoever uses it. Nothing is stored: a trial has no budget to charge.

use tributary_dp::SecretRng;
use tributary_secagg::{
    Digest, Lanes, NodeEpoch, NodeEpochHello, NodeEpochKem, NodeEpochPeers, NodeMessage,
    NodeOutput, NodeRound, NodeSeat, RoundView, ServerMessage, Upload, hash,
};

use crate::SimulationError;

/// What a party says, or why it cannot go on.
pub type Result<T> = std::result::Result<T, SimulationError>;

/// A trial that cannot go on.
pub fn stopped(why: impl ToString) -> SimulationError {
    SimulationError::Federation(why.to_string())
}

/// Attempts that a round may have; here it has one.
const MAX_ATTEMPTS: u16 = 2;

/// Where a node's vectors come from and where the sums go.
pub trait Vectors {
    /// The vector of a round.
    ///
    /// # Errors
    /// If there is none.
    fn vector(&mut self, round: u32) -> Result<Lanes>;

    /// The sum of that round.
    ///
    /// # Errors
    /// If it is no sum of a round.
    fn opened(&mut self, sum: Lanes) -> Result<()>;
}

/// What a node sends.
pub enum Reply {
    /// One message.
    Message(NodeMessage),
    /// A masked vector, message by message.
    Upload(Upload),
}

enum Keys {
    None,
    Hello(NodeEpochHello),
    Peers(NodeEpochPeers),
    Kem(NodeEpochKem),
    Ready(Box<NodeEpoch>),
}

/// A node.
pub struct Party<V> {
    seat: NodeSeat,
    /// What every round's view has in common.
    base: RoundView,
    facts: Facts,
    keys: Keys,
    round: Option<NodeRound>,
    rng: SecretRng,
    /// The vectors.
    pub vectors: V,
    /// Rounds whose result is certified.
    pub certified: u32,
}

/// What a round rests on: the state and the result before it.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// Number of the round.
    pub round: u32,
    /// Hash of the state.
    pub state: Digest,
    /// Digest of the result certificate before.
    pub previous: Digest,
}

impl Facts {
    /// Before the first round.
    pub const START: Self = Self { round: 0, state: Digest::ZERO, previous: Digest::ZERO };

    /// The view of the round.
    pub fn view(&self, base: &RoundView) -> RoundView {
        let Self { round, state, previous } = *self;
        RoundView { round, state_hash: state, previous, ..base.clone() }
    }
}

/// The state that follows from a sum: it stands for the model.
pub fn state_of(sum_root: &Digest) -> Digest {
    hash("trial state", &[&sum_root.0])
}

impl<V: Vectors> Party<V> {
    /// A node before its first epoch.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn new(seat: NodeSeat, base: RoundView, vectors: V) -> Result<Self> {
        let rng = SecretRng::from_os().map_err(stopped)?;
        let (keys, facts) = (Keys::None, Facts::START);
        Ok(Self { seat, base, facts, keys, round: None, rng, vectors, certified: 0 })
    }

    /// Takes a message of the aggregator.
    ///
    /// # Errors
    /// Whatever would end a round: there is nothing to measure then.
    pub fn handle(&mut self, message: ServerMessage) -> Result<Vec<Reply>> {
        let mut replies = Vec::new();
        let outputs = match message {
            ServerMessage::RoundStart(start) => {
                let Keys::Ready(epoch) = &mut self.keys else {
                    return Err(stopped("a round without an epoch"));
                };
                let view = self.facts.view(&self.base);
                let rng = &mut self.rng;
                let opened = NodeRound::open(&self.seat, epoch, MAX_ATTEMPTS, start, &view, rng)
                    .map_err(stopped)?;
                self.round = Some(opened.0);
                vec![NodeOutput::Send(opened.1)]
            }
            message => match self.keying(message)? {
                Ok(answer) => answer.into_iter().map(NodeOutput::Send).collect(),
                Err(message) => self.machine()?.handle(*message).map_err(stopped)?,
            },
        };
        self.carry_out(outputs, &mut replies)?;
        Ok(replies)
    }

    /// Lets a node go on that missed the end of a round: it has the state from elsewhere.
    pub fn catch_up(&mut self, facts: Facts) {
        self.facts = facts;
        self.round = None;
    }

    /// The answer to a message of an epoch's set-up, or the message if it is none.
    fn keying(
        &mut self,
        message: ServerMessage,
    ) -> Result<std::result::Result<Option<NodeMessage>, Box<ServerMessage>>> {
        let keys = std::mem::replace(&mut self.keys, Keys::None);
        let (keys, answer) = match (keys, message) {
            (_, ServerMessage::EpochStart(start)) => {
                let opened = NodeEpochHello::open(&self.seat, &start, &mut self.rng);
                let (state, hello) = opened.map_err(stopped)?;
                (Keys::Hello(state), Some(hello))
            }
            (Keys::Hello(state), ServerMessage::EpochHellos(message)) => {
                let (state, reveal) = state.on_hellos(&message).map_err(stopped)?;
                (Keys::Peers(state), reveal)
            }
            (Keys::Peers(state), ServerMessage::EpochPeers(message)) => {
                let (state, kem) = state.on_peers(message).map_err(stopped)?;
                (Keys::Kem(state), Some(kem))
            }
            (Keys::Kem(state), ServerMessage::EpochKems(message)) => {
                let (epoch, done) = state.on_kems(&message).map_err(stopped)?;
                (Keys::Ready(Box::new(epoch)), Some(done))
            }
            (keys, message) => {
                self.keys = keys;
                return Ok(Err(Box::new(message)));
            }
        };
        self.keys = keys;
        Ok(Ok(answer))
    }

    fn carry_out(&mut self, outputs: Vec<NodeOutput>, replies: &mut Vec<Reply>) -> Result<()> {
        for output in outputs {
            let more = match output {
                NodeOutput::Send(message) => {
                    replies.push(Reply::Message(message));
                    continue;
                }
                NodeOutput::Upload(upload) => {
                    replies.push(Reply::Upload(upload));
                    continue;
                }
                NodeOutput::VectorNeeded => {
                    let vector = self.vectors.vector(self.facts.round)?;
                    let machine = self.round.as_mut().ok_or_else(|| stopped("no round is open"))?;
                    machine.provide_vector(vector).map_err(stopped)?
                }
                NodeOutput::ChargeNeeded { .. } => {
                    self.machine()?.release_upload().map_err(stopped)?
                }
                NodeOutput::Opened { sum, sum_root, .. } => {
                    self.vectors.opened(sum)?;
                    let state = state_of(&sum_root);
                    self.machine()?.acknowledge_result(state).map_err(stopped)?
                }
                NodeOutput::Certified(quorum) => {
                    let (round, state) = (self.facts.round + 1, quorum.state_hash);
                    self.facts = Facts { round, state, previous: quorum.digest() };
                    self.certified += 1;
                    self.round = None;
                    continue;
                }
                NodeOutput::Complained { against, why } => {
                    return Err(stopped(format!("the shares of node {against}: {why}")));
                }
                NodeOutput::Stopped(fault) => return Err(stopped(fault)),
                NodeOutput::Aborted(abort) => return Err(stopped(abort)),
            };
            self.carry_out(more, replies)?;
        }
        Ok(())
    }

    fn machine(&mut self) -> Result<&mut NodeRound> {
        self.round.as_mut().ok_or_else(|| stopped("a message of a round while none is open"))
    }
}
