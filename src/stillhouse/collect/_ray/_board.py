"""What all workers have done so far, as one display shows it."""

from collections.abc import Mapping

from stillhouse.runlog import Progress

_RATE_LIMITED = "collect/num_rate_limited"  # of a worker since it started, not of a shard
_ADDED = ("collect/completion_tokens", "collect/cost_usd")


class Board:
    """Adds up the shards that are done and those under way.

    Attributes:
        num_settled: Requests that are answered or given up, those known before included.
    """

    def __init__(self) -> None:
        self.num_settled = 0
        self._done: dict[str, float] = dict.fromkeys(_ADDED, 0.0)
        self._current: dict[str, Progress] = {}
        self._rate_limited: dict[str, float] = {}
        self._is_unpriced = False

    def note(self, worker: str, progress: Progress | None) -> None:
        """Take in where a worker's shard stands."""
        if progress is not None:
            self._current[worker] = progress
            self._note_metrics(worker, progress.metrics)

    def close_shard(self, worker: str, num_settled: int, metrics: Mapping[str, float]) -> None:
        """Count a shard as it ended."""
        self._current.pop(worker, None)
        self.num_settled += num_settled
        self._note_metrics(worker, metrics)
        for name in _ADDED:
            self._done[name] += metrics.get(name, 0.0)

    def drop_shard(self, worker: str) -> None:
        """Forget what a worker that is gone said of its shard: its ledger tells."""
        self._current.pop(worker, None)

    @property
    def num_done(self) -> int:
        """Requests settled, those of shards under way included."""
        return self.num_settled + sum(progress.done for progress in self._current.values())

    def metrics(self, elapsed_s: float) -> dict[str, float]:
        """Under the names of the metrics log."""
        shown = {
            name: self._done[name]
            + sum(progress.metrics.get(name, 0.0) for progress in self._current.values())
            for name in _ADDED
        }
        if self._is_unpriced:
            del shown["collect/cost_usd"]
        shown[_RATE_LIMITED] = sum(self._rate_limited.values())
        shown["collect/tokens_per_s"] = shown["collect/completion_tokens"] / max(elapsed_s, 1e-9)
        return shown

    def _note_metrics(self, worker: str, metrics: Mapping[str, float]) -> None:
        if _RATE_LIMITED in metrics:
            self._rate_limited[worker] = metrics[_RATE_LIMITED]
        if metrics and "collect/cost_usd" not in metrics:
            self._is_unpriced = True
