//! The network of a virtual round: frames between a machine of the aggregator and its nodes, in
//! steps. In a step all nodes that have mail answer it, on several threads; then the machine takes
//! the answers one after the other.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};
use tonic::codegen::Bytes;
use tributary_secagg::messages::Kind;
use tributary_secagg::{Limits, NodeIndex, NodeMessage, ServerMessage, ServerOutput};

use super::machines::Machine;
use super::members::{Member, Use};
use crate::output::timed;
use tributary_simulations::secagg::party::Facts;

/// All nodes and what is on its way to them.
pub struct Net {
    members: Vec<Member>,
    limits: Limits,
    threads: NonZeroUsize,
    vanishing: Vec<NodeIndex>,
    steps: Vec<Step>,
    /// Seconds to parse the nodes' frames since [`Self::catch_up`].
    pub decode_s: f64,
}

/// What followed from messages of one kind.
struct Step {
    kind: Kind,
    answers: usize,
    nodes_s: f64,
    machine_s: f64,
}

/// A node's answers to its mail.
type Answers = (NodeIndex, Result<Vec<Vec<u8>>>);

impl Net {
    /// A network of these nodes, in the order of their numbers.
    pub fn new(members: Vec<Member>, limits: Limits, threads: NonZeroUsize) -> Self {
        let (vanishing, steps) = (Vec::new(), Vec::new());
        Self { members, limits, threads, vanishing, steps, decode_s: 0.0 }
    }

    /// Brings all nodes to one state; `vanishing` of them are lost in the next round.
    pub fn catch_up(&mut self, facts: Facts, vanishing: &[NodeIndex]) {
        self.vanishing = vanishing.to_vec();
        self.decode_s = 0.0;
        for member in &mut self.members {
            member.gone = false;
            member.inbox.clear();
            member.party.catch_up(facts);
        }
    }

    /// Carries frames until nobody has any to say.
    ///
    /// # Errors
    /// If a node or the machine refuses something.
    pub fn run(&mut self, machine: &mut impl Machine, outputs: Vec<ServerOutput>) -> Result<()> {
        self.post(machine, outputs)?;
        while let Some(kind) = self.members.iter().find_map(|m| m.inbox.first()).map(|(k, _)| *k) {
            let (answers, nodes_s) = timed(|| self.answers());
            let count = answers.len();
            let (outputs, machine_s) = timed(|| self.hand_over(machine, answers));
            self.post(machine, outputs?)?;
            self.note(Step { kind, answers: count, nodes_s, machine_s });
        }
        Ok(())
    }

    /// Where the time went, on standard error.
    pub fn report(&mut self, what: &str, seconds: f64) {
        eprintln!("{what}: {seconds:.2} s");
        for Step { kind, answers, nodes_s, machine_s } in self.steps.drain(..) {
            eprintln!(
                "  {:<18} {answers:>6} answers  nodes {nodes_s:>7.2} s  aggregator {machine_s:>7.2} s",
                kind.to_string()
            );
        }
    }

    /// What all nodes have used since the last call.
    pub fn take_use(&mut self) -> Use {
        let mut total = Use::default();
        for member in &mut self.members {
            total.add(&std::mem::take(&mut member.used));
        }
        total
    }

    fn post(&mut self, machine: &mut impl Machine, outputs: Vec<ServerOutput>) -> Result<()> {
        let mut lost = Vec::new();
        for output in outputs {
            match output {
                ServerOutput::Send(node, message) => self.mail([node], &message),
                ServerOutput::SendAll(nodes, message) => {
                    if message.kind() == Kind::UploadGrant {
                        lost = std::mem::take(&mut self.vanishing);
                        for member in &mut self.members {
                            member.gone = lost.contains(&NodeIndex(member.node));
                        }
                    }
                    self.mail(nodes.iter(), &message);
                }
                other => {
                    let more = machine.concern(other)?;
                    self.post(machine, more)?;
                }
            }
        }
        for node in lost {
            let more = machine.lose(node);
            self.post(machine, more)?;
        }
        Ok(())
    }

    fn mail(&mut self, nodes: impl IntoIterator<Item = NodeIndex>, message: &ServerMessage) {
        let (kind, bytes) = (message.kind(), Bytes::from(message.encode()));
        for node in nodes {
            let member = self.members.get_mut(usize::from(node.0)).filter(|member| !member.gone);
            if let Some(member) = member {
                member.inbox.push((kind, bytes.clone()));
            }
        }
    }

    /// Every node with mail answers it.
    fn answers(&mut self) -> Vec<Answers> {
        let limits = &self.limits;
        let waiting: Vec<_> = self.members.iter_mut().filter(|m| !m.inbox.is_empty()).collect();
        let threads = self.threads.get().min(waiting.len());
        let queue = Mutex::new(waiting.into_iter());
        let done = Mutex::new(Vec::new());
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some(member) = next() {
                let answers = (NodeIndex(member.node), member.answer(limits));
                done.lock().unwrap_or_else(PoisonError::into_inner).push(answers);
            }
        };
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(node, _)| *node);
        done
    }

    fn hand_over(
        &mut self,
        machine: &mut impl Machine,
        answers: Vec<Answers>,
    ) -> Result<Vec<ServerOutput>> {
        let mut outputs = Vec::new();
        for (node, frames) in answers {
            for frame in frames? {
                let (message, seconds) = timed(|| NodeMessage::decode(&frame, &self.limits));
                self.decode_s += seconds;
                let message = message.map_err(|error| anyhow!("node {node}: {error}"))?;
                drop(frame);
                outputs.extend(machine.handle(node, message)?);
            }
        }
        Ok(outputs)
    }

    /// Steps of one kind, as the turns of an upload are, become one.
    fn note(&mut self, step: Step) {
        match self.steps.iter_mut().find(|known| known.kind == step.kind) {
            Some(known) => {
                known.answers += step.answers;
                known.nodes_s += step.nodes_s;
                known.machine_s += step.machine_s;
            }
            None => self.steps.push(step),
        }
    }
}
