"""Thresholds and the graph: who is whose neighbour, and in which slot a share lies.

The thresholds are computed with whole numbers and exact fractions, where the library uses floats
in a fixed order. A bound that is met exactly counts as exceeded.
"""

from fractions import Fraction
from math import ceil, comb

from primitives import H, le

MOST_COMPLETE, MOST, MOST_DEGREE = 128, 2000, 254
FIELDS = ("n", "corrupt", "quorum", "shamir_t", "u_min", "degree")


def exceeded_at_most(n: int, marked: int, draws: int, bound: Fraction) -> int:
    """The least q such that more than q of `draws` are marked with probability below `bound`."""
    marked = min(marked, n)
    limit = bound * comb(n, draws)
    tail = 0
    for q in range(min(draws, marked), 0, -1):
        tail += comb(marked, q) * comb(n - marked, draws - q)
        if tail >= limit:
            return q
    return 0


def least_shamir_t(n: int, corrupt: int, degree: int) -> int:
    """Three terms and 2; the graph fails with 2^-47, half of it for either kind of window."""
    bound = Fraction(1, n << 48)
    q_k = exceeded_at_most(n, corrupt, degree, bound)
    q_half = exceeded_at_most(n, corrupt, degree // 2, bound)
    both_kinds = ceil((q_k + degree - Fraction(5, 4)) / 2)
    return max(q_k, degree // 2 + q_half, both_kinds) + 2


def solve(n: int, gamma: str, delta: str, floor: int) -> dict | None:
    """The thresholds of a job, fractions as decimal text; `None` if there are none."""
    corrupt = ceil(Fraction(gamma) * n)
    quorum = (n + corrupt) // 2 + 1
    u_min = max(quorum, floor, ceil((1 - Fraction(delta)) * n))
    found = {"n": n, "corrupt": corrupt, "quorum": quorum, "u_min": u_min}
    if u_min > n:
        return None
    if n <= MOST_COMPLETE:
        found |= {"shamir_t": quorum, "degree": n - 1}
        return found if check(found) else None
    bound = Fraction(1, n << 20)
    for degree in range(2, min(MOST_DEGREE, n - 2) + 1, 2):
        shamir_t = least_shamir_t(n, corrupt, degree)
        if shamir_t + exceeded_at_most(n, n - u_min, degree, bound) <= degree:
            found |= {"shamir_t": shamir_t, "degree": degree}
            return found if check(found) else None
    return None


def check(t: dict) -> bool:
    """Whether thresholds protect the nodes."""
    n, degree = t["n"], t["degree"]
    complete = degree == n - 1
    sound = (
        t["u_min"] <= n
        and t["quorum"] >= (n + t["corrupt"]) // 2 + 1
        and t["u_min"] >= t["quorum"]
        and t["u_min"] >= t["corrupt"] + 2
    )
    if complete:
        return sound and 2 <= n <= MOST_COMPLETE and t["quorum"] <= t["shamir_t"] <= t["u_min"]
    is_degree = 2 <= degree <= MOST_DEGREE and degree % 2 == 0 and degree + 1 < n
    if not (sound and is_degree and 4 <= n <= MOST):
        return False
    return least_shamir_t(n, t["corrupt"], degree) <= t["shamir_t"] <= degree


def thresholds_bytes(t: dict) -> bytes:
    return b"".join(le(t[name], 2) for name in FIELDS)


def _words(coin: bytes):
    counter = 0
    while True:
        block = H("graph", coin, le(counter, 8))
        counter += 1
        for at in range(0, 32, 4):
            yield int.from_bytes(block[at : at + 4], "little")


def ring(n: int, coin: bytes) -> list[int]:
    """The nodes in the order of their places: Fisher and Yates from the end."""
    nodes, words = list(range(n)), _words(coin)
    for i in range(n - 1, 0, -1):
        m = i + 1
        word = next(words)
        while word >= (1 << 32) // m * m:
            word = next(words)
        j = word % m
        nodes[i], nodes[j] = nodes[j], nodes[i]
    return nodes


class Graph:
    """Neighbours, holders of shares and their slots."""

    def __init__(self, thresholds: dict, coin: bytes):
        self.n, self.degree = thresholds["n"], thresholds["degree"]
        self.complete = self.degree == self.n - 1
        if not self.complete:
            self.ring = ring(self.n, coin)
            self.places = {node: place for place, node in enumerate(self.ring)}

    def slot(self, dealer: int, holder: int) -> int | None:
        """The slot of a holder's share; 1 to k/2 before the dealer, k/2 + 1 to k behind it."""
        if self.complete:
            return holder + 1
        half = self.degree // 2
        after = (self.places[holder] - self.places[dealer]) % self.n
        if 1 <= after <= half:
            return half + after
        if self.n - half <= after < self.n:
            return after - (self.n - half) + 1
        return None

    def peers(self, node: int) -> frozenset:
        others = (other for other in range(self.n) if other != node)
        return frozenset(o for o in others if self.complete or self.slot(node, o) is not None)

    def holders(self, dealer: int) -> frozenset:
        """Who holds shares of a dealer; in the complete graph the dealer does too."""
        return self.peers(dealer) | ({dealer} if self.complete else set())
