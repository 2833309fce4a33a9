"""What a third party with nothing but the roster makes of evidence: who is to blame, or nobody."""

from attempt import SEEDS, commitment, edge_tag, escrow_pad, share_hash
from codec import NODE, SERVER, Malformed
from primitives import opened, verify, xor

EQUIVOCATION, BAD_SHARE, BAD_DEALING, ALTERED_RELAY, BAD_OWN_SHARE = 1, 2, 3, 4, 5


class Nothing(Exception):
    """The evidence proves nothing."""


def need(holds):
    if not holds:
        raise Nothing


def parse(data: bytes):
    """Kind and frames: a byte, a 16-bit count, each frame behind 32 bits of length."""
    kind, count, at, frames = data[0], int.from_bytes(data[1:3], "little"), 3, []
    for _ in range(count):
        length = int.from_bytes(data[at : at + 4], "little")
        frames.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    need(at == len(data) and count >= 1)
    need(kind == BAD_DEALING or count == (3 if kind == BAD_SHARE else 2))
    return kind, frames


class Judge:
    """Verdicts for one roster."""

    def __init__(self, roster):
        self.roster, self.codec = roster, roster.codec

    def blamed(self, data: bytes):
        """A node's index, "aggregator", or `None`."""
        rules = {
            EQUIVOCATION: self.equivocation, BAD_SHARE: self.bad_share,
            BAD_DEALING: self.bad_dealing, ALTERED_RELAY: self.altered_relay,
            BAD_OWN_SHARE: self.bad_own_share,
        }
        try:
            kind, frames = parse(data)
            return rules[kind](frames[0], *([frames[1:]] if kind == BAD_DEALING else frames[1:]))
        except (Nothing, Malformed, ValueError, KeyError, IndexError):
            return None

    def signer(self, message):
        statement = self.codec.statement(message)
        for node, key in enumerate(self.roster.members):
            if verify(key, statement, message["signature"]):
                return node
        raise Nothing

    def of_kind(self, frame: bytes, kind: str):
        message = self.codec.decode(frame, NODE)
        need(message["kind"] == kind)
        return message, self.signer(message)

    def equivocation(self, first: bytes, second: bytes):
        """One party signed two different messages of one kind in one context."""
        need(first != second)
        direction = NODE if first[2] < 0x40 else SERVER
        one, other = (self.codec.decode(frame, direction) for frame in (first, second))
        need(one["kind"] == other["kind"] and one["context"] == other["context"])
        need(self.codec.is_signed(one))
        need(self.codec.statement(one) != self.codec.statement(other))
        if direction is NODE:
            node = self.signer(one)
            need(node == self.signer(other))
            return node
        need(all(self.roster.signed_by_aggregator(message) for message in (one, other)))
        if one["kind"] == "ShareRelay" and one["committed"] == other["committed"]:
            receivers = [relay["parcels"][0]["to"] for relay in (one, other)]
            need(receivers[0] == receivers[1])
        return "aggregator"

    def published(self, commit, dealer: int, holder: int):
        """A holder's slot and the hashes of its two shares, as the dealer published them."""
        if dealer == holder:
            need(commit["own_share_hashes"])
            return dealer + 1, commit["own_share_hashes"]
        for entry in commit["entries"]:
            if entry["to"] == holder:
                return entry["slot"], [entry["self_share_hash"], entry["escrow_share_hash"]]
        raise Nothing

    def shares_of(self, shares, dealer: int) -> dict:
        """The shares of a dealer in a message, by kind."""
        found = {}
        for kind in SEEDS:
            for entry in shares[f"{kind}_shares"]:
                if entry["node"] == dealer:
                    found[kind] = entry["share"]
        return found

    def right(self, shares, dealer: int, holder: int, hashes) -> bool:
        """Whether the shares of a dealer in a message are those of which these are the hashes."""
        hashes = dict(zip(SEEDS, hashes, strict=True))
        return all(
            share_hash(kind, shares["context"], dealer, holder, value) == hashes[kind]
            for kind, value in self.shares_of(shares, dealer).items()
        )

    def bad_share(self, ready_frame: bytes, relay_frame: bytes, shares_frame: bytes):
        """A holder revealed another share than the one in the relay that its ready names."""
        ready, by = self.of_kind(ready_frame, "Ready")
        relay = self.codec.decode(relay_frame, SERVER)
        shares, holder = self.of_kind(shares_frame, "UnmaskShares")
        need(relay["kind"] == "ShareRelay" and by == holder)
        need(ready["relay"] == self.codec.statement(relay))
        need(ready["context"] == shares["context"])
        for parcel in relay["parcels"]:
            hashes = [parcel["self_share_hash"], parcel["escrow_share_hash"]]
            if not self.right(shares, parcel["from"], holder, hashes):
                return holder
        raise Nothing

    def bad_own_share(self, commit_frame: bytes, shares_frame: bytes):
        """A node revealed another share of its own seed than the one it kept."""
        commit, node = self.of_kind(commit_frame, "RoundCommit")
        shares, holder = self.of_kind(shares_frame, "UnmaskShares")
        need(node == holder and commit["context"] == shares["context"])
        _, hashes = self.published(commit, node, node)
        need(not self.right(shares, node, node, hashes))
        return node

    def bad_dealing(self, commit_frame: bytes, share_frames):
        """Right shares open to something else than the dealer had committed to."""
        commit, dealer = self.of_kind(commit_frame, "RoundCommit")
        context, slots, values = commit["context"], [], {kind: [] for kind in SEEDS}
        for frame in share_frames:
            shares, holder = self.of_kind(frame, "UnmaskShares")
            need(shares["context"] == context)
            slot, hashes = self.published(commit, dealer, holder)
            need(self.right(shares, dealer, holder, hashes))
            slots.append(slot)
            for kind, value in self.shares_of(shares, dealer).items():
                values[kind].append(value)
        need(len(slots) >= self.roster.thresholds["shamir_t"])
        seeds = {k: opened(slots, v) for k, v in values.items() if len(v) == len(slots)}
        for kind, seed in seeds.items():
            if commitment(kind, context, dealer, seed) != commit[f"{kind}_commitment"]:
                return dealer
        if "escrow" in seeds:
            for entry in commit["entries"]:
                pad = escrow_pad(seeds["escrow"], context, entry["to"])
                edge = xor(entry["sealed_edge"], pad)
                if edge_tag(context, edge) != entry["edge_tag"]:
                    return dealer
        raise Nothing

    def altered_relay(self, commit_frame: bytes, relay_frame: bytes):
        """The aggregator passed on another parcel than the dealer had signed."""
        commit, dealer = self.of_kind(commit_frame, "RoundCommit")
        relay = self.codec.decode(relay_frame, SERVER)
        need(relay["kind"] == "ShareRelay" and relay["context"] == commit["context"])
        need(self.roster.signed_by_aggregator(relay))
        for parcel in relay["parcels"]:
            if parcel["from"] == dealer:
                for entry in commit["entries"]:
                    same = all(entry[name] == value for name, value in parcel.items())
                    if entry["to"] == parcel["to"] and not same:
                        return "aggregator"
        raise Nothing
