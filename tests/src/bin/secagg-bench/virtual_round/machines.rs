//! The aggregator's two machines behind one trait, with a clock on every call.

use anyhow::{Result, bail};
use tributary_secagg::{
    Lanes, NodeIndex, NodeMessage, NodeSet, ResultQc, ServerEpoch, ServerOutput, ServerPhase,
    ServerRound,
};

use crate::output::timed;
use tributary_simulations::secagg::party::state_of;

/// What the network asks of a machine.
pub trait Machine {
    /// Takes a node's message.
    ///
    /// # Errors
    /// If it is refused.
    fn handle(&mut self, from: NodeIndex, message: NodeMessage) -> Result<Vec<ServerOutput>>;

    /// Takes an output that is nothing to send.
    ///
    /// # Errors
    /// If it means that something went wrong.
    fn concern(&mut self, output: ServerOutput) -> Result<Vec<ServerOutput>>;

    /// A node has vanished.
    fn lose(&mut self, node: NodeIndex) -> Vec<ServerOutput>;
}

/// Epoch set-up.
pub struct EpochMachine(pub ServerEpoch);

impl Machine for EpochMachine {
    fn handle(&mut self, from: NodeIndex, message: NodeMessage) -> Result<Vec<ServerOutput>> {
        Ok(self.0.handle(from, message)?)
    }

    fn concern(&mut self, output: ServerOutput) -> Result<Vec<ServerOutput>> {
        bail!("the epoch failed: {output:?}")
    }

    fn lose(&mut self, _: NodeIndex) -> Vec<ServerOutput> {
        Vec::new()
    }
}

/// A round.
pub struct RoundMachine {
    machine: ServerRound,
    /// Inside the machine.
    pub seconds: f64,
    /// Of these, opening seeds and taking masks off.
    pub unmask_s: f64,
    /// The sum and whose it is.
    pub opened: Option<(Lanes, NodeSet)>,
    /// The result.
    pub certified: Option<ResultQc>,
}

impl RoundMachine {
    /// A round that is open.
    pub fn new(machine: ServerRound) -> Self {
        Self { machine, seconds: 0.0, unmask_s: 0.0, opened: None, certified: None }
    }
}

impl Machine for RoundMachine {
    fn handle(&mut self, from: NodeIndex, message: NodeMessage) -> Result<Vec<ServerOutput>> {
        let before = self.machine.phase();
        let (outputs, seconds) = timed(|| self.machine.handle(from, message));
        self.seconds += seconds;
        if before == ServerPhase::Unmasking && self.machine.phase() != before {
            self.unmask_s += seconds;
        }
        Ok(outputs?)
    }

    fn concern(&mut self, output: ServerOutput) -> Result<Vec<ServerOutput>> {
        match output {
            ServerOutput::Opened { sum, survivors, sum_root } => {
                self.opened = Some((sum, survivors));
                Ok(self.machine.provide_state(state_of(&sum_root)))
            }
            ServerOutput::Certified(quorum) => {
                self.certified = Some(quorum);
                Ok(Vec::new())
            }
            other => bail!("the round failed: {other:?}"),
        }
    }

    fn lose(&mut self, node: NodeIndex) -> Vec<ServerOutput> {
        let (outputs, seconds) = timed(|| self.machine.drop_node(node));
        self.seconds += seconds;
        outputs
    }
}
