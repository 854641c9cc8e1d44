"""How late the steps were: counts in buckets that double in width, kept over the life of a real-time process.

Owns the buckets and what can be said from them. Bucket 0 holds what was less than 1 us late, bucket k what was at least
2 to the power of k-1 and less than 2 to the power of k microseconds; the last one holds all that was later.
"""

from collections.abc import Iterable, Sequence
from typing import Final

BUCKETS: Final = 24
"""The last bucket begins at 4.2 s, beyond any limit on lateness."""


def counted(late_ns: Iterable[int]) -> list[int]:
    """Return how many of `late_ns` (ns; before time counts as in time) fall into each bucket."""
    counts = [0] * BUCKETS
    for late in late_ns:
        counts[min((max(0, late) // 1000).bit_length(), BUCKETS - 1)] += 1
    return counts


def most_us(counts: Sequence[int], share: float) -> int:
    """Return by how many microseconds at most `share` (0 ... 1) of all steps were late; -1 where none was counted.

    An upper bound, up to twice the figure itself: the end of the bucket in which it lies.
    """
    wanted = share * sum(counts)
    seen = 0
    for bucket, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return 1 << bucket
    return -1
