"""The cryptographic building blocks: hash, key derivation, signatures, AES, Shamir.

Nothing here knows a message or a phase. Every length prefix is 8 bytes, little-endian.
"""

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ZERO = bytes(32)


def le(value: int, size: int) -> bytes:
    """A little-endian number of `size` bytes."""
    return value.to_bytes(size, "little")


def prefixed(label: str, parts) -> bytes:
    """Label and parts, each behind its length: input of every hash, info of every key."""
    return b"".join(le(len(part), 8) + part for part in [label.encode(), *parts])


def H(label: str, *parts: bytes) -> bytes:
    """The one hash of the protocol: SHA-256 over the length-prefixed label and parts."""
    return hashlib.sha256(prefixed(label, parts)).digest()


def expand(key: bytes, label: str, *parts: bytes) -> bytes:
    """HKDF-Expand (RFC 5869) to 32 bytes, which is one block of HMAC."""
    return hmac.digest(key, prefixed(label, parts) + b"\x01", "sha256")


def extract_and_expand(salt: bytes, secret: bytes, label: str, *parts: bytes) -> bytes:
    """HKDF-Extract, then `expand`."""
    return expand(hmac.digest(salt, secret, "sha256"), label, *parts)


def raw_public(key) -> bytes:
    """The 32 bytes of a public key."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


class Signer:
    """An Ed25519 identity from its 32-byte seed."""

    def __init__(self, seed: bytes):
        self.key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        self.public = raw_public(self.key.public_key())

    def sign(self, statement: bytes) -> bytes:
        return self.key.sign(statement)


def verify(public: bytes, statement: bytes, signature: bytes) -> bool:
    """Whether an Ed25519 signature is that of a key."""
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, statement)
        return True
    except (InvalidSignature, ValueError):
        return False


class Exchange:
    """A fresh X25519 key pair."""

    def __init__(self):
        self.key = x25519.X25519PrivateKey.generate()
        self.public = raw_public(self.key.public_key())

    def agree(self, peer: bytes):
        """The shared secret; `None` for a key of small order."""
        try:
            secret = self.key.exchange(x25519.X25519PublicKey.from_public_bytes(peer))
        except ValueError:
            return None
        return secret if any(secret) else None


def seal(key: bytes, nonce: bytes, plain: bytes, associated: bytes) -> bytes:
    """AES-256-GCM: nonce, ciphertext and tag."""
    return nonce + AESGCM(key).encrypt(nonce, plain, associated)


def unseal(key: bytes, sealed: bytes, associated: bytes):
    """What `seal` sealed, or `None`."""
    try:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], associated)
    except InvalidTag:
        return None


def key_stream(key: bytes, first: int, length: int) -> bytes:
    """Bytes `first ..` of AES-256-CTR from an all-zero counter block."""
    counter, inside = divmod(first, 16)
    encryptor = Cipher(algorithms.AES(key), modes.CTR(counter.to_bytes(16, "big"))).encryptor()
    return encryptor.update(bytes(inside + length))[inside:]


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def _tables():
    """Logarithms of GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, to the generator x + 1."""
    powers, logarithms, value = [], {}, 1
    for exponent in range(255):
        powers.append(value)
        logarithms[value] = exponent
        value ^= (value << 1) ^ (0x11B if value & 0x80 else 0)
    return powers, logarithms


_POWERS, _LOGARITHMS = _tables()


def times(a: int, b: int) -> int:
    """Product in GF(2^8)."""
    if a == 0 or b == 0:
        return 0
    return _POWERS[(_LOGARITHMS[a] + _LOGARITHMS[b]) % 255]


def divided(a: int, b: int) -> int:
    """Quotient in GF(2^8); `b` is not zero."""
    return 0 if a == 0 else _POWERS[(_LOGARITHMS[a] - _LOGARITHMS[b]) % 255]


def share(secret: bytes, coefficients, slot: int) -> bytes:
    """The polynomial with the secret as constant term at `slot`, byte by byte.

    `coefficients[i]` belongs to the power `i + 1`.
    """
    out = bytearray(secret)
    power = 1
    for coefficient in coefficients:
        power = times(power, slot)
        for at, byte in enumerate(coefficient):
            out[at] ^= times(byte, power)
    return bytes(out)


def opened(slots, shares) -> bytes:
    """Lagrange interpolation at zero."""
    if 0 in slots or len(set(slots)) != len(slots) or not slots:
        raise ValueError("a slot is zero or named twice")
    out = bytearray(32)
    for slot, value in zip(slots, shares, strict=True):
        weight = 1
        for other in slots:
            if other != slot:
                weight = times(weight, divided(other, other ^ slot))
        for at, byte in enumerate(value):
            out[at] ^= times(byte, weight)
    return bytes(out)
