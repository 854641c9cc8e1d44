"""The one way in which the commands sum up timings."""

from collections.abc import Sequence


def percentile(values: Sequence[int], percent: int) -> int:
    """Return the nearest-rank percentile of sorted values; -1 without any."""
    if not values:
        return -1
    return values[max(0, -(-len(values) * percent // 100) - 1)]
