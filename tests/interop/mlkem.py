"""ML-KEM-768 from the text of FIPS 203; numbers of algorithms and sections are that standard's.

Plain Python, not in constant time: for tests only.
"""

import hashlib
import os

Q, K, DU, DV = 3329, 3, 10, 4
KEY_BYTES, CIPHERTEXT_BYTES = 384 * K + 32, 32 * (DU * K + DV)


def _reversed7(i: int) -> int:
    return int(f"{i:07b}"[::-1], 2)


ZETAS = [pow(17, _reversed7(i), Q) for i in range(128)]
GAMMAS = [pow(17, 2 * _reversed7(i) + 1, Q) for i in range(128)]


def _g(data: bytes):
    digest = hashlib.sha3_512(data).digest()
    return digest[:32], digest[32:]


def _prf(seed: bytes, nonce: int) -> bytes:
    """PRF with eta = 2, which both noise distributions of ML-KEM-768 have."""
    return hashlib.shake_256(seed + bytes([nonce])).digest(128)


def _encode(values, d: int) -> bytes:
    """ByteEncode (algorithm 5)."""
    number = 0
    for at, value in enumerate(values):
        number |= value << (at * d)
    return number.to_bytes(32 * d, "little")


def _decode(data: bytes, d: int):
    """ByteDecode (algorithm 6), without the reduction modulo q of d = 12."""
    number = int.from_bytes(data, "little")
    return [number >> (at * d) & ((1 << d) - 1) for at in range(256)]


def _compress(values, d: int):
    return [((value << d) + Q // 2) // Q % (1 << d) for value in values]


def _decompress(values, d: int):
    return [(value * Q + (1 << (d - 1))) >> d for value in values]


def _sample_ntt(seed: bytes):
    """Algorithm 7, with as much of the stream as it happens to take."""
    length = 840
    while True:
        stream = hashlib.shake_128(seed).digest(length)
        out = []
        for at in range(0, length, 3):
            a, b, c = stream[at : at + 3]
            for value in (a | (b & 15) << 8, b >> 4 | c << 4):
                if value < Q:
                    out.append(value)
        if len(out) >= 256:
            return out[:256]
        length *= 2


def _sample_cbd(data: bytes):
    """Algorithm 8 with eta = 2."""
    out = []
    for byte in data:
        for nibble in (byte & 15, byte >> 4):
            out.append(((nibble & 1) + (nibble >> 1 & 1) - (nibble >> 2 & 1) - (nibble >> 3)) % Q)
    return out


def _ntt(values):
    """Algorithm 9."""
    f, i, length = list(values), 1, 128
    while length >= 2:
        for start in range(0, 256, 2 * length):
            zeta = ZETAS[i]
            i += 1
            for j in range(start, start + length):
                t = zeta * f[j + length] % Q
                f[j + length] = (f[j] - t) % Q
                f[j] = (f[j] + t) % Q
        length //= 2
    return f


def _inverse_ntt(values):
    """Algorithm 10."""
    f, i, length = list(values), 127, 2
    while length <= 128:
        for start in range(0, 256, 2 * length):
            zeta = ZETAS[i]
            i -= 1
            for j in range(start, start + length):
                t = f[j]
                f[j] = (t + f[j + length]) % Q
                f[j + length] = zeta * (f[j + length] - t) % Q
        length *= 2
    return [value * 3303 % Q for value in f]


def _multiply(f, g):
    """Algorithms 11 and 12."""
    out = []
    for i, gamma in enumerate(GAMMAS):
        a0, a1, b0, b1 = f[2 * i], f[2 * i + 1], g[2 * i], g[2 * i + 1]
        out += [(a0 * b0 + a1 * b1 * gamma) % Q, (a0 * b1 + a1 * b0) % Q]
    return out


def _added(*polynomials):
    return [sum(values) % Q for values in zip(*polynomials)]


def _product(row, column):
    return _added(*(_multiply(a, b) for a, b in zip(row, column, strict=True)))


def _matrix(rho: bytes):
    return [[_sample_ntt(rho + bytes([j, i])) for j in range(K)] for i in range(K)]


def key_pair(d: bytes | None = None, z: bytes | None = None):
    """Encapsulation and decapsulation key (algorithms 13 and 16)."""
    d, z = d or os.urandom(32), z or os.urandom(32)
    rho, sigma = _g(d + bytes([K]))
    matrix = _matrix(rho)
    s = [_ntt(_sample_cbd(_prf(sigma, i))) for i in range(K)]
    e = [_ntt(_sample_cbd(_prf(sigma, K + i))) for i in range(K)]
    t = [_added(_product(row, s), error) for row, error in zip(matrix, e)]
    key = b"".join(_encode(p, 12) for p in t) + rho
    secret = b"".join(_encode(p, 12) for p in s)
    return key, secret + key + hashlib.sha3_256(key).digest() + z


def is_key(key: bytes) -> bool:
    """The checks of section 7.2: length and modulus."""
    if len(key) != KEY_BYTES:
        return False
    return all(v < Q for i in range(K) for v in _decode(key[384 * i : 384 * i + 384], 12))


def _encrypt(key: bytes, message: bytes, randomness: bytes) -> bytes:
    """Algorithm 14."""
    t = [_decode(key[384 * i : 384 * i + 384], 12) for i in range(K)]
    matrix = _matrix(key[384 * K :])
    y = [_ntt(_sample_cbd(_prf(randomness, i))) for i in range(K)]
    e1 = [_sample_cbd(_prf(randomness, K + i)) for i in range(K)]
    e2 = _sample_cbd(_prf(randomness, 2 * K))
    columns = [[matrix[j][i] for j in range(K)] for i in range(K)]
    u = [_added(_inverse_ntt(_product(column, y)), e) for column, e in zip(columns, e1)]
    mu = _decompress(_decode(message, 1), 1)
    v = _added(_inverse_ntt(_product(t, y)), e2, mu)
    return b"".join(_encode(_compress(p, DU), DU) for p in u) + _encode(_compress(v, DV), DV)


def encapsulate(key: bytes, message: bytes | None = None):
    """Ciphertext and shared secret (algorithms 17 and 20), or `None` for a bad key."""
    if not is_key(key):
        return None
    message = message or os.urandom(32)
    secret, randomness = _g(message + hashlib.sha3_256(key).digest())
    return _encrypt(key, message, randomness), secret


def decapsulate(private: bytes, ciphertext: bytes) -> bytes:
    """The shared secret (algorithms 15 and 18); a wrong ciphertext gives another one."""
    secret, key = private[: 384 * K], private[384 * K : 384 * K + KEY_BYTES]
    key_hash, z = private[-64:-32], private[-32:]
    size = 32 * DU
    u = [_decompress(_decode(ciphertext[size * i : size * i + size], DU), DU) for i in range(K)]
    v = _decompress(_decode(ciphertext[size * K :], DV), DV)
    s = [_decode(secret[384 * i : 384 * i + 384], 12) for i in range(K)]
    back = _inverse_ntt(_product(s, [_ntt(p) for p in u]))
    w = [(a - b) % Q for a, b in zip(v, back)]
    message = _encode(_compress(w, 1), 1)
    shared, randomness = _g(message + key_hash)
    if _encrypt(key, message, randomness) != ciphertext:
        return hashlib.shake_256(z + ciphertext).digest(32)
    return shared
