"""The byte format, as a table: every frame is version, kind, fields; numbers little-endian.

A message is a dict with its `kind` and its fields; a set of nodes is a frozenset. Reading takes
exactly one value in its one encoding and refuses the rest. Nothing here knows a phase.
"""

from primitives import H, le

VERSION = 3
CHUNK_LANES = 65_536
KEM_KEY, KEM_CIPHERTEXT, SEALED = 1184, 1088, 12 + 64 + 16

HELLO = [("from", "node"), ("keys", 32), ("coin", 32), ("signature", 64)]
KEYS = [("x25519", 32), ("kem_key", KEM_KEY)]
KEM = [
    ("from", "node"), ("to", "node"), ("ciphertext", KEM_CIPHERTEXT),
    ("confirmation", 32), ("signature", 64),
]
PARCEL = [
    ("from", "node"), ("to", "node"), ("slot", "u8"), ("edge_tag", 16),
    ("sealed_shares", SEALED), ("self_share_hash", 32), ("escrow_share_hash", 32),
]
SIGNATURES = [[("node", "node"), ("signature", 64)]]
TAGS = [[("node", "node"), ("tag", 16)]]
SHARES = [[("node", "node"), ("share", 32)]]
SIGNED = [("signature", 64)]
VIEW = [
    ("round", "u32"), ("attempt", "u16"), ("operation", "u8"), ("vector_len", "u32"),
    ("lane_bits", "u8"), ("state_hash", 32), ("params_hash", 32), ("previous", 32),
]

# Every message begins with its context, which is left out here. A message whose fields end with
# SIGNED, or have it before the tags, is signed over all that stands before the signature.
NODE = {
    "EpochHello": (0x01, HELLO + KEYS),
    "EpochKem": (0x02, [("transcript", 32), ("parcels", [KEM])]),
    "RoundCommit": (0x03, [
        ("self_commitment", 32), ("escrow_commitment", 32), ("own_share_hashes", "own"),
        ("entries", [[("sealed_edge", 32), *PARCEL]]), ("quorum_signature", 64), *SIGNED,
    ]),
    "Ready": (0x04, [("relay", 32), *SIGNED]),
    "MaskedChunk": (0x05, [("index", "u32"), ("data", "chunk")]),
    "MaskedDone": (0x06, [("granted_hash", 32), ("root", 32), *SIGNED]),
    "SurvivorAck": (0x07, [("manifest", 32), *SIGNED, ("tags", TAGS)]),
    "UnmaskShares": (0x08, [("self_shares", SHARES), ("escrow_shares", SHARES), *SIGNED]),
    "ResultAck": (0x09, [
        ("manifest", 32), ("sum_root", 32), ("state_hash", 32), ("survivors", "set"), *SIGNED,
    ]),
    "EpochReveal": (0x0A, [("roll", 32), ("coin", 32)]),
    "EpochDone": (0x0B, [("transcript", 32), ("without", "set"), *SIGNED]),
    "Complaint": (0x0C, [("against", "set"), *SIGNED]),
}
SERVER = {
    "EpochStart": (0x40, [("epoch", "u32"), ("restart", "u8"), ("excluded", "set"), *SIGNED]),
    "EpochHellos": (0x41, [("hellos", [HELLO])]),
    "EpochKems": (0x42, [("transcript", 32), ("parcels", [KEM])]),
    "RoundStart": (0x43, [("epoch", "u32"), *VIEW, ("cohort", "set"), *SIGNED]),
    "ShareRelay": (0x44, [
        ("committed", "set"), ("parcels", [PARCEL]), ("quorum", SIGNATURES), *SIGNED,
    ]),
    "UploadGrant": (0x45, [("granted", "set"), *SIGNED]),
    "SurvivorManifest": (0x46, [
        ("granted_hash", 32), ("survivors", "set"), ("roots", [[("root", 32)]]), *SIGNED,
    ]),
    "SurvivorQc": (0x47, [("manifest", 32), ("signatures", SIGNATURES), ("tags", TAGS)]),
    "SumChunk": (0x48, [("index", "u32"), ("data", "chunk")]),
    "RoundResult": (0x49, [("manifest", 32), ("sum_root", 32), *SIGNED]),
    "ResultQc": (0x4A, [
        ("manifest", 32), ("sum_root", 32), ("state_hash", 32), ("survivors", "set"),
        ("signatures", SIGNATURES),
    ]),
    "Abort": (0x4B, [
        ("reason", "reason"), ("have", "u16"), ("need", "u16"), ("blamed", "set"), *SIGNED,
    ]),
    "EpochPeers": (0x4C, [
        ("coins", [[("node", "node"), ("coin", 32)]]), ("keys", [[("node", "node"), *KEYS]]),
    ]),
    "UploadTurn": (0x4D, [("first_chunk", "u32")]),
}
# Statements that are no message of their own.
KEM_PARCEL, CONTEXT_QUORUM = 0x81, 0x83
NUMBERS = {"u8": 1, "u16": 2, "u32": 4, "reason": 1, "node": 2}


class Malformed(Exception):
    """Bytes that are no message."""


