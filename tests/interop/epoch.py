"""The set-up of an epoch at a node, and the key chains that come out of it.

hello -> roll -> (coins, in the sparse graph) -> keys of the peers -> encapsulations -> chains.
"""

import mlkem
from context import (
    MOST_EPOCHS, MOST_RESTARTS, Refused, coin_commitment, epoch_context, joint_coin, need,
    transcript,
)
from codec import HELLO, KEYS
from graph import Graph
from primitives import ZERO, Exchange, H, expand, extract_and_expand, le, verify

MOST_STEPS = 1 << 16


def keys_digest(keys) -> bytes:
    return H("epoch keys", keys["x25519"], keys["kem_key"])


def confirmation(of_epoch, sender, receiver, ciphertext, secret, point) -> bytes:
    """Proof to `receiver` that `sender` holds the secrets of this direction."""
    ends = le(sender, 2), le(receiver, 2)
    salt = H("confirmation salt", of_epoch, *ends, ciphertext)
    return extract_and_expand(salt, secret + point, "confirmation", *ends)


def first_link(of_epoch, one, other, point) -> bytes:
    """The first link of a pair's chain from both directions `(sender, ciphertext, secret)`."""
    (i, ct_ij, ss_ij), (j, ct_ji, ss_ji) = sorted([one, other])
    salt = H("root salt", of_epoch, le(i, 2), le(j, 2), ct_ij, ct_ji)
    return extract_and_expand(salt, ss_ij + ss_ji + point, "chain")


