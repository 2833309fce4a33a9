//! One round, step by step, written to be read.
//!
//! Five agencies sum their vectors. One of them loses its connection between the
//! grant and its upload. Read this file from top to bottom to learn what is sent
//! when, what a node's program has to do, and what the aggregator sees.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop")]

mod common;

use std::collections::BTreeMap;

use common::{Cluster, plain_sum, sends, state_of, words};
use tributary_secagg::messages::{Kind, SumChunk};
use tributary_secagg::{
    NodeIndex, NodeMessage, NodeOutput, NodePhase, NodeRound, NodeSet, ServerMessage, ServerOutput,
    ServerPhase, ServerRound,
};

/// The agency whose line breaks.
const UNLUCKY: NodeIndex = NodeIndex(3);

/// Hands every node its one message and collects what the nodes want done.
fn deliver(
    nodes: &mut BTreeMap<NodeIndex, NodeRound>,
    messages: Vec<ServerOutput>,
) -> Vec<(NodeIndex, NodeOutput)> {
    let mut wanted = Vec::new();
    for (node, message) in sends(messages) {
        let machine = nodes.get_mut(&node).unwrap();
        for output in machine.handle(message).unwrap() {
            wanted.push((node, output));
        }
    }
    wanted
}

/// Hands the aggregator everything the nodes send.
fn collect(server: &mut ServerRound, wanted: Vec<(NodeIndex, NodeOutput)>) -> Vec<ServerOutput> {
    let mut out = Vec::new();
    for (node, output) in wanted {
        let messages: Vec<NodeMessage> = match output {
            NodeOutput::Send(message) => vec![message],
            NodeOutput::Upload(upload) => upload.collect(),
            _ => Vec::new(),
        };
        for message in messages {
            out.extend(server.handle(node, message).unwrap());
        }
    }
    out
}

