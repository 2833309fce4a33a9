"""Rounds of the vector file, played again: every node's frames must come out byte for byte.

The chains are fixed, and so is the randomness: a node draws, in this order, its self seed, its
escrow key, the coefficients of the former's sharing (ascending powers), those of the latter's, and
a nonce for each peer (ascending).
"""

from types import SimpleNamespace

from context import Roster, Seat
from epoch import Chains
from graph import Graph
from node import Node
from primitives import H, Signer, le
from tributary_secagg import state_of, view_of


def test_seed(number: int) -> bytes:
    """Seed of a test identity; 65535 is the aggregator."""
    return H("test identity", le(number, 2))


def draws(name: bytes):
    """The stream of a node's fixed randomness."""
    left, counter = b"", 0

    def draw(length: int) -> bytes:
        nonlocal left, counter
        while len(left) < length:
            left += H("test draws", name, le(counter, 8))
            counter += 1
        drawn, left = left[:length], left[length:]
        return drawn

    return draw


def link(one: int, other: int) -> bytes:
    """The first link of a pair."""
    return H("test chain", le(min(one, other), 2), le(max(one, other), 2))


def stored(seat, chains) -> bytes:
    """An epoch as the library stores it."""
    number, attempt = chains.last or (0, 0)
    ascending = sorted(chains.links)
    return b"".join([
        b"\x02", seat.roster.digest, le(seat.me, 2), le(chains.number, 4), chains.transcript,
        chains.joint, seat.roster.set(chains.members), le(chains.attempts or 0, 2),
        bytes([chains.last is not None]), le(number, 4), le(attempt, 2), le(chains.step, 8),
        seat.roster.set(ascending), *(chains.links[peer] for peer in ascending),
    ])


def players(case):
    """The nodes of a round, before it."""
    thresholds, coin = case["thresholds"], bytes.fromhex(case["coin"])
    keys = [Signer(test_seed(node)).public for node in range(thresholds["n"])]
    roster = Roster(H("job"), keys, Signer(test_seed(65_535)).public, thresholds)
    graph, view = Graph(thresholds, coin), view_of(case["view"])
    for me, vector in enumerate(case["vectors"]):
        seat = Seat(roster, me, test_seed(me), draws(le(me, 2)))
        plan = {(view["round"], view["attempt"]): (view, vector)}
        node = Node(seat, plan, case["max_attempts"], state_of)
        facts = SimpleNamespace(
            number=case["epoch"], transcript=bytes.fromhex(case["transcript"]), joint=coin,
            graph=graph, members=roster.everybody,
        )
        node.chains = Chains(facts, {peer: link(me, peer) for peer in graph.peers(me)})
        yield node


def round_agrees(case) -> bool:
    """Whether every frame, the sum and the stored epochs are those of the file."""
    nodes = list(players(case))
    due = {node: [] for node in range(len(nodes))}
    for entry in case["frames"]:
        frame = bytes.fromhex(entry["frame"])
        if "to" in entry:
            due[entry["to"]] += nodes[entry["to"]].take(frame)
        elif due[entry["by"]].pop(0) != frame:
            return False
    lost = case["lost"]["node"]
    left = [node for node, frames in due.items() if frames and node != lost]
    modulus = 1 << case["view"]["lane_bits"]
    survivors = [case["vectors"][node] for node in case["survivors"]]
    total = [sum(column) % modulus for column in zip(*survivors)]
    epochs = [stored(node.seat, node.chains).hex() for node in nodes]
    certified = [node.seat.me for node in nodes if node.notes and "certified" in node.notes[-1]]
    stayed = [node.seat.me for node in nodes if node.seat.me != lost]
    return (
        not left
        and total == case["sum"]
        and epochs == case["stored_epochs_afterwards"]
        and certified == stayed
    )
