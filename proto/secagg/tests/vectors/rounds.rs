//! Whole rounds with fixed chains and fixed randomness, frame by frame, and evidence made of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tributary_secagg::messages::{Kind, RoundCommit, ShareRelay, SignedMessage as _, UnmaskShares};
use tributary_secagg::{
    Digest, EpochFacts, Evidence, LaneBits, Lanes, Limits, NodeEpoch, NodeIndex, NodeMessage,
    NodeOutput, NodeRound, NodeSeat, NodeSet, Party, Roster, RoundView, ServerMessage,
    ServerOutput, ServerRound, ServerSeat, Thresholds, hash,
};

use super::{Draws, digest, hx, identity, lanes, list, number, object, roster, set, six, text};
use super::{view, view_fields, words};

const MAX_ATTEMPTS: u16 = 4;

/// What is played: the graph, the width, and which node says nothing from which message on.
struct Case {
    thresholds: Thresholds,
    coin: Digest,
    bits: u8,
    length: u32,
    lost: (u16, Kind),
}

fn cases() -> Vec<Case> {
    let complete = Thresholds::complete_graph(4, 0.0, 0.25, 3).unwrap();
    let sparse = Thresholds { n: 8, corrupt: 0, quorum: 5, shamir_t: 5, u_min: 5, degree: 6 };
    let case = |thresholds, coin, bits, length, lost| Case { thresholds, coin, bits, length, lost };
    vec![
        case(complete, Digest::ZERO, 26, 5, (1, Kind::MaskedDone)),
        case(complete, Digest::ZERO, 32, 3, (0, Kind::Ready)),
        case(sparse, digest("coin"), 11, 9, (6, Kind::MaskedDone)),
        case(sparse, digest("coin"), 16, 4, (2, Kind::UnmaskShares)),
    ]
}

/// A round as it was played.
struct Played {
    roster: Roster,
    coin: Digest,
    entry: String,
    /// What every node sent.
    sent: BTreeMap<(NodeIndex, Kind), NodeMessage>,
    /// What every node was sent.
    received: BTreeMap<(NodeIndex, Kind), ServerMessage>,
}

pub fn rounds() -> Vec<String> {
    cases().iter().map(|case| play(case).entry).collect()
}

/// The first link between two nodes.
fn link(one: u16, other: u16) -> [u8; 32] {
    let (low, high) = (one.min(other), one.max(other));
    hash("test chain", &[&low.to_le_bytes(), &high.to_le_bytes()]).0
}

/// The stored form of a fresh epoch: number 3, all nodes, step zero.
fn stored(roster: &Roster, me: u16, coin: &Digest, peers: &NodeSet) -> Vec<u8> {
    let mut bytes = vec![2u8];
    bytes.extend(roster.digest().0);
    bytes.extend(me.to_le_bytes());
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(digest("transcript").0);
    bytes.extend(coin.0);
    bytes.extend(NodeSet::full(roster.size()).encode());
    bytes.extend([0; 2 + 1 + 4 + 2 + 8]);
    bytes.extend(peers.encode());
    bytes.extend(peers.iter().flat_map(|peer| link(me, peer.0)));
    bytes
}

/// A node with the fixed randomness that belongs to it.
struct Player {
    seat: NodeSeat,
    epoch: NodeEpoch,
    draws: Draws,
    vector: Lanes,
    round: Option<NodeRound>,
}

impl Player {
    fn take(&mut self, message: ServerMessage, view: &RoundView) -> Vec<NodeMessage> {
        let outputs = match message {
            ServerMessage::RoundStart(start) => {
                let (seat, draws) = (&self.seat, &mut self.draws);
                let epoch = &mut self.epoch;
                let (round, commit) =
                    NodeRound::open(seat, epoch, MAX_ATTEMPTS, start, view, draws).unwrap();
                self.round = Some(round);
                vec![NodeOutput::Send(commit)]
            }
            message => self.round.as_mut().unwrap().handle(message).unwrap(),
        };
        let mut sent = Vec::new();
        self.act(outputs, &mut sent);
        sent
    }

