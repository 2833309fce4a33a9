"""What everybody hashes for themselves: roster, epoch, round; and the seat of a node in a job."""

import os

import graph
from codec import VIEW, Codec, encode_set
from primitives import H, Signer, le, verify

MOST_EPOCHS, MOST_RESTARTS = 16, 3


class Refused(Exception):
    """A check of this node failed; it goes no further with this attempt or epoch."""


def need(holds, what: str):
    """Refuses unless a check holds."""
    if not holds:
        raise Refused(what)


class Roster:
    """Keys and thresholds of a job, as its manifest has them."""

    def __init__(self, job: bytes, members, aggregator: bytes, thresholds: dict):
        keys = [*members, aggregator]
        need(graph.check(thresholds), "the thresholds do not protect the nodes")
        need(len(members) == thresholds["n"], "the thresholds are for another number of nodes")
        need(len(set(keys)) == len(keys), "a key stands on the roster twice")
        self.job, self.members, self.aggregator = job, members, aggregator
        self.thresholds, self.size = thresholds, len(members)
        self.codec = Codec(self.size)
        self.everybody = frozenset(range(self.size))
        self.digest = H(
            "roster", job, graph.thresholds_bytes(thresholds), aggregator, *members
        )

    def set(self, nodes) -> bytes:
        return encode_set(nodes, self.size)

    def signed_by_aggregator(self, message) -> bool:
        statement = self.codec.statement(message)
        return verify(self.aggregator, statement, message["signature"])

    def signers(self, eligible, signatures) -> frozenset:
        """Who is said to have signed: ascending and eligible."""
        signers = [entry["node"] for entry in signatures]
        need(signers == sorted(set(signers)), "signers are out of order or counted twice")
        need(set(signers) <= set(eligible), "a signer has no vote")
        return frozenset(signers)

    def valid(self, statement: bytes, signatures):
        """The first tau of these signatures, all of them valid."""
        tau = self.thresholds["quorum"]
        for entry in signatures[:tau]:
            key = self.members[entry["node"]]
            need(verify(key, statement, entry["signature"]), "a signature of a quorum is forged")
        need(len(signatures) >= tau, "too few signatures for a quorum")

    def quorum(self, eligible, statement: bytes, signatures):
        """A certificate: exactly tau signatures, ascending, eligible, valid."""
        need(len(signatures) <= self.thresholds["quorum"], "more signatures than make a quorum")
        self.signers(eligible, signatures)
        self.valid(statement, signatures)


class Seat:
    """A member of a roster. `draw(n)` gives n random bytes; tests may put in fixed ones."""

    def __init__(self, roster: Roster, me: int, seed: bytes, draw=os.urandom):
        self.roster, self.me, self.signer, self.draw = roster, me, Signer(seed), draw
        need(roster.members[me] == self.signer.public, "this identity is not that member")


def epoch_context(roster: Roster, epoch: int, restart: int, excluded) -> bytes:
    return H("epoch", roster.digest, le(epoch, 4), bytes([restart]), roster.set(excluded))


def coin_commitment(context: bytes, node: int, coin: bytes) -> bytes:
    return H("coin", context, le(node, 2), coin)


def joint_coin(roll: bytes, coins) -> bytes:
    return H("joint coin", roll, b"".join(le(e["node"], 2) + e["coin"] for e in coins))


def transcript(roll: bytes, coin: bytes) -> bytes:
    return H("epoch transcript", roll, coin)


def round_context(roster: Roster, of_epoch: bytes, view: dict, cohort) -> bytes:
    """The context of an attempt: job, transcript, the fields of the view, cohort, certificate."""
    sizes = [("round", 4), ("attempt", 2), ("operation", 1), ("vector_len", 4), ("lane_bits", 1)]
    numbers = [le(view[name], size) for name, size in sizes]
    hashes = [view["state_hash"], view["params_hash"], roster.set(cohort), view["previous"]]
    return H("ctx", roster.job, of_epoch, *numbers, *hashes)


def granted_hash(context: bytes, roster: Roster, granted) -> bytes:
    return H("granted", context, roster.set(granted))


def result_statement(roster: Roster, certificate: dict) -> bytes:
    """What the signatures of a result certificate are over: that of a `ResultAck`."""
    return roster.codec.statement(certificate | {"kind": "ResultAck", "signature": bytes(64)})


def result_digest(roster: Roster, certificate: dict) -> bytes:
    return H("result certificate", result_statement(roster, certificate))


def check_certificate(roster: Roster, certificate: dict):
    """A quorum of at least u_min survivors signed it."""
    survivors = certificate["survivors"]
    need(len(survivors) >= roster.thresholds["u_min"], "a certificate over too few survivors")
    roster.quorum(survivors, result_statement(roster, certificate), certificate["signatures"])


def manifest_digest(roster: Roster, manifest: dict) -> bytes:
    return roster.codec.statement(manifest)


VIEW_FIELDS = [name for name, _ in VIEW]
