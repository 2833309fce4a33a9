//! What all nodes of a test know beforehand, and a node of this crate.

use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore as _, SeedableRng as _};
use tributary_secagg::{
    LaneBits, NodeOutput, NodeRound, NodeSeat, Roster, RoundView, ServerMessage, Thresholds, hash,
};

use super::common::{Keying, MAX_ATTEMPTS, keying_step, lanes, state_of, words};

/// What every honest party knows beforehand: the attempts and the vectors of all nodes.
#[derive(Clone)]
pub struct Plan(pub Arc<Vec<(RoundView, Vec<Vec<u32>>)>>);

impl Plan {
    /// One round for each lane width and length.
    pub fn new(nodes: u16, rounds: &[(u8, u32)]) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let round = |(round, (bits, length)): (u32, &(u8, u32))| {
            let view = RoundView {
                round,
                attempt: (round % 2) as u16,
                operation: 1,
                vector_len: *length,
                lane_bits: LaneBits::new(*bits).unwrap(),
                state_hash: hash("state", &[&round.to_le_bytes()]),
                params_hash: hash("params", &[]),
                previous: hash("previous", &[&round.to_le_bytes()]),
            };
            let mut vector = || (0..*length).map(|_| rng.next_u32() >> (32 - bits)).collect();
            let vectors = (0..nodes).map(|_| vector()).collect();
            (view, vectors)
        };
        Self(Arc::new((0u32..).zip(rounds).map(round).collect()))
    }
}

/// A node of this crate with the least a program must do around it.
pub struct Own {
    seat: NodeSeat,
    plan: Plan,
    keying: Option<Keying>,
    round: Option<NodeRound>,
    /// Place of the running round in the plan.
    at: usize,
    rng: ChaCha20Rng,
    pub notes: Vec<String>,
}

impl Own {
    pub fn new(seat: NodeSeat, plan: &Plan) -> Self {
        let rng = ChaCha20Rng::seed_from_u64(seat.me().0.into());
        let (plan, notes) = (plan.clone(), Vec::new());
        Self { seat, plan, keying: None, round: None, at: 0, rng, notes }
    }

    pub fn take(&mut self, message: ServerMessage) -> Vec<Vec<u8>> {
        let (seat, rng) = (&self.seat, &mut self.rng);
        let outputs = match message {
            ServerMessage::RoundStart(start) => {
                let Some(Keying::Done(epoch)) = &mut self.keying else { panic!("no keys") };
                self.at = start.view.round as usize;
                let view = &self.plan.0[self.at].0;
                let (round, commit) =
                    NodeRound::open(seat, epoch, MAX_ATTEMPTS, start, view, rng).unwrap();
                self.round = Some(round);
                vec![NodeOutput::Send(commit)]
            }
            message => match &mut self.round {
                Some(round) => round.handle(message).unwrap(),
                None => {
                    let (state, answer) = keying_step(seat, self.keying.take(), message, rng);
                    self.keying = state;
                    if let Some(Keying::Failed(fault)) = &self.keying {
                        panic!("{fault}");
                    }
                    answer.into_iter().map(NodeOutput::Send).collect()
                }
            },
        };
        let mut frames = Vec::new();
        self.act(outputs, &mut frames);
        frames
    }

    /// Does what the machine asks for, at once.
    fn act(&mut self, outputs: Vec<NodeOutput>, frames: &mut Vec<Vec<u8>>) {
        let (view, vectors) = &self.plan.clone().0[self.at];
        for output in outputs {
            let round = self.round.as_mut();
            let more = match output {
                NodeOutput::Send(message) => {
                    frames.push(message.encode());
                    Ok(Vec::new())
                }
                NodeOutput::Upload(upload) => {
                    frames.extend(upload.map(|message| message.encode()));
                    Ok(Vec::new())
                }
                NodeOutput::Certified(quorum) => {
                    self.notes.push(format!("certified {}", quorum.digest()));
                    Ok(Vec::new())
                }
                NodeOutput::Stopped(fault) => panic!("{fault}"),
                NodeOutput::Complained { .. } | NodeOutput::Aborted(_) => Ok(Vec::new()),
                NodeOutput::VectorNeeded => {
                    let vector = &vectors[usize::from(self.seat.me().0)];
                    round.unwrap().provide_vector(lanes(view.lane_bits, vector))
                }
                NodeOutput::ChargeNeeded { .. } => round.unwrap().release_upload(),
                NodeOutput::Opened { sum, .. } => {
                    round.unwrap().acknowledge_result(state_of(&words(&sum)))
                }
            };
            self.act(more.unwrap(), frames);
        }
    }
}

/// The line of JSON that a program begins with.
pub fn configuration(roster: &Roster, me: u16, plan: &Plan) -> String {
    let Thresholds { n, corrupt, quorum, shamir_t, u_min, degree } = roster.thresholds;
    let members: Vec<String> = roster.members.iter().map(|key| format!("\"{key}\"")).collect();
    let seed = hash("test identity", &[&me.to_le_bytes()]);
    let mut rounds = Vec::new();
    for (view, vectors) in plan.0.iter() {
        let RoundView { round, attempt, operation, vector_len, lane_bits, .. } = view;
        let RoundView { state_hash, params_hash, previous, .. } = view;
        rounds.push(format!(
            r#"{{"view":{{"round":{round},"attempt":{attempt},"operation":{operation},"vector_len":{vector_len},"lane_bits":{},"state_hash":"{state_hash}","params_hash":"{params_hash}","previous":"{previous}"}},"vector":{:?}}}"#,
            lane_bits.bits(),
            vectors[usize::from(me)]
        ));
    }
    let (job, aggregator) = (roster.job, roster.aggregator);
    let (members, rounds) = (members.join(","), rounds.join(","));
    let thresholds = format!(
        r#"{{"n":{n},"corrupt":{corrupt},"quorum":{quorum},"shamir_t":{shamir_t},"u_min":{u_min},"degree":{degree}}}"#
    );
    format!(
        r#"{{"job":"{job}","members":[{members}],"aggregator":"{aggregator}","thresholds":{thresholds},"me":{me},"seed":"{seed}","max_attempts":{MAX_ATTEMPTS},"rounds":[{rounds}]}}"#
    ) + "\n"
}
