"""Vectors of lanes: packing, hashes and roots, masks.

A lane is a number modulo 2^bits. The mask stream is read in 2-byte words up to 16 bits a lane and
in 4-byte words above; only the lowest bits of a word count.
"""

from codec import CHUNK_LANES
from primitives import H, key_stream, le

MASKED, SUM = 1, 2


def pack(bits: int, lanes) -> bytes:
    """`bits` bits a lane, first lane lowest; unused bits at the end are zero.

    Eight lanes fill exactly `bits` bytes.
    """
    out, mask = [], (1 << bits) - 1
    for start in range(0, len(lanes), 8):
        number = sum((lane & mask) << (i * bits) for i, lane in enumerate(lanes[start : start + 8]))
        out.append(le(number, bits))
    return b"".join(out)[: (len(lanes) * bits + 7) // 8]


def unpack(bits: int, length: int, data: bytes):
    """What `pack` wrote, or `None`."""
    if len(data) != (length * bits + 7) // 8:
        return None
    out, mask = [], (1 << bits) - 1
    for start in range(0, len(data), bits):
        number = int.from_bytes(data[start : start + bits], "little")
        out += [number >> (i * bits) & mask for i in range(8)]
    return None if any(out[length:]) else out[:length]


def chunks(bits: int, lanes) -> list[bytes]:
    """The packed chunks of a vector."""
    return [pack(bits, lanes[at : at + CHUNK_LANES]) for at in range(0, len(lanes), CHUNK_LANES)]


def root(kind: int, context: bytes, bits: int, length: int, packed) -> bytes:
    """Root of a vector given by its packed chunks."""
    hashes = (
        H("chunk", bytes([kind]), context, le(index, 8), data) for index, data in enumerate(packed)
    )
    return H("vector root", bytes([kind, bits]), context, le(length, 8), *hashes)


def vector_root(kind: int, context: bytes, bits: int, lanes) -> bytes:
    return root(kind, context, bits, len(lanes), chunks(bits, lanes))


def mask(key: bytes, size: int, first: int, length: int) -> list[int]:
    """Words `first ..` of a mask stream, `size` bytes each."""
    stream = key_stream(key, first * size, length * size)
    return [int.from_bytes(stream[at : at + size], "little") for at in range(0, len(stream), size)]


def word_bytes(bits: int) -> int:
    return 2 if bits <= 16 else 4


def masked(bits: int, lanes, masks) -> list[int]:
    """The lanes with the streams of `(key, sign)` added, modulo 2^bits."""
    out = list(lanes)
    for key, sign in masks:
        stream = mask(key, word_bytes(bits), 0, len(out))
        out = [(lane + sign * word) % (1 << bits) for lane, word in zip(out, stream)]
    return out
