"""Recomputes the known answers of a vector file; exits with 1 if one differs.

    python check_vectors.py ../vectors/secagg-v3.json
"""

import json
import sys

import codec
import graph
import lanes
import primitives
from context import (
    Roster, coin_commitment, epoch_context, joint_coin, manifest_digest, result_digest,
    round_context, transcript,
)
from epoch import keys_digest
from evidence import Judge
from primitives import H, Signer
from replay import round_agrees, test_seed

unhex = bytes.fromhex


def parsed(form, value):
    """A field's value from its JSON form."""
    if isinstance(form, list):
        return [{name: parsed(f, entry[name]) for name, f in form[0]} for entry in value]
    if form in codec.NUMBERS:
        return value
    if form == "set":
        return frozenset(value)
    if form == "own":
        return value and [unhex(part) for part in value]
    return unhex(value)


def word(i: int) -> int:
    """The words of the vectors' lanes."""
    return i * 2_654_435_761 % (1 << 32) ^ 0x5BD1_E995


def hash_agrees(case):
    return H(case["label"], *map(unhex, case["parts"])).hex() == case["digest"]


def packing_agrees(case):
    bits, values = case["bits"], case["lanes"]
    reduced = [value % (1 << bits) for value in values]
    packed = unhex(case["packed"])
    back = lanes.unpack(bits, len(values), packed)
    return lanes.pack(bits, values) == packed and back == reduced


def vector_root_agrees(case):
    values = [word(i) for i in range(case["length"])]
    root = lanes.vector_root(case["kind"], unhex(case["context"]), case["bits"], values)
    return root.hex() == case["root"]


def mask_agrees(case):
    size = case["word_bytes"]
    # The counter of the last case reaches beyond 64 bits; it still has 128.
    stream = lanes.mask(unhex(case["key"]), size, case["first"], len(case["ones_become"]))
    sign = 1 if case["plus"] else -1
    return [(1 + sign * w) % (1 << 8 * size) for w in stream] == case["ones_become"]


def shamir_agrees(case):
    secret, slots = unhex(case["secret"]), case["slots"]
    coefficients = [unhex(one) for one in case["coefficients"]]
    shares = [primitives.share(secret, coefficients, slot) for slot in slots]
    some = slice(len(slots) - case["threshold"], None)
    opened = primitives.opened(slots[some], shares[some])
    return [share.hex() for share in shares] == case["shares"] and opened == secret


def graph_agrees(case):
    n, coin = case["n"], unhex(case["coin"])
    ring = graph.ring(n, coin)
    start = ring.index(0)
    found = graph.Graph(case, coin)
    slots = {
        node: [[h, found.slot(node, h)] for h in sorted(found.holders(node))]
        for node in (0, n - 1)
    }
    expected = case["slots_of_0"], case["slots_of_last"]
    return ring[start:] + ring[:start] == case["ring"] and tuple(slots.values()) == expected


def thresholds_agrees(case):
    solved = graph.solve(case["n"], case["gamma"], case["delta"], case["floor"])
    return solved == case["thresholds"]


def check_agrees(case):
    return graph.check(case["thresholds"]) == case["holds"]


def context_agrees(case):
    members = [unhex(key) for key in case["members"]]
    aggregator, job = unhex(case["aggregator"]), unhex(case["job"])
    roster = Roster(job, members, aggregator, case["thresholds"])
    context = epoch_context(roster, case["epoch"], case["restart"], case["excluded"])
    coin = unhex(case["coin"])
    hellos = parsed([codec.HELLO], case["hellos"])
    encoded = b"".join(roster.codec.fields(codec.HELLO, hello) for hello in hellos)
    roll = H("epoch roll", context, roster.digest, encoded)
    joint = joint_coin(roll, [{"node": hello["from"], "coin": coin} for hello in hellos])
    view = {k: unhex(v) if isinstance(v, str) else v for k, v in case["view"].items()}
    of_epoch = transcript(roll, joint)
    found = {
        "roster": roster.digest, "epoch_context": context, "roll": roll,
        "coin_commitment_of_2": coin_commitment(context, 2, coin),
        "joint_coin_of_the_roll": joint, "transcript": of_epoch,
        "context": round_context(roster, of_epoch, view, case["cohort"]),
    }
    return all(value.hex() == case[name] for name, value in found.items())


def frame_agrees(case):
    of, kind = codec.Codec(case["members"]), case["kind"]
    direction = codec.NODE if kind in codec.NODE else codec.SERVER
    values = case["fields"]
    message = {"kind": kind, "context": unhex(values["context"])}
    message |= {name: parsed(form, values[name]) for name, form in direction[kind][1]}
    frame = unhex(case["frame"])
    if of.encode(message) != frame or of.decode(frame, direction) != message:
        return False
    if not of.is_signed(message):
        return case["statement"] is None
    statement = of.statement(message)
    signature = Signer(test_seed(0)).sign(statement)
    return statement.hex() == case["statement"] and signature == message["signature"]


def statements_agree(cases, frames):
    """The statements are about contents of the frames."""
    of, found = codec.Codec(5), {}
    for case in frames:
        direction = codec.NODE if case["kind"] in codec.NODE else codec.SERVER
        found[case["kind"]] = of.decode(unhex(case["frame"]), direction)
    hello, certificate = found["EpochHello"], found["ResultQc"]
    context, kem = hello["context"], found["EpochKem"]
    roster = type("Sized", (), {"codec": of})
    ack = {"kind": "SurvivorAck", "context": context, "manifest": found["SurvivorQc"]["manifest"]}
    bodies = of.encode(certificate)[3:]
    expected = {
        "hello of node 2": of.hello_statement(context, hello),
        "kem parcel of node 1 to node 2": of.kem_statement(kem["transcript"], kem["parcels"][1]),
        "context quorum": codec.quorum_statement(context),
        "survivor quorum": of.statement(ack),
        "manifest digest": manifest_digest(roster, found["SurvivorManifest"]),
        "result certificate digest": result_digest(roster, certificate),
        "keys digest": keys_digest(hello),
        "result certificate": bodies,
    }
    return {case["name"]: case["value"] for case in cases} == {
        name: value.hex() for name, value in expected.items()
    }


def evidence_agrees(case):
    keys = [Signer(test_seed(node)).public for node in range(case["thresholds"]["n"])]
    aggregator = Signer(test_seed(65_535)).public
    roster = Roster(H("job"), keys, aggregator, case["thresholds"])
    return Judge(roster).blamed(unhex(case["evidence"])) == case["blamed"]


CHECKS = {
    "hash": hash_agrees, "packing": packing_agrees, "vector_root": vector_root_agrees,
    "mask": mask_agrees, "shamir": shamir_agrees, "graph": graph_agrees,
    "thresholds": thresholds_agrees, "check": check_agrees, "context": context_agrees,
    "frame": frame_agrees, "round": round_agrees, "evidence": evidence_agrees,
}


def main(path: str) -> int:
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    failed = vectors.pop("protocol") != codec.VERSION
    statements = vectors.pop("statement")
    if not statements_agree(statements, vectors["frame"]):
        print("statement: differs", file=sys.stderr)
        failed = True
    if vectors.keys() != CHECKS.keys():
        print(f"sections: {vectors.keys() ^ CHECKS.keys()}", file=sys.stderr)
        failed = True
    for name, check in CHECKS.items():
        for at, case in enumerate(vectors.get(name, [])):
            if not check(case):
                print(f"{name}, entry {at}: differs: {str(case)[:200]}", file=sys.stderr)
                failed = True
        print(f"{name}: {len(vectors.get(name, []))} entries")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