    fn act(&mut self, outputs: Vec<NodeOutput>, sent: &mut Vec<NodeMessage>) {
        let round = self.round.as_mut().unwrap();
        for output in outputs {
            let more = match output {
                NodeOutput::Send(message) => {
                    sent.push(message);
                    continue;
                }
                NodeOutput::Upload(upload) => {
                    sent.extend(upload);
                    continue;
                }
                NodeOutput::VectorNeeded => round.provide_vector(self.vector.clone()),
                NodeOutput::ChargeNeeded { .. } => round.release_upload(),
                NodeOutput::Opened { sum, .. } => round.acknowledge_result(state_of(&sum)),
                _ => continue,
            };
            return self.act(more.unwrap(), sent);
        }
    }
}

/// The "model" of the tests: a hash of the sum, 4 bytes a lane.
fn state_of(sum: &Lanes) -> Digest {
    let bytes: Vec<u8> = match sum {
        Lanes::Narrow(words) => {
            words.iter().flat_map(|word| u32::from(*word).to_le_bytes()).collect()
        }
        Lanes::Wide(words) => words.iter().flat_map(|word| word.to_le_bytes()).collect(),
    };
    hash("test state", &[&bytes])
}

fn play(case: &Case) -> Played {
    let roster = roster(case.thresholds);
    let (n, shared) = (roster.size(), Arc::new(roster.clone()));
    let graph = tributary_secagg::Graph::of(&case.thresholds, &case.coin);
    let view = view(case.bits, case.length);
    let bits = LaneBits::new(case.bits).unwrap();
    let player = |node: u16| {
        let peers = graph.peers(NodeIndex(node));
        let bytes = stored(&roster, node, &case.coin, &peers);
        let mut vector = lanes(bits, usize::from(node) + case.length as usize).reduced(bits);
        match &mut vector {
            Lanes::Narrow(words) => drop(words.drain(..usize::from(node))),
            Lanes::Wide(words) => drop(words.drain(..usize::from(node))),
        }
        let identity = Arc::new(identity(node));
        Player {
            seat: NodeSeat::new(shared.clone(), NodeIndex(node), identity).unwrap(),
            epoch: NodeEpoch::from_secret_bytes(&roster, &bytes).unwrap(),
            draws: Draws::new(&node.to_le_bytes()),
            vector,
            round: None,
        }
    };
    let mut players: Vec<Player> = (0..n).map(player).collect();
    let vectors = list(players.iter().map(|player| words(&player.vector)));
    let server = ServerSeat::new(shared, Arc::new(identity(u16::MAX))).unwrap();
    let cohort = NodeSet::full(n);
    let transcript = digest("transcript");
    let facts = EpochFacts { epoch: 3, transcript, coin: case.coin, members: cohort.clone() };
    let (mut machine, out) =
        ServerRound::open(&server, &facts, view.clone(), cohort.clone()).unwrap();
    let lost = (NodeIndex(case.lost.0), case.lost.1);
    let (mut sent, mut received) = (BTreeMap::new(), BTreeMap::new());
    let (mut frames, mut gone, mut result) = (Vec::new(), false, None);
    let mut queue: VecDeque<ServerOutput> = out.into();
    while let Some(output) = queue.pop_front() {
        let (to, message) = match output {
            ServerOutput::Send(node, message) => (NodeSet::of(n, [node]), message),
            ServerOutput::SendAll(nodes, message) => (nodes, message),
            ServerOutput::Opened { sum, survivors, .. } => {
                queue.extend(machine.provide_state(state_of(&sum)));
                result = Some((sum, survivors));
                continue;
            }
            ServerOutput::Certified(_) => continue,
            other => panic!("{other:?}"),
        };
        for node in to.iter() {
            if gone && node == lost.0 {
                continue;
            }
            let answers = players[usize::from(node.0)].take(message.clone(), &view);
            frames.push(frame("to", node, &message.encode()));
            received.insert((node, message.kind()), message.clone());
            for answer in answers {
                if (node, answer.kind()) == lost {
                    gone = true;
                    queue.extend(machine.drop_node(node));
                    break;
                }
                frames.push(frame("by", node, &answer.encode()));
                sent.insert((node, answer.kind()), answer.clone());
                queue.extend(machine.handle(node, answer).unwrap());
            }
        }
    }
    let (sum, survivors) = result.expect("a result");
    let stored = players.iter().map(|player| hx(player.epoch.to_secret_bytes().as_slice()));
    let entry = object([
        ("thresholds", six(&case.thresholds)),
        ("coin", text(case.coin)),
        ("epoch", number(3)),
        ("transcript", text(transcript)),
        ("max_attempts", number(MAX_ATTEMPTS)),
        ("view", object(view_fields(&view))),
        ("vectors", vectors),
        ("lost", object([("node", number(lost.0)), ("at", text(lost.1))])),
        ("sum", words(&sum)),
        ("survivors", set(&survivors)),
        ("stored_epochs_afterwards", list(stored)),
        ("frames", list(frames)),
    ]);
    Played { roster, coin: case.coin, entry, sent, received }
}

