"""Several measurements of one thing as one entry."""

import statistics
from collections.abc import Sequence


def spread(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Smallest, median and largest."""
    return {
        "min": round(min(values), digits),
        "median": round(statistics.median(values), digits),
        "max": round(max(values), digits),
    }
