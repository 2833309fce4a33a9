//! What a lying aggregator may try, and the words with which the Python node refuses it.

use tributary_secagg::messages::{Kind, ResultAck, SignedMessage as _, quorum_statement};
use tributary_secagg::{Digest, Identity, NodeIndex, NodeSet, ServerMessage, hash};

/// Whom it is tried on.
pub const VICTIM: NodeIndex = NodeIndex(3);

/// A lie of the aggregator about one kind of message, signed again, and a word of the refusal.
pub struct Lie(pub &'static str, pub fn(&Identity, &ServerMessage) -> Option<Vec<ServerMessage>>);

/// Matches one kind of message and gives what is sent in its place.
macro_rules! lie {
    ($words:literal, $kind:ident, |$by:ident, $message:ident| $change:expr) => {
        Lie($words, |$by, message| {
            let ServerMessage::$kind(mut $message) = message.clone() else { return None };
            let _: &Identity = $by;
            Some(vec![$change])
        })
    };
}

/// Within a round.
pub const LIES: [Lie; 17] = [
    lie!("differs in state_hash", RoundStart, |by, start| {
        start.view.state_hash = Digest::ZERO;
        start.signed_by(by).into()
    }),
    lie!("bad signature: RoundStart", RoundStart, |_by, start| {
        start.signature[7] ^= 1;
        start.into()
    }),
    lie!("another context", RoundStart, |by, start| {
        start.context = Digest::ZERO;
        start.signed_by(by).into()
    }),
    lie!("too few signatures", ShareRelay, |by, relay| {
        relay.quorum.truncate(2);
        relay.signed_by(by).into()
    }),
    lie!("more signatures than make a quorum", ShareRelay, |by, relay| {
        let statement = quorum_statement(&relay.context);
        let fourth = Identity::from_seed(&hash("test identity", &[&4u16.to_le_bytes()]).0);
        relay.quorum.push((NodeIndex(4), fourth.unwrap().sign(&statement.0)));
        relay.signed_by(by).into()
    }),
    lie!("shares of other nodes", ShareRelay, |by, relay| {
        relay.parcels.swap(0, 1);
        relay.signed_by(by).into()
    }),
    lie!("smaller than u_min", UploadGrant, |by, grant| {
        grant.granted = NodeSet::of(5, [NodeIndex(0), VICTIM]);
        grant.signed_by(by).into()
    }),
    Lie("a turn too often", |_, message| {
        (message.kind() == Kind::UploadTurn).then(|| vec![message.clone(); 17])
    }),
    lie!("another root of this node", SurvivorManifest, |by, manifest| {
        manifest.roots.reverse();
        manifest.signed_by(by).into()
    }),
    lie!("granted another set", SurvivorManifest, |by, manifest| {
        manifest.granted_hash = Digest::ZERO;
        manifest.signed_by(by).into()
    }),
    lie!("is forged", SurvivorQc, |_by, quorum| {
        quorum.signatures[0].1[9] ^= 1;
        quorum.into()
    }),
    lie!("too few signers with the right tag", SurvivorQc, |_by, quorum| {
        quorum.tags.iter_mut().for_each(|(_, tag)| tag[0] ^= 1);
        quorum.into()
    }),
    lie!("a piece of another length", SumChunk, |_by, chunk| {
        chunk.data = chunk.data[1..].into();
        chunk.into()
    }),
    lie!("another sum", RoundResult, |by, result| {
        result.sum_root = Digest::ZERO;
        result.signed_by(by).into()
    }),
    lie!("has another state_hash", ResultQc, |_by, quorum| {
        // A quorum for another state: the identities of these tests are no secret.
        let (state_hash, context) = (Digest::ZERO, quorum.context);
        let (manifest, sum_root) = (quorum.manifest_hash, quorum.sum_root);
        let survivors = quorum.survivors.clone();
        let ack =
            ResultAck { context, manifest, sum_root, state_hash, survivors, signature: [0; 64] };
        for (node, signature) in &mut quorum.signatures {
            let seed = hash("test identity", &[&node.0.to_le_bytes()]).0;
            let identity = Identity::from_seed(&seed).unwrap();
            *signature = ack.clone().signed_by(&identity).signature;
        }
        quorum.state_hash = state_hash;
        quorum.into()
    }),
    lie!("more signatures than make a quorum", ResultQc, |_by, quorum| {
        let last = *quorum.signatures.last().unwrap();
        quorum.signatures.push((NodeIndex(4), last.1));
        quorum.into()
    }),
    lie!("too few signatures", ResultQc, |_by, quorum| {
        quorum.signatures.truncate(2);
        quorum.into()
    }),
];

/// In the set-up of an epoch.
pub const SETUP_LIES: [Lie; 9] = [
    lie!("did not sign the start", EpochStart, |_by, start| {
        start.signature[0] ^= 1;
        start.into()
    }),
    lie!("another job or roster", EpochStart, |by, start| {
        start.restart = 1;
        start.signed_by(by).into()
    }),
    lie!("own hello is missing", EpochHellos, |_by, roll| {
        roll.hellos.retain(|hello| hello.from != VICTIM);
        roll.into()
    }),
    lie!("signature of a hello", EpochHellos, |_by, roll| {
        roll.hellos[0].coin = Digest::ZERO;
        roll.into()
    }),
    lie!("not the hidden one", EpochPeers, |_by, peers| {
        peers.coins[0].1[0] ^= 1;
        peers.into()
    }),
    lie!("than were signed", EpochPeers, |_by, peers| {
        peers.keys[0].1.x25519[0] ^= 1;
        peers.into()
    }),
    lie!("others than the peers", EpochPeers, |_by, peers| {
        peers.keys.remove(1);
        peers.into()
    }),
    lie!("another epoch", EpochKems, |_by, kems| {
        kems.transcript = Digest::ZERO;
        kems.into()
    }),
    lie!("signature of a parcel", EpochKems, |_by, kems| {
        kems.parcels[2].ciphertext[0] ^= 1;
        kems.into()
    }),
];