#[test]
fn five_nodes_and_one_dropout() {
    // Before the first round the nodes have agreed on pairwise keys (an epoch).
    // Five nodes, one of which may be corrupt: four signatures make a quorum,
    // four shares open a seed, four survivors are the least that is ever opened.
    let mut cluster = Cluster::new(5, 0.2, 0.2, 4);
    let t = cluster.roster.thresholds;
    assert_eq!((t.n, t.corrupt, t.quorum, t.shamir_t, t.u_min), (5, 1, 4, 4, 4));
    let vectors = cluster.vectors(10);
    let view = cluster.view(0, 0, 10);

    // R0. The aggregator invites everybody to round 0, attempt 0.
    let (mut server, invitations) =
        ServerRound::open(&cluster.server, &cluster.facts, view.clone(), NodeSet::full(5)).unwrap();

    // R1. A node compares the invitation with its own view - its own model hash,
    // parameters, round number - and computes the context itself. It draws two
    // seeds, b (its self mask) and z (the key to its escrowed edges), and deals
    // shares of both to everybody. Its program stores the stepped epoch before
    // the commit leaves.
    let mut nodes = BTreeMap::new();
    let mut commits = Vec::new();
    for (node, message) in sends(invitations) {
        let ServerMessage::RoundStart(start) = message else { panic!("expected an invitation") };
        let (machine, commit) = cluster.open_node(node, start, &view).unwrap();
        assert_eq!(machine.ctx(), server.ctx());
        let _stored = cluster.epochs[usize::from(node.0)].to_secret_bytes();
        nodes.insert(node, machine);
        commits.push((node, NodeOutput::Send(commit)));
    }
    let relays = collect(&mut server, commits);
    assert_eq!(server.phase(), ServerPhase::Training);

    // Everybody gets the shares that are for it, and proof that a quorum is in
    // the same context. Bad shares would be found now. Then the machine asks for
    // the vector; in the real system training has been running meanwhile.
    let wanted = deliver(&mut nodes, relays);
    assert!(wanted.iter().all(|(_, output)| *output == NodeOutput::VectorNeeded));

    // R2. The vectors are handed in. Nothing of them leaves.
    let mut ready = Vec::new();
    for (node, machine) in &mut nodes {
        let x = vectors[usize::from(node.0)].clone();
        let outputs = machine.provide_vector(x).unwrap();
        ready.extend(outputs.into_iter().map(|output| (*node, output)));
    }
    let grants = collect(&mut server, ready);
    assert_eq!(server.phase(), ServerPhase::Uploading);

    // R3. The grant names P2, the nodes to mask against, and a node puts its masks
    // on. The aggregator lets four nodes upload at a time; a node whose turn it is
    // asks its program to charge the privacy budget.
    let charges = deliver(&mut nodes, grants);
    assert_eq!(charges.len(), 4);

    // Here the line of one agency breaks, for good. Everybody has masked against
    // it, so its masks are still in the others' vectors.
    let mut uploads = Vec::new();
    for (node, output) in charges {
        assert!(matches!(output, NodeOutput::ChargeNeeded { .. }));
        if node == UNLUCKY {
            continue;
        }
        // ... the charge is durable now ...
        let outputs = nodes.get_mut(&node).unwrap().release_upload().unwrap();
        uploads.extend(outputs.into_iter().map(|output| (node, output)));
    }
    // What leaves has nothing to do with the vector any more.
    for (node, output) in &uploads {
        let NodeOutput::Upload(upload) = output else { panic!("expected an upload") };
        for message in upload.clone() {
            if let NodeMessage::MaskedChunk(chunk) = message {
                let bytes: Vec<u8> = vectors[usize::from(node.0)]
                    .iter()
                    .flat_map(|lane| lane.to_le_bytes())
                    .collect();
                assert_ne!(chunk.data, bytes);
            }
        }
    }
    // As soon as one is done it is the fifth node's turn.
    let turns = collect(&mut server, uploads);
    for (node, _) in deliver(&mut nodes, turns) {
        let outputs = nodes.get_mut(&node).unwrap().release_upload().unwrap();
        let last = outputs.into_iter().map(|output| (node, output)).collect();
        assert!(collect(&mut server, last).is_empty());
    }
    assert_eq!(server.waiting_for(), NodeSet::of(5, [UNLUCKY]));
    let manifests = server.drop_node(UNLUCKY);

    // R4. The aggregator fixes the survivors U. Every survivor checks them and
    // signs this one manifest; it will never sign another in this context.
    let survivors = NodeSet::of(5, [0, 1, 2, 4].map(NodeIndex));
    assert_eq!(server.survivors(), Some(&survivors));
    let acknowledgements = deliver(&mut nodes, manifests);
    let quorums = collect(&mut server, acknowledgements);

    // R5. Shown four signatures on the manifest it signed itself, a survivor
    // gives its shares out: of b for the survivors, of z for the lost node.
    let shares = deliver(&mut nodes, quorums);
    for (_, output) in &shares {
        let NodeOutput::Send(NodeMessage::UnmaskShares(shares)) = output else {
            panic!("expected shares")
        };
        let of: Vec<_> = shares.self_shares.iter().map(|(node, _)| *node).collect();
        assert_eq!(of, survivors.iter().collect::<Vec<_>>());
        let of: Vec<_> = shares.escrow_shares.iter().map(|(node, _)| *node).collect();
        assert_eq!(of, [UNLUCKY]);
    }

    // With b it takes the survivors' self masks off, with z it opens the lost
    // node's edges and takes off the masks that had nobody to cancel them.
    let results = collect(&mut server, shares);
    let sum = results
        .iter()
        .find_map(|output| match output {
            ServerOutput::Opened { sum, survivors: found, .. } => {
                assert_eq!(*found, survivors);
                Some(words(sum))
            }
            _ => None,
        })
        .unwrap();
    assert_eq!(sum, plain_sum(&vectors, &survivors));

    // R6. Everybody gets the sum and computes the new state from it - here simply
    // its hash. The aggregator does the same.
    let state = state_of(&sum);
    assert!(server.provide_state(state).is_empty());
    let mut attestations = Vec::new();
    for (node, output) in deliver(&mut nodes, results) {
        let NodeOutput::Opened { sum: received, .. } = output else { panic!("expected the sum") };
        assert_eq!(words(&received), sum);
        let machine = nodes.get_mut(&node).unwrap();
        let outputs = machine.acknowledge_result(state_of(&words(&received))).unwrap();
        attestations.extend(outputs.into_iter().map(|output| (node, output)));
    }

    // Four signatures on one state certify the result. Only now may a model be
    // released, and the next round rests on this certificate.
    let certificates = collect(&mut server, attestations);
    assert_eq!(server.phase(), ServerPhase::Certified);
    let mut digests = Vec::new();
    for (_, output) in deliver(&mut nodes, certificates) {
        let NodeOutput::Certified(certificate) = output else { panic!("expected a certificate") };
        certificate.verify(&cluster.roster).unwrap();
        assert_eq!((certificate.state_hash, &certificate.survivors), (state, &survivors));
        digests.push(certificate.digest());
    }
    assert!(digests.len() == 4 && digests.iter().all(|digest| *digest == digests[0]));
    for (node, machine) in &nodes {
        let expected =
            if *node == UNLUCKY { NodePhase::AwaitingCharge } else { NodePhase::Certified };
        assert_eq!(machine.phase(), expected);
    }
}

/// A message is a frame of bytes and nothing else: the transport needs to know
/// neither its type nor its content.
#[test]
fn a_message_is_a_frame() {
    let chunk = SumChunk {
        context: tributary_secagg::hash("context", &[]),
        index: 7,
        data: vec![1, 2, 3].into(),
    };
    let message = ServerMessage::from(chunk);
    let bytes = message.encode();
    let limits = tributary_secagg::Limits::for_members(5);
    assert_eq!(ServerMessage::decode(&bytes, &limits).unwrap(), message);
    assert_eq!(message.kind(), Kind::SumChunk);
}
