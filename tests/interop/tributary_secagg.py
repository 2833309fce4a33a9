"""A node as a program: one line of JSON, then frames in and frames out.

Every frame stands behind its length (4 bytes, little-endian). After each frame that it has read
the node writes its answers and then a length of zero. At the end of its input it prints on
standard error what came of it, a line each: `certified DIGEST`, `complained NODES`,
`aborted REASON`, `refused WHY`.
"""

import json
import sys

from context import Roster, Seat
from node import Node
from primitives import H, le


def state_of(total) -> bytes:
    """The "model" of the tests: a hash of the sum."""
    return H("test state", b"".join(le(lane, 4) for lane in total))


def view_of(entry: dict) -> dict:
    """Hashes come as hexadecimal digits."""
    return {k: bytes.fromhex(v) if isinstance(v, str) else v for k, v in entry.items()}


def node_of(config: dict, **seating) -> Node:
    """The node that a configuration describes."""
    members = [bytes.fromhex(key) for key in config["members"]]
    job, aggregator = bytes.fromhex(config["job"]), bytes.fromhex(config["aggregator"])
    roster = Roster(job, members, aggregator, config["thresholds"])
    seat = Seat(roster, config["me"], bytes.fromhex(config["seed"]), **seating)
    plan = {}
    for entry in config["rounds"]:
        view = view_of(entry["view"])
        plan[view["round"], view["attempt"]] = view, entry["vector"]
    return Node(seat, plan, config["max_attempts"], state_of)


def main():
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    node = node_of(json.loads(source.readline()))
    while header := source.read(4):
        frame = source.read(int.from_bytes(header, "little"))
        for answer in node.take(frame):
            sink.write(le(len(answer), 4) + answer)
        sink.write(bytes(4))
        sink.flush()
    print("\n".join(node.notes), file=sys.stderr)


if __name__ == "__main__":
    main()