fn frame(way: &str, node: NodeIndex, bytes: &[u8]) -> String {
    object([(way, number(node)), ("frame", hx(bytes))])
}

/// Evidence of every kind, good and worthless.
pub fn evidence() -> Vec<String> {
    let cases = cases();
    let mut entries = Vec::new();
    for case in [&cases[0], &cases[2]] {
        let played = play(case);
        for (what, evidence) in claims(&played) {
            let verdict = evidence.verify(&played.roster);
            let blamed = match verdict {
                Ok((Party::Aggregator, _)) => text("aggregator"),
                Ok((Party::Node(node), _)) => number(node),
                Err(_) => "null".to_owned(),
            };
            let bytes = evidence.encode();
            let limits = Limits::for_members(played.roster.size());
            assert_eq!(Evidence::decode(&bytes, &limits).unwrap(), evidence);
            entries.push(object([
                ("what", text(what)),
                ("thresholds", six(&case.thresholds)),
                ("blamed", blamed),
                ("evidence", hx(bytes)),
            ]));
        }
    }
    entries
}

/// Node 0 deals and one of its peers holds; the lost node's escrow key is opened by those that
/// answered.
fn claims(played: &Played) -> Vec<(&'static str, Evidence)> {
    let graph = tributary_secagg::Graph::of(&played.roster.thresholds, &played.coin);
    let lost = NodeIndex(if played.coin == Digest::ZERO { 1 } else { 6 });
    let dealer = NodeIndex(0);
    let holder = graph.peers(dealer).iter().find(|node| *node != lost).unwrap();
    let sent = |node, kind| played.sent[&(node, kind)].clone();
    let got = |node, kind| played.received[&(node, kind)].clone();
    let (by_dealer, by_holder) = (identity(dealer.0), identity(holder.0));
    let aggregator = identity(u16::MAX);
    let NodeMessage::RoundCommit(commit) = sent(dealer, Kind::RoundCommit) else { panic!() };
    let NodeMessage::UnmaskShares(shares) = sent(holder, Kind::UnmaskShares) else { panic!() };
    let NodeMessage::Ready(ready) = sent(dealer, Kind::Ready) else { panic!() };
    let accepted = sent(holder, Kind::Ready).encode();
    let ServerMessage::ShareRelay(relay) = got(holder, Kind::ShareRelay) else { panic!() };
    let ServerMessage::UploadGrant(grant) = got(holder, Kind::UploadGrant) else { panic!() };
    let of_node = |message: NodeMessage| message.encode();
    let of_server = |message: ServerMessage| message.encode();
    let all: Vec<Vec<u8>> = played
        .sent
        .values()
        .filter(|message| message.kind() == Kind::UnmaskShares)
        .map(NodeMessage::encode)
        .collect();
    let enough = |from: NodeIndex| -> Vec<Vec<u8>> {
        let holds = |node: &NodeIndex| graph.slot(from, *node).is_some();
        played
            .sent
            .iter()
            .filter(|((node, kind), _)| *kind == Kind::UnmaskShares && holds(node))
            .map(|(_, message)| message.encode())
            .take(usize::from(played.roster.thresholds.shamir_t))
            .collect()
    };

    let mut another_ready = ready.clone();
    another_ready.relay = Digest::ZERO;
    let another_ready = another_ready.signed_by(&by_dealer);
    let mut unsigned_ready = another_ready.clone();
    unsigned_ready.signature[3] ^= 1;
    let mut another_grant = grant.clone();
    another_grant.granted.remove(NodeIndex(3));
    let another_grant = another_grant.signed_by(&aggregator);
    let ServerMessage::ShareRelay(other_relay) = got(dealer, Kind::ShareRelay) else { panic!() };
    let mut wrong_shares = shares.clone();
    let of_dealer = |(node, _): &&mut (NodeIndex, _)| *node == dealer;
    wrong_shares.self_shares.iter_mut().find(of_dealer).unwrap().1.0[5] ^= 1;
    let wrong_shares = wrong_shares.signed_by(&by_holder);
    let mut wrong_seed = commit.clone();
    wrong_seed.self_commitment = Digest::ZERO;
    let wrong_seed = wrong_seed.signed_by(&by_dealer);
    let NodeMessage::RoundCommit(of_lost) = sent(lost, Kind::RoundCommit) else { panic!() };
    let mut wrong_edge = of_lost.clone();
    wrong_edge.entries[1].sealed_edge[0] ^= 1;
    let wrong_edge = wrong_edge.signed_by(&identity(lost.0));
    let mut altered = relay.clone();
    let at = altered.parcels.iter().position(|parcel| parcel.from == dealer).unwrap();
    altered.parcels[at].sealed_shares[30] ^= 1;
    let altered = altered.signed_by(&aggregator);

    let mut framing = relay.clone();
    framing.parcels[at].self_share_hash = Digest::ZERO;
    let framing = framing.signed_by(&aggregator);
    let NodeMessage::RoundCommit(of_holder) = sent(holder, Kind::RoundCommit) else { panic!() };
    let mut wrong_own = shares.clone();
    let of_own = |(node, _): &&mut (NodeIndex, _)| *node == holder;
    if let Some((_, share)) = wrong_own.self_shares.iter_mut().find(of_own) {
        share.0[5] ^= 1;
    }
    let wrong_own = wrong_own.signed_by(&by_holder);

    let bad_share =
        |ready: &Vec<u8>, relay: &ShareRelay, shares: &UnmaskShares| Evidence::BadShare {
            ready: ready.clone(),
            relay: ServerMessage::from(relay.clone()).encode(),
            shares: NodeMessage::from(shares.clone()).encode(),
        };
    let own_share = |commit: &RoundCommit, shares: &UnmaskShares| Evidence::BadOwnShare {
        commit: NodeMessage::from(commit.clone()).encode(),
        shares: NodeMessage::from(shares.clone()).encode(),
    };
    let equivocation = |first, second| Evidence::Equivocation { first, second };
    let dealing = |commit, shares| Evidence::BadDealing { commit, shares };
    let frame = of_node(commit.into());
    let ready = of_node(ready.into());
    vec![
        ("two ready", equivocation(ready.clone(), of_node(another_ready.into()))),
        ("the same ready twice", equivocation(ready.clone(), ready.clone())),
        ("a forged ready", equivocation(ready.clone(), of_node(unsigned_ready.into()))),
        ("two kinds", equivocation(ready.clone(), frame.clone())),
        (
            "two grants",
            equivocation(of_server(grant.into()), of_server(another_grant.clone().into())),
        ),
        (
            "relays of two nodes",
            equivocation(of_server(relay.clone().into()), of_server(other_relay.into())),
        ),
        (
            "two relays of one node",
            equivocation(of_server(relay.clone().into()), of_server(altered.clone().into())),
        ),
        ("a wrong share", bad_share(&accepted, &relay, &wrong_shares)),
        ("a right share", bad_share(&accepted, &relay, &shares)),
        ("a share of a relay that was not accepted", bad_share(&accepted, &altered, &wrong_shares)),
        ("a wrong share of a framed holder", bad_share(&accepted, &framing, &shares)),
        ("a ready of another", bad_share(&ready, &relay, &wrong_shares)),
        ("a wrong share of its own", own_share(&of_holder, &wrong_own)),
        ("a right share of its own", own_share(&of_holder, &shares)),
        ("another self seed", dealing(of_node(wrong_seed.into()), enough(dealer))),
        ("another edge", dealing(of_node(wrong_edge.into()), enough(lost))),
        ("an honest dealer", dealing(frame.clone(), enough(dealer))),
        ("an honest lost dealer", dealing(of_node(of_lost.into()), enough(lost))),
        ("too few shares", dealing(frame.clone(), all[..1].to_vec())),
        (
            "an altered relay",
            Evidence::AlteredRelay { commit: frame.clone(), relay: of_server(altered.into()) },
        ),
        (
            "an unaltered relay",
            Evidence::AlteredRelay { commit: frame, relay: of_server(relay.into()) },
        ),
    ]
}
