//! One honest attempt with equal vectors everywhere, of which everything is kept: the
//! frames, and how node 0 looked when it was printed.

use std::collections::BTreeMap;

use tributary_secagg::messages::ShareParcel;
use tributary_secagg::{
    NodeIndex, NodeMessage, NodeOutput, NodeRound, NodeSet, RoundView, ServerMessage, ServerRound,
    hash,
};

use crate::common::{Cluster, lanes, sends};

/// What a node said and was told in one attempt.
#[derive(Default)]
pub struct Recorded {
    pub frames: Vec<Vec<u8>>,
    /// How node 0 looked in `Debug` after every step.
    pub looks: Vec<String>,
    /// Sealed shares for node 0.
    pub parcels: Vec<ShareParcel>,
    pub certified: usize,
}

/// Runs one attempt with equal vectors everywhere, and remembers everything.
pub fn record(cluster: &mut Cluster, view: &RoundView, x: &[u32]) -> Recorded {
    let cohort = NodeSet::full(cluster.size());
    let (mut server, out) =
        ServerRound::open(&cluster.server, &cluster.facts, view.clone(), cohort).unwrap();
    let mut machines: BTreeMap<NodeIndex, NodeRound> = BTreeMap::new();
    let mut recorded = Recorded::default();
    let mut queue = sends(out);
    while !queue.is_empty() {
        let mut answers = Vec::new();
        for (node, message) in std::mem::take(&mut queue) {
            recorded.frames.push(message.encode());
            if let (ServerMessage::ShareRelay(relay), NodeIndex(0)) = (&message, node) {
                recorded.parcels.clone_from(&relay.parcels);
            }
            if let ServerMessage::RoundStart(start) = message {
                let (machine, commit) = cluster.open_node(node, start, view).unwrap();
                machines.insert(node, machine);
                answers.push((node, commit));
            } else {
                let outputs = machines.get_mut(&node).unwrap().handle(message).unwrap();
                follow(&mut machines, node, outputs, view, x, &mut answers, &mut recorded);
            }
            if let Some(machine) = machines.get(&NodeIndex(0)) {
                recorded.looks.push(format!("{machine:?} {machine:#?}"));
            }
        }
        for (node, message) in answers {
            recorded.frames.push(message.encode());
            let mut outputs = server.handle(node, message).unwrap();
            outputs.extend(server.provide_state(hash("state", &[])));
            queue.extend(sends(outputs));
        }
    }
    recorded
}

fn follow(
    machines: &mut BTreeMap<NodeIndex, NodeRound>,
    node: NodeIndex,
    outputs: Vec<NodeOutput>,
    view: &RoundView,
    x: &[u32],
    answers: &mut Vec<(NodeIndex, NodeMessage)>,
    recorded: &mut Recorded,
) {
    for output in outputs {
        if node == NodeIndex(0) {
            recorded.looks.push(format!("{output:?} {output:#?}"));
        }
        let machine = machines.get_mut(&node).unwrap();
        let more = match output {
            NodeOutput::Send(message) => {
                answers.push((node, message));
                continue;
            }
            NodeOutput::Upload(upload) => {
                answers.extend(upload.map(|message| (node, message)));
                continue;
            }
            NodeOutput::VectorNeeded => {
                let x = lanes(view.lane_bits, x);
                machine.provide_vector(x).unwrap()
            }
            NodeOutput::ChargeNeeded { .. } => machine.release_upload().unwrap(),
            NodeOutput::Opened { .. } => machine.acknowledge_result(hash("state", &[])).unwrap(),
            NodeOutput::Certified(_) => {
                recorded.certified += 1;
                continue;
            }
            NodeOutput::Complained { .. } | NodeOutput::Stopped(_) | NodeOutput::Aborted(_) => {
                panic!("{output:?}")
            }
        };
        follow(machines, node, more, view, x, answers, recorded);
    }
}
