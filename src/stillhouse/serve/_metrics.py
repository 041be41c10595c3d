"""What a server did, in Prometheus' text format."""

from bisect import bisect_left
from collections import Counter, defaultdict

_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counts of requests by path and status, and how long they took.

    Source: the exposition format of prometheus.io, version 0.0.4.
    """

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(_BOUNDS_S) + 1))
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def count(self, path: str, status: str, seconds: float) -> None:
        """A request has ended; `status` is `left` where its caller went away."""
        self._requests[path, status] += 1
        self._buckets[path][bisect_left(_BOUNDS_S, seconds)] += 1
        self._seconds[path] += seconds

    def page(self, num_running: int) -> str:
        """All of it as text."""
        lines = ["# TYPE stillhouse_requests_total counter"]
        for (path, status), number in sorted(self._requests.items()):
            lines.append(f'stillhouse_requests_total{{path="{path}",status="{status}"}} {number}')
        lines.append("# TYPE stillhouse_request_seconds histogram")
        for path, counts in sorted(self._buckets.items()):
            lines += _histogram(path, counts, self._seconds[path])
        lines.append("# TYPE stillhouse_answers_running gauge")
        lines.append(f"stillhouse_answers_running {num_running}")
        return "\n".join(lines) + "\n"


def _histogram(path: str, counts: list[int], seconds: float) -> list[str]:
    name, total, lines = "stillhouse_request_seconds", 0, []
    for bound, number in zip([*map(str, _BOUNDS_S), "+Inf"], counts, strict=True):
        total += number
        lines.append(f'{name}_bucket{{path="{path}",le="{bound}"}} {total}')
    lines.append(f'{name}_sum{{path="{path}"}} {seconds:.6f}')
    lines.append(f'{name}_count{{path="{path}"}} {total}')
    return lines
