//! Every kind of message with fixed contents, its frame, and what its sender signs.

use tributary_secagg::messages::{
    CommitEntry, Complaint, EpochDone, EpochHello, EpochHellos, EpochKem, EpochKems, EpochPeers,
    EpochReveal, HelloEntry, KEM_CIPHERTEXT, KEM_KEY, KemParcel, MaskedChunk, MaskedDone,
    PublicKeys, Ready, ResultAck, RevealedEscrowShare, RevealedSelfShare, RoundCommit, RoundResult,
    ShareParcel, ShareRelay, SignedMessage, SumChunk, SurvivorAck, SurvivorManifest, SurvivorQc,
    UnmaskShares, UploadGrant, UploadTurn, quorum_statement,
};
use tributary_secagg::{
    Abort, AbortReason, Digest, EpochStart, NodeIndex, NodeMessage, NodeSet, ResultQc, RoundStart,
    ServerMessage, Signature,
};

use super::{
    N, digest, fill, hx, identity, list, nodes, number, object, set, text, view, view_fields,
};

type Fields = Vec<(&'static str, String)>;

/// Everything is signed by test identity 0.
fn signed<M: SignedMessage>(message: M) -> M {
    message.signed_by(&identity(0))
}

fn some() -> NodeSet {
    nodes(N, &[0, 2, 3, 4])
}

pub fn hello(node: u16, context: &Digest) -> HelloEntry {
    let keys = keys().digest();
    let mut entry =
        HelloEntry { from: NodeIndex(node), keys, coin: digest("coin"), signature: [0; 64] };
    entry.signature = identity(node).sign(&entry.statement(context).0);
    entry
}

pub fn hello_fields(entry: &HelloEntry) -> String {
    object(hello_list(entry))
}

fn hello_list(entry: &HelloEntry) -> Fields {
    vec![
        ("from", number(entry.from)),
        ("keys", text(entry.keys)),
        ("coin", text(entry.coin)),
        ("signature", hx(entry.signature)),
    ]
}

fn keys() -> PublicKeys {
    PublicKeys { x25519: fill("x25519"), kem_key: Box::new(fill::<KEM_KEY>("kem key")) }
}

fn keys_list() -> Fields {
    let keys = keys();
    vec![("x25519", hx(keys.x25519)), ("kem_key", hx(keys.kem_key.as_ref()))]
}

fn kem(to: u16) -> KemParcel {
    let mut parcel = KemParcel {
        from: NodeIndex(1),
        to: NodeIndex(to),
        ciphertext: Box::new(fill::<KEM_CIPHERTEXT>("ciphertext")),
        confirmation: fill("confirmation"),
        signature: [0; 64],
    };
    parcel.signature = identity(1).sign(&parcel.statement(&digest("transcript")).0);
    parcel
}

fn kem_fields(parcel: &KemParcel) -> String {
    object([
        ("from", number(parcel.from)),
        ("to", number(parcel.to)),
        ("ciphertext", hx(parcel.ciphertext.as_ref())),
        ("confirmation", hx(parcel.confirmation)),
        ("signature", hx(parcel.signature)),
    ])
}

fn parcel(to: u16) -> ShareParcel {
    ShareParcel {
        from: NodeIndex(1),
        to: NodeIndex(to),
        slot: to as u8 + 1,
        edge_tag: fill("tag"),
        sealed_shares: fill("sealed shares"),
        self_share_hash: digest("self share"),
        escrow_share_hash: digest("escrow share"),
    }
}

fn parcel_list(parcel: &ShareParcel) -> Fields {
    vec![
        ("from", number(parcel.from)),
        ("to", number(parcel.to)),
        ("slot", number(parcel.slot)),
        ("edge_tag", hx(parcel.edge_tag)),
        ("sealed_shares", hx(parcel.sealed_shares)),
        ("self_share_hash", text(parcel.self_share_hash)),
        ("escrow_share_hash", text(parcel.escrow_share_hash)),
    ]
}

/// A list of values beside nodes, in JSON.
fn beside(name: &'static str, values: &[(NodeIndex, Vec<u8>)]) -> String {
    list(values.iter().map(|(node, value)| object([("node", number(node)), (name, hx(value))])))
}

fn commit(own: bool) -> (RoundCommit, Fields) {
    let own = own.then(|| [digest("own self"), digest("own escrow")]);
    let entries = [0, 2].map(|to| CommitEntry { sealed_edge: fill("edge"), parcel: parcel(to) });
    let commit = signed(RoundCommit {
        context: digest("context"),
        self_commitment: digest("com_b"),
        escrow_commitment: digest("com_z"),
        own_share_hashes: own,
        entries: entries.to_vec(),
        quorum_signature: identity(0).sign(&quorum_statement(&digest("context")).0),
        signature: [0; 64],
    });
    let entry = |entry: &CommitEntry| {
        let sealed = ("sealed_edge", hx(entry.sealed_edge));
        object([sealed].into_iter().chain(parcel_list(&entry.parcel)))
    };
    let fields = vec![
        ("self_commitment", text(commit.self_commitment)),
        ("escrow_commitment", text(commit.escrow_commitment)),
        ("own_share_hashes", own.map_or("null".to_owned(), |own| list(own.map(text)))),
        ("entries", list(entries.iter().map(entry))),
        ("quorum_signature", hx(commit.quorum_signature)),
    ];
    (commit, fields)
}

fn of_node() -> Vec<(NodeMessage, Fields)> {
    let (context, signature, transcript) = (digest("context"), [0; 64], digest("transcript"));
    let (entry, chunk) = (hello(2, &context), vec![1, 255, 7]);
    let (complete, complete_fields) = commit(true);
    let (sparse, sparse_fields) = commit(false);
    let parcels = vec![kem(0), kem(2)];
    let parcel_fields = list(parcels.iter().map(kem_fields));
    let hello_fields = hello_list(&entry).into_iter().chain(keys_list()).collect();
    let share = fill::<32>("share");
    vec![
        (EpochHello { context, entry, keys: keys() }.into(), hello_fields),
        (
            EpochReveal { context, roll: digest("roll"), coin: fill("coin") }.into(),
            vec![("roll", text(digest("roll"))), ("coin", hx(fill::<32>("coin")))],
        ),
        (
            EpochKem { context, transcript, parcels }.into(),
            vec![("transcript", text(transcript)), ("parcels", parcel_fields)],
        ),
        (
            signed(EpochDone { context, transcript, without: some(), signature }).into(),
            vec![("transcript", text(transcript)), ("without", set(&some()))],
        ),
        (complete.into(), complete_fields),
        (sparse.into(), sparse_fields),
        (
            signed(Complaint { context, against: some(), signature }).into(),
            vec![("against", set(&some()))],
        ),
        (
            signed(Ready { context, relay: digest("relay"), signature }).into(),
            vec![("relay", text(digest("relay")))],
        ),
        (
            MaskedChunk { context, index: 1, data: chunk.clone() }.into(),
            vec![("index", number(1)), ("data", hx(chunk))],
        ),
        (
            signed(MaskedDone {
                context,
                granted_hash: digest("granted"),
                root: digest("root"),
                signature,
            })
            .into(),
            vec![("granted_hash", text(digest("granted"))), ("root", text(digest("root")))],
        ),
        (
            signed(SurvivorAck {
                context,
                manifest: digest("manifest"),
                signature,
                tags: tags().iter().map(|(node, tag)| (*node, *tag)).collect(),
            })
            .into(),
            vec![("manifest", text(digest("manifest"))), ("tags", tag_fields())],
        ),
        (
            signed(UnmaskShares {
                context,
                self_shares: vec![(NodeIndex(0), RevealedSelfShare(share))],
                escrow_shares: vec![(NodeIndex(1), RevealedEscrowShare(share))],
                signature,
            })
            .into(),
            vec![
                ("self_shares", beside("share", &[(NodeIndex(0), share.to_vec())])),
                ("escrow_shares", beside("share", &[(NodeIndex(1), share.to_vec())])),
            ],
        ),
        (signed(result_ack()).into(), result_fields()),
    ]
}

fn tags() -> [(NodeIndex, [u8; 16]); 2] {
    [(NodeIndex(2), fill("tag 2")), (NodeIndex(4), fill("tag 4"))]
}

fn tag_fields() -> String {
    beside("tag", &tags().map(|(node, tag)| (node, tag.to_vec())))
}

fn signatures() -> Vec<(NodeIndex, Signature)> {
    vec![(NodeIndex(0), fill("signature 0")), (NodeIndex(3), fill("signature 3"))]
}

fn signature_fields() -> String {
    let values = signatures().into_iter().map(|(node, signature)| (node, signature.to_vec()));
    beside("signature", &values.collect::<Vec<_>>())
}

fn result_ack() -> ResultAck {
    ResultAck {
        context: digest("context"),
        manifest: digest("manifest"),
        sum_root: digest("sum"),
        state_hash: digest("state"),
        survivors: some(),
        signature: [0; 64],
    }
}

fn result_fields() -> Fields {
    vec![
        ("manifest", text(digest("manifest"))),
        ("sum_root", text(digest("sum"))),
        ("state_hash", text(digest("state"))),
        ("survivors", set(&some())),
    ]
}

fn certificate() -> ResultQc {
    let ResultAck { context, manifest, sum_root, state_hash, survivors, .. } = result_ack();
    let (manifest_hash, signatures) = (manifest, signatures());
    ResultQc { context, manifest_hash, sum_root, state_hash, survivors, signatures }
}

fn manifest() -> SurvivorManifest {
    signed(SurvivorManifest {
        context: digest("context"),
        granted_hash: digest("granted"),
        survivors: some(),
        roots: vec![digest("root 0"), digest("root 2")],
        signature: [0; 64],
    })
}

fn of_aggregator() -> Vec<(ServerMessage, Fields)> {
    let (context, signature, transcript) = (digest("context"), [0; 64], digest("transcript"));
    let (view, blamed) = (view(26, 1000), nodes(N, &[1]));
    let hellos = vec![hello(0, &context), hello(2, &context)];
    let hello_fields = list(hellos.iter().map(hello_fields));
    let data = vec![9u8, 8, 7, 6];
    let roots =
        manifest().roots.iter().map(|root| object([("root", text(root))])).collect::<Vec<_>>();
    let of_round = [("epoch", number(3))].into_iter().chain(view_fields(&view));
    let coin = (NodeIndex(2), fill::<32>("coin"));
    let peer = object([("node", number(4))].into_iter().chain(keys_list()));
    let mut certified = result_fields();
    certified.push(("signatures", signature_fields()));
    let start = EpochStart { context, epoch: 3, restart: 1, excluded: blamed.clone(), signature };
    vec![
        (
            signed(start).into(),
            vec![("epoch", number(3)), ("restart", number(1)), ("excluded", set(&blamed))],
        ),
        (EpochHellos { context, hellos }.into(), vec![("hellos", hello_fields)]),
        (
            EpochPeers { context, coins: vec![coin], keys: vec![(NodeIndex(4), keys())] }.into(),
            vec![("coins", beside("coin", &[(coin.0, coin.1.to_vec())])), ("keys", list([peer]))],
        ),
        (
            EpochKems { context, transcript, parcels: vec![kem(4)] }.into(),
            vec![("transcript", text(transcript)), ("parcels", list([kem_fields(&kem(4))]))],
        ),
        (
            signed(RoundStart { context, epoch: 3, view: view.clone(), cohort: some(), signature })
                .into(),
            of_round.chain([("cohort", set(&some()))]).collect(),
        ),
        (
            signed(ShareRelay {
                context,
                committed: some(),
                parcels: vec![parcel(3)],
                quorum: signatures(),
                signature,
            })
            .into(),
            vec![
                ("committed", set(&some())),
                ("parcels", list([object(parcel_list(&parcel(3)))])),
                ("quorum", signature_fields()),
            ],
        ),
        (
            signed(UploadGrant { context, granted: some(), signature }).into(),
            vec![("granted", set(&some()))],
        ),
        (UploadTurn { context, first_chunk: 5 }.into(), vec![("first_chunk", number(5))]),
        (
            manifest().into(),
            vec![
                ("granted_hash", text(digest("granted"))),
                ("survivors", set(&some())),
                ("roots", list(roots)),
            ],
        ),
        (
            SurvivorQc {
                context,
                manifest: digest("manifest"),
                signatures: signatures(),
                tags: tags().to_vec(),
            }
            .into(),
            vec![
                ("manifest", text(digest("manifest"))),
                ("signatures", signature_fields()),
                ("tags", tag_fields()),
            ],
        ),
        (
            SumChunk { context, index: 0, data: data.clone().into() }.into(),
            vec![("index", number(0)), ("data", hx(data))],
        ),
        (
            signed(RoundResult {
                context,
                manifest: digest("manifest"),
                sum_root: digest("sum"),
                signature,
            })
            .into(),
            vec![("manifest", text(digest("manifest"))), ("sum_root", text(digest("sum")))],
        ),
        (certificate().into(), certified),
        (
            signed(Abort {
                context,
                reason: AbortReason::TooFewUploads,
                have: 3,
                need: 4,
                blamed: blamed.clone(),
                signature,
            })
            .into(),
            vec![
                ("reason", number(AbortReason::TooFewUploads as u8)),
                ("have", number(3)),
                ("need", number(4)),
                ("blamed", set(&blamed)),
            ],
        ),
    ]
}

/// Frames for a roster of [`N`] nodes. Where a message is signed as a whole, the statement stands
/// beside it, signed by test identity 0.
pub fn frames() -> Vec<String> {
    let entry = |kind: String, frame: Vec<u8>, signed: Option<(Digest, Signature)>, fields| {
        let mut fields: Fields = fields;
        fields.insert(0, ("context", text(digest("context"))));
        let statement = signed.map_or("null".to_owned(), |(statement, signature)| {
            fields.push(("signature", hx(signature)));
            text(statement)
        });
        object([
            ("kind", text(kind)),
            ("members", number(N)),
            ("fields", object(fields)),
            ("statement", statement),
            ("frame", hx(frame)),
        ])
    };
    let nodes = of_node().into_iter().map(|(message, fields)| {
        let kind = message.kind().to_string();
        entry(kind, message.encode(), message.signed_statement(), fields)
    });
    let aggregator = of_aggregator().into_iter().map(|(message, fields)| {
        let kind = message.kind().to_string();
        entry(kind, message.encode(), message.signed_statement(), fields)
    });
    nodes.chain(aggregator).collect()
}

/// Statements that are signed inside other messages, or that other messages refer to.
pub fn statements() -> Vec<String> {
    let (context, transcript) = (digest("context"), digest("transcript"));
    let quorum = SurvivorQc {
        context,
        manifest: digest("manifest"),
        signatures: Vec::new(),
        tags: Vec::new(),
    };
    let certificate = certificate();
    let cases = [
        ("hello of node 2", hello(2, &context).statement(&context)),
        ("kem parcel of node 1 to node 2", kem(2).statement(&transcript)),
        ("context quorum", quorum_statement(&context)),
        ("survivor quorum", quorum.statement()),
        ("manifest digest", manifest().digest()),
        ("result certificate digest", certificate.digest()),
        ("keys digest", keys().digest()),
    ];
    let entry =
        |(name, value): (&str, Digest)| object([("name", text(name)), ("value", text(value))]);
    cases.map(entry).into_iter().chain([certificate_bytes(&certificate)]).collect()
}

fn certificate_bytes(certificate: &ResultQc) -> String {
    object([("name", text("result certificate")), ("value", hx(certificate.encode()))])
}
