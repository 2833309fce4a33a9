"""One attempt of a round at a node: from the commit to the certified result.

The methods stand in the order of the phases. A failed check raises `Refused`, after which the
attempt takes nothing any more.
"""

import lanes
from codec import quorum_statement
from context import (
    VIEW_FIELDS, Refused, check_certificate, granted_hash, manifest_digest, need, result_digest,
    round_context,
)
from primitives import H, expand, le, seal, share, unseal, xor

SEEDS = ("self", "escrow")
MOST_TURNS = 16


def share_hash(kind: str, context: bytes, dealer: int, holder: int, value: bytes) -> bytes:
    return H(f"{kind} share", context, le(dealer, 2), le(holder, 2), value)


def commitment(kind: str, context: bytes, owner: int, seed: bytes) -> bytes:
    return H(f"{kind} seed", context, le(owner, 2), seed)


def edge_tag(context: bytes, edge: bytes) -> bytes:
    return H("edge tag", context, edge)[:16]


def escrow_pad(seed: bytes, context: bytes, peer: int) -> bytes:
    return expand(seed, "seal", context, le(peer, 2))


class Attempt:
    """A node's side of one attempt. `state_of(sum)` gives the state that follows from a sum."""

    def __init__(self, seat, chains, view: dict, vector, most_attempts: int, state_of):
        self.seat, self.roster, self.chains = seat, seat.roster, chains
        self.view, self.vector, self.state_of = view, vector, state_of
        self.most, self.graph, self.me = most_attempts, chains.graph, seat.me
        self.complained, self.stopped, self.certificate = frozenset(), None, None

    # What every set that the aggregator names must keep.
    def check_set(self, nodes, outer):
        least, me = self.roster.thresholds, self.me
        need(nodes <= outer, "a set holds nodes outside the one before")
        need(me in nodes, "a set leaves this node out")
        need(len(nodes) >= least["u_min"], "a set is smaller than u_min")
        holders = self.graph.holders(me) & nodes
        need(len(holders) >= least["shamir_t"], "a set holds too few holders of this node's shares")

    def from_aggregator(self, message):
        need(self.roster.signed_by_aggregator(message), f"bad signature: {message['kind']}")

    def signed(self, kind: str, **fields):
        about = {"kind": kind, "context": self.context}
        return self.roster.codec.signed(self.seat.signer, **about, **fields)

    def start(self, message):
        """R0 and R1: the start against this node's own view; seeds, shares, the commit."""
        chains, cohort = self.chains, message["cohort"]
        self.context = round_context(self.roster, chains.transcript, self.view, cohort)
        self.from_aggregator(message)
        need(message["epoch"] == chains.number, "another epoch")
        self.check_set(cohort, self.roster.everybody)
        peers = self.graph.peers(self.me) & cohort
        need(cohort <= chains.members and peers <= set(chains.links), "nodes without a key")
        for name in VIEW_FIELDS:
            need(message[name] == self.view[name], f"the aggregator differs in {name}")
        need(self.view["vector_len"] > 0, "a vector without lanes")
        need(message["context"] == self.context, "another context although the view agrees")
        self.links = chains.spend(self.view["round"], self.view["attempt"], self.most)
        self.cohort = cohort
        return [self.commit(peers)]

    def commit(self, peers):
        context, me = self.context, self.me
        seeds = {kind: self.seat.draw(32) for kind in SEEDS}
        least = self.roster.thresholds["shamir_t"]
        holders = sorted(self.graph.holders(me) & self.cohort)
        slots = {holder: self.graph.slot(me, holder) for holder in holders}
        dealt = {}
        for kind in SEEDS:
            coefficients = [self.seat.draw(32) for _ in range(least - 1)]
            dealt[kind] = {h: share(seeds[kind], coefficients, slots[h]) for h in holders}

        def hashes(holder):
            return [share_hash(kind, context, me, holder, dealt[kind][holder]) for kind in SEEDS]

        self.seed, self.edges, entries = seeds["self"], {}, []
        for peer in sorted(peers):
            edge = self.edges[peer] = expand(self.links[peer], "edge", context)
            ends = le(me, 2) + le(peer, 2)
            key = expand(self.links[peer], "share", context, le(me, 2), le(peer, 2))
            pair = dealt["self"][peer] + dealt["escrow"][peer]
            of_self, of_escrow = hashes(peer)
            entries.append({
                "sealed_edge": xor(edge, escrow_pad(seeds["escrow"], context, peer)),
                "from": me, "to": peer, "slot": slots[peer], "edge_tag": edge_tag(context, edge),
                "sealed_shares": seal(key, self.seat.draw(12), pair, context + ends),
                "self_share_hash": of_self, "escrow_share_hash": of_escrow,
            })
        own = self.graph.complete
        self.held = {me: [dealt[kind][me] for kind in SEEDS]} if own else {}
        return self.signed(
            "RoundCommit",
            self_commitment=commitment("self", context, me, seeds["self"]),
            escrow_commitment=commitment("escrow", context, me, seeds["escrow"]),
            own_share_hashes=hashes(me) if own else None, entries=entries,
            quorum_signature=self.seat.signer.sign(quorum_statement(context)),
        )

    def on_relay(self, message):
        """R2: a quorum is in this context; the shares open and are those that were published."""
        committed = message["committed"]
        self.from_aggregator(message)
        self.check_set(committed, self.cohort)
        self.roster.quorum(committed, quorum_statement(self.context), message["quorum"])
        parcels = message["parcels"]
        need(all(parcel["to"] == self.me for parcel in parcels), "shares for another node")
        expected = sorted(self.graph.peers(self.me) & committed)
        need([parcel["from"] for parcel in parcels] == expected, "shares of other nodes")
        self.complained = frozenset(p["from"] for p in parcels if not self.take_parcel(p))
        self.accepted = committed - self.complained
        answers = []
        if self.complained:
            answers.append(self.signed("Complaint", against=self.complained))
        try:
            self.check_set(self.accepted, self.cohort)
        except Refused as why:
            self.stopped = why
            return answers
        relay = self.roster.codec.statement(message)
        return [*answers, self.signed("Ready", relay=relay)]

    def take_parcel(self, parcel) -> bool:
        context, sender, me = self.context, parcel["from"], self.me
        if parcel["slot"] != self.graph.slot(sender, me):
            return False
        if parcel["edge_tag"] != edge_tag(context, self.edges[sender]):
            return False
        ends = le(sender, 2), le(me, 2)
        key = expand(self.links[sender], "share", context, *ends)
        pair = unseal(key, parcel["sealed_shares"], context + b"".join(ends))
        if pair is None:
            return False
        shares = [pair[:32], pair[32:]]
        found = [share_hash(k, context, sender, me, s) for k, s in zip(SEEDS, shares)]
        if found != [parcel["self_share_hash"], parcel["escrow_share_hash"]]:
            return False
        self.held[sender] = shares
        return True

    def on_grant(self, message):
        """R3: against whom to mask. The masked vector is made and waits for its turn."""
        self.granted = message["granted"]
        self.from_aggregator(message)
        self.check_set(self.granted, self.accepted)
        masks = [(expand(self.seed, "self mask", self.context), 1)]
        for peer in sorted(self.graph.peers(self.me) & self.granted):
            masks.append((expand(self.edges[peer], "mask"), 1 if self.me < peer else -1))
        bits = self.view["lane_bits"]
        self.chunks = lanes.chunks(bits, lanes.masked(bits, self.vector, masks))
        shape = bits, len(self.vector)
        self.root = lanes.root(lanes.MASKED, self.context, *shape, self.chunks)
        self.seed, self.edges, self.uploaded, self.turns = None, None, False, 0
        return []

    def on_turn(self, message):
        """The upload, or the rest of it."""
        first = message["first_chunk"]
        need(first == 0 or self.uploaded, "the middle of a vector that was never sent")
        need(first <= len(self.chunks), "a chunk behind the end")
        self.uploaded, self.turns = True, self.turns + 1
        need(self.turns <= MOST_TURNS, "a turn too often")
        granted = granted_hash(self.context, self.roster, self.granted)
        about = {"kind": "MaskedChunk", "context": self.context}
        pieces = [about | {"index": i, "data": data} for i, data in enumerate(self.chunks)]
        return [*pieces[first:], self.signed("MaskedDone", granted_hash=granted, root=self.root)]

    def on_manifest(self, message):
        """R4: the one manifest that this node signs."""
        self.survivors, context = message["survivors"], self.context
        self.from_aggregator(message)
        need(self.uploaded, "a manifest before this node's upload")
        expected = granted_hash(context, self.roster, self.granted)
        need(message["granted_hash"] == expected, "others were granted another set")
        self.check_set(self.survivors, self.granted)
        roots = [entry["root"] for entry in message["roots"]]
        need(len(roots) == len(self.survivors), "other roots than the survivors'")
        own = sorted(self.survivors).index(self.me)
        need(roots[own] == self.root, "another root of this node's own vector")
        self.manifest = manifest_digest(self.roster, message)
        peers = sorted(self.graph.peers(self.me) & self.survivors)
        tags = [{"node": peer, "tag": self.tag(self.me, peer)} for peer in peers]
        return [self.signed("SurvivorAck", manifest=self.manifest, tags=tags)]

    def tag(self, sender: int, receiver: int) -> bytes:
        """The pairwise tag of an acknowledgement; one of the two is this node."""
        peer = receiver if sender == self.me else sender
        key = expand(self.links[peer], "acknowledgement", self.context)
        parts = le(sender, 2), le(receiver, 2), self.manifest
        return expand(key, "acknowledgement tag", *parts)[:16]

    def on_quorum(self, message):
        """R5: shares of one kind per node, against a quorum on the signed manifest."""
        need(message["manifest"] == self.manifest, "a quorum on another manifest")
        acknowledged = {"kind": "SurvivorAck", "context": self.context, "manifest": self.manifest}
        statement = self.roster.codec.statement(acknowledged)
        signatures = message["signatures"]
        signers = self.roster.signers(self.survivors, signatures)
        tags = message["tags"]
        expected = sorted(self.graph.peers(self.me) & signers)
        need([entry["node"] for entry in tags] == expected, "tags of others than the signers")
        wrong = {e["node"] for e in tags if e["tag"] != self.tag(e["node"], self.me)}
        counted = [entry for entry in signatures if entry["node"] not in wrong]
        least = self.roster.thresholds["quorum"]
        need(not wrong or len(counted) >= least, "too few signers with the right tag")
        self.roster.valid(statement, counted)
        owners = self.graph.peers(self.me) | ({self.me} if self.graph.complete else set())
        of_self, of_escrow = [], []
        for owner in sorted(owners & self.granted):
            survives = owner in self.survivors
            value = self.held[owner][0 if survives else 1]
            (of_self if survives else of_escrow).append({"node": owner, "share": value})
        self.held, self.links, self.received = None, None, []
        return [self.signed("UnmaskShares", self_shares=of_self, escrow_shares=of_escrow)]

    def on_sum_chunk(self, message):
        """R6: the sum, piece by piece; a repeated piece is ignored."""
        index, data, bits = message["index"], message["data"], self.view["lane_bits"]
        if index < len(self.received):
            need(self.received[index] == data, "two different pieces of one number")
            return []
        need(index == len(self.received), "a piece out of order")
        due = min(lanes.CHUNK_LANES, len(self.vector) - index * lanes.CHUNK_LANES)
        need(due > 0 and lanes.unpack(bits, due, data) is not None, "a piece of another length")
        self.received.append(data)
        return []

    def on_result(self, message):
        """The sum is complete; the state that follows from it is signed."""
        self.from_aggregator(message)
        need(message["manifest"] == self.manifest, "the result of another manifest")
        bits, length = self.view["lane_bits"], len(self.vector)
        pieces = -(-length // lanes.CHUNK_LANES)
        need(len(self.received) == pieces, "the sum is not complete")
        root = lanes.root(lanes.SUM, self.context, bits, length, self.received)
        need(root == message["sum_root"], "another sum than the signed root's")
        self.opened = []
        for index, data in enumerate(self.received):
            due = min(lanes.CHUNK_LANES, length - index * lanes.CHUNK_LANES)
            self.opened += lanes.unpack(bits, due, data)
        self.result = {
            "manifest": self.manifest, "sum_root": root, "survivors": self.survivors,
            "state_hash": self.state_of(self.opened),
        }
        return [self.signed("ResultAck", **self.result)]

    def on_certificate(self, message):
        """A quorum of the survivors arrived at the same state."""
        check_certificate(self.roster, message)
        for name, value in self.result.items():
            need(message[name] == value, f"the certificate has another {name}")
        self.certificate = result_digest(self.roster, message)
        return []
