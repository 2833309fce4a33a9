//! A node's part in the set-up of an epoch: no start is answered twice, also not after
//! a crash, and the epoch is stored before the node says that it has it.

use tributary_secagg::{EpochStart, NodeIndex, NodeMessage, ServerMessage};

use super::node::Disk;
use super::world::World;
use crate::common::{Keying, keying_step};

impl World {
    pub fn epoch_starts(&mut self, node: NodeIndex, start: &EpochStart) {
        let host = self.host(node);
        let this = (start.epoch, start.restart);
        if host.disk.answered.is_some_and(|last| last >= this) {
            return;
        }
        host.open = None;
        host.epoch = None;
        let (seat, mut rng) = (host.seat.clone(), host.rng.clone());
        let (state, answer) =
            keying_step(&seat, None, ServerMessage::EpochStart(start.clone()), &mut rng);
        let host = self.host(node);
        (host.rng, host.keying, host.keying_context) = (rng, state, start.context);
        self.keying_answers(node, answer, |disk| disk.answered = Some(this));
    }

    pub fn epoch_goes_on(&mut self, node: NodeIndex, message: ServerMessage) {
        let host = self.host(node);
        // Of a set-up that has begun anew since.
        if message.context() != host.keying_context {
            return;
        }
        let Some(state) = host.keying.take() else { return };
        let (seat, mut rng) = (host.seat.clone(), host.rng.clone());
        let (state, answer) = keying_step(&seat, Some(state), message, &mut rng);
        let host = self.host(node);
        host.rng = rng;
        match state {
            Some(Keying::Done(epoch)) => {
                let bytes = epoch.to_secret_bytes().to_vec();
                host.epoch = Some(*epoch);
                self.keying_answers(node, answer, |disk| {
                    disk.old_backup.get_or_insert_with(|| bytes.clone());
                    disk.epoch = Some(bytes);
                });
            }
            state => {
                host.keying = state;
                self.keying_answers(node, answer, |_| ());
            }
        }
    }

    fn keying_answers(
        &mut self,
        node: NodeIndex,
        answer: Option<NodeMessage>,
        store: impl FnOnce(&mut Disk),
    ) {
        if let Some(Keying::Failed(fault)) = &self.host(node).keying {
            let fault = fault.clone();
            return self.checks.fault(&format!("node {node}"), &fault);
        }
        if let Some(answer) = answer {
            self.store_and_send(node, answer, store);
        }
    }
}