def encode_set(nodes, members: int) -> bytes:
    """Size of the roster, then a bitmap, lowest bit first."""
    return le(members, 2) + le(sum(1 << node for node in nodes), (members + 7) // 8)


class Codec:
    """Writes and reads the messages of a roster of `members` nodes."""

    def __init__(self, members: int):
        self.members = members
        self.largest = max(members * 1536, CHUNK_LANES * 4) + 4096

    def fields(self, fields, values) -> bytes:
        """The bytes of some fields."""
        return b"".join(self._field(form, values[name]) for name, form in fields)

    def _field(self, form, value) -> bytes:
        if isinstance(form, list):
            return le(len(value), 2) + b"".join(self.fields(form[0], entry) for entry in value)
        if form in NUMBERS:
            return le(value, NUMBERS[form])
        if form == "set":
            return encode_set(value, self.members)
        if form == "chunk":
            return le(len(value), 4) + value
        if form == "own":
            return b"\0" if value is None else b"\1" + value[0] + value[1]
        if len(value) != form:
            raise Malformed(f"{len(value)} bytes where {form} belong")
        return value

    def encode(self, message) -> bytes:
        """The frame of a message."""
        kind, fields = (NODE | SERVER)[message["kind"]]
        return le(VERSION, 2) + bytes([kind]) + message["context"] + self.fields(fields, message)

    def decode(self, frame: bytes, of) -> dict:
        """The message in a frame of one direction, `NODE` or `SERVER`."""
        if len(frame) > self.largest:
            raise Malformed("the frame is too large")
        if frame[:2] != le(VERSION, 2) or len(frame) < 35:
            raise Malformed("another version, or no frame")
        for name, (kind, fields) in of.items():
            if kind == frame[2]:
                message = {"kind": name, "context": frame[3:35]}
                end = self._read(fields, frame, 35, message)
                if end != len(frame):
                    raise Malformed("bytes follow the message")
                return message
        raise Malformed(f"no message has kind {frame[2]}")

    def _read(self, fields, frame, at, into) -> int:
        for name, form in fields:
            into[name], at = self._read_field(form, frame, at)
        return at

    def _read_field(self, form, frame, at):
        def take(length):
            if at + length > len(frame):
                raise Malformed("the frame ends inside a field")
            return frame[at : at + length]

        def number(length):
            return int.from_bytes(take(length), "little")

        if isinstance(form, list):
            count, entries = number(2), []
            if count > self.members:
                raise Malformed("a list is too long")
            at += 2
            for _ in range(count):
                entry = {}
                at = self._read(form[0], frame, at, entry)
                entries.append(entry)
            return entries, at
        if form in NUMBERS:
            size = NUMBERS[form]
            value = number(size)
            if form == "node" and value >= self.members:
                raise Malformed("a node outside the roster")
            if form == "reason" and not 1 <= value <= 14:
                raise Malformed("an unknown reason")
            return value, at + size
        if form == "set":
            if number(2) != self.members:
                raise Malformed("a set over another roster")
            size = 2 + (self.members + 7) // 8
            bits = number(size) >> 16
            if bits >> self.members:
                raise Malformed("a set with nodes outside the roster")
            return frozenset(i for i in range(self.members) if bits >> i & 1), at + size
        if form == "chunk":
            size = number(4)
            if size > CHUNK_LANES * 4:
                raise Malformed("a chunk is too large")
            return take(4 + size)[4:], at + 4 + size
        if form == "own":
            flag = number(1)
            if flag > 1:
                raise Malformed("a flag is neither 0 nor 1")
            data = take(1 + 64 * flag)
            return ([data[1:33], data[33:]] if flag else None), at + len(data)
        return take(form), at + form

    def body(self, message) -> bytes:
        """What a message's signature covers: everything before it."""
        _, fields = (NODE | SERVER)[message["kind"]]
        end = [name for name, _ in fields].index("signature")
        return message["context"] + self.fields(fields[:end], message)

    def statement(self, message) -> bytes:
        """What the signature of a message is over."""
        kind, _ = (NODE | SERVER)[message["kind"]]
        return statement(kind, message["context"], self.body(message))

    def is_signed(self, message) -> bool:
        """Whether messages of this kind are signed as a whole."""
        _, fields = (NODE | SERVER)[message["kind"]]
        return ("signature", 64) in fields and message["kind"] != "EpochHello"

    def signed(self, signer, **message) -> dict:
        """A message with its signature."""
        return message | {"signature": signer.sign(self.statement(message))}

    def hello_statement(self, context: bytes, entry) -> bytes:
        """A hello is signed without its keys, and its context stands outside the body."""
        return statement(NODE["EpochHello"][0], context, self.fields(HELLO[:-1], entry))

    def kem_statement(self, transcript: bytes, parcel) -> bytes:
        """A parcel of the set-up is signed under the transcript."""
        return statement(KEM_PARCEL, transcript, self.fields(KEM[:-1], parcel))


def statement(kind: int, context: bytes, body: bytes) -> bytes:
    """The 32 bytes under a signature."""
    return H("signature", le(VERSION, 2), bytes([kind]), context, H("body", body))


def quorum_statement(context: bytes) -> bytes:
    """What a node signs to say that it is in a context."""
    return statement(CONTEXT_QUORUM, context, b"")