class Setup:
    """One epoch's set-up: takes the aggregator's messages, gives answers, ends with `chains`."""

    def __init__(self, seat):
        self.seat, self.codec = seat, seat.roster.codec
        self.chains = None

    def start(self, message):
        """The aggregator's start: fresh keys and a hidden coin."""
        roster = self.seat.roster
        self.number, self.excluded = message["epoch"], message["excluded"]
        self.context = epoch_context(roster, self.number, message["restart"], self.excluded)
        need(message["context"] == self.context, "an epoch of another job or roster")
        need(self.number <= MOST_EPOCHS, "too many epochs")
        need(message["restart"] <= MOST_RESTARTS, "too many restarts")
        need(roster.signed_by_aggregator(message), "the aggregator did not sign the start")
        need(self.seat.me not in self.excluded, "this node is left out")
        self.exchange = Exchange()
        kem_key, self.private = mlkem.key_pair()
        keys = {"x25519": self.exchange.public, "kem_key": kem_key}
        self.coin = self.seat.draw(32)
        coin = coin_commitment(self.context, self.seat.me, self.coin)
        self.entry = {"from": self.seat.me, "keys": keys_digest(keys), "coin": coin}
        statement = self.codec.hello_statement(self.context, self.entry)
        self.entry["signature"] = self.seat.signer.sign(statement)
        return [{"kind": "EpochHello", "context": self.context, **self.entry, **keys}]

    def on_hellos(self, message):
        """The roll: everybody's signed hash of keys and hidden coin."""
        roster, hellos = self.seat.roster, message["hellos"]
        nodes = [hello["from"] for hello in hellos]
        need(nodes == sorted(set(nodes)), "hellos are out of order or twice")
        need(not self.excluded & set(nodes), "a node that was left out is back")
        for hello in hellos:
            statement = self.codec.hello_statement(self.context, hello)
            key = roster.members[hello["from"]]
            need(verify(key, statement, hello["signature"]), "the signature of a hello is bad")
        need(len({hello["keys"] for hello in hellos}) == len(hellos), "two nodes offer one key")
        need(self.entry in hellos, "this node's own hello is missing or changed")
        need(len(nodes) >= roster.thresholds["u_min"], "too few nodes in the epoch")
        self.members = frozenset(nodes)
        self.hellos = {hello["from"]: hello for hello in hellos}
        encoded = b"".join(self.codec.fields(HELLO, hello) for hello in hellos)
        self.roll = H("epoch roll", self.context, roster.digest, encoded)
        if roster.thresholds["degree"] == roster.size - 1:
            return []
        reveal = {"roll": self.roll, "coin": self.coin}
        return [{"kind": "EpochReveal", "context": self.context, **reveal}]

    def on_peers(self, message):
        """The coins, hence the graph; and the peers' keys, to which it encapsulates."""
        me, coins = self.seat.me, message["coins"]
        thresholds = self.seat.roster.thresholds
        self.joint = ZERO
        if thresholds["degree"] == self.seat.roster.size - 1:
            need(not coins, "coins where the graph needs none")
        else:
            nodes = [entry["node"] for entry in coins]
            need(nodes == sorted(self.members), "coins of other nodes than the roll's")
            for entry in coins:
                found = coin_commitment(self.context, entry["node"], entry["coin"])
                need(self.hellos[entry["node"]]["coin"] == found, "a coin is not the hidden one")
            self.joint = joint_coin(self.roll, coins)
        self.graph = Graph(thresholds, self.joint)
        self.transcript = transcript(self.roll, self.joint)
        peers = sorted(self.graph.peers(me) & self.members)
        need([keys["node"] for keys in message["keys"]] == peers, "keys of others than the peers")
        for field, _ in KEYS:
            need(len({keys[field] for keys in message["keys"]}) == len(peers), "a key twice")
        self.outward, parcels = {}, []
        for keys in message["keys"]:
            to = keys["node"]
            need(self.hellos[to]["keys"] == keys_digest(keys), "other keys than were signed")
            point = self.exchange.agree(keys["x25519"])
            need(point, "an X25519 key of small order")
            encapsulated = mlkem.encapsulate(keys["kem_key"])
            need(encapsulated, "an ML-KEM key fails its check")
            ciphertext, secret = encapsulated
            proof = confirmation(self.transcript, me, to, ciphertext, secret, point)
            parcel = {"from": me, "to": to, "ciphertext": ciphertext, "confirmation": proof}
            statement = self.codec.kem_statement(self.transcript, parcel)
            parcels.append(parcel | {"signature": self.seat.signer.sign(statement)})
            self.outward[to] = (point, ciphertext, secret)
        about = {"context": self.context, "transcript": self.transcript}
        return [{"kind": "EpochKem", **about, "parcels": parcels}]

    def on_kems(self, message):
        """The peers' encapsulations: the chains begin."""
        me, roster = self.seat.me, self.seat.roster
        need(message["transcript"] == self.transcript, "others were shown another epoch")
        senders = [parcel["from"] for parcel in message["parcels"]]
        need(senders == sorted(set(senders)), "parcels are out of order or twice")
        chains, without = {}, set()
        for parcel in message["parcels"]:
            sender, ciphertext = parcel["from"], parcel["ciphertext"]
            need(parcel["to"] == me and sender in self.outward, "a parcel for another node")
            statement = self.codec.kem_statement(self.transcript, parcel)
            signed = verify(roster.members[sender], statement, parcel["signature"])
            need(signed, "the signature of a parcel is bad")
            point, sent, own = self.outward[sender]
            secret = mlkem.decapsulate(self.private, ciphertext)
            proof = confirmation(self.transcript, sender, me, ciphertext, secret, point)
            if proof != parcel["confirmation"]:
                without.add(sender)
                continue
            directions = (me, sent, own), (sender, ciphertext, secret)
            chains[sender] = first_link(self.transcript, *directions, point)
        complete, least = self.graph.complete, roster.thresholds
        reached = len(chains) + complete
        need(reached >= least["u_min" if complete else "shamir_t"], "too few peers are reached")
        self.chains = Chains(self, chains)
        done = self.codec.signed(
            self.seat.signer, kind="EpochDone", context=self.context,
            transcript=self.transcript, without=frozenset(without),
        )
        return [done]


class Chains:
    """One forward ratchet per peer; a step is used once."""

    def __init__(self, facts, links: dict):
        self.number, self.transcript = facts.number, facts.transcript
        self.joint, self.graph, self.members = facts.joint, facts.graph, facts.members
        self.links, self.step, self.last, self.attempts = links, 0, None, None

    def spend(self, number: int, attempt: int, most: int) -> dict:
        """The links of one attempt; afterwards every chain stands behind it."""
        need(attempt < most, "an attempt above the job's maximum")
        need(self.last is None or (number, attempt) > self.last, "an attempt that is past")
        if self.attempts not in (None, most):
            raise Refused("the number of attempts changed within the epoch")
        step = number * most + attempt
        need(0 <= step - self.step <= MOST_STEPS, "too far ahead for this epoch")
        current = self.links
        for _ in range(step - self.step):
            current = {peer: expand(link, "ratchet") for peer, link in current.items()}
        self.links = {peer: expand(link, "ratchet") for peer, link in current.items()}
        self.step, self.last, self.attempts = step + 1, (number, attempt), most
        return current
