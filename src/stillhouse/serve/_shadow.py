"""Shadow mode: another student reads each request after its answer, and is compared.

It never changes what a client gets. It works only while the live student has nothing to do; what it
has no time for is dropped and counted.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from stillhouse.cascade import CascadeRule, Route
from stillhouse.graders import Grader
from stillhouse.serve._ask import Ask
from stillhouse.serve._drafts import Draft, Student
from stillhouse.serve._figures import Figure
from stillhouse.statistics import (
    Interval,
    PairedCounts,
    betting_interval,
    fraction_interval,
    tango_interval,
)

logger = logging.getLogger(__name__)

Kind = Literal["audited", "escalated", "alone"]

_MOST_WAITING = 256
_MOST_KEPT = 5_000  # graded scores of one kind, the latest: their intervals take all of them
_IDLE_S = 0.002  # between two looks whether the live student is busy


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that was answered.

    Attributes:
        ask: What was asked.
        live: What the live student drafted.
        route: Who answered.
        kind: `audited` where chance had the teacher asked: such requests stand for all. Else
            `escalated` where the live rule did, and `alone` where the teacher was not asked.
        told: The teacher's answer; None where the task does not allow it.
        is_told: Whether the teacher answered.
    """

    ask: Ask
    live: Draft
    route: Route
    kind: Kind = "alone"
    told: str | None = None
    is_told: bool = False


@dataclass(slots=True)
class _Pairs:
    """Scores of the live student and the candidate against the teacher, of one kind of requests."""

    counts: dict[tuple[bool, bool], int] = field(default_factory=dict)
    live: "deque[float]" = field(default_factory=lambda: deque(maxlen=_MOST_KEPT))
    candidate: "deque[float]" = field(default_factory=lambda: deque(maxlen=_MOST_KEPT))
    n: int = 0

    def add(self, live: float, candidate: float, *, is_binary: bool) -> None:
        self.n += 1
        if is_binary:
            key = (bool(live), bool(candidate))
            self.counts[key] = self.counts.get(key, 0) + 1
        else:
            self.live.append(live)
            self.candidate.append(candidate)

    def document(self, *, is_binary: bool) -> dict[str, Any]:
        if not self.n:
            return {"n": 0}
        return self._binary() if is_binary else self._graded()

    def _binary(self) -> dict[str, Any]:
        both, only_live = self.counts.get((True, True), 0), self.counts.get((True, False), 0)
        only_candidate = self.counts.get((False, True), 0)
        neither = self.counts.get((False, False), 0)
        pairs = PairedCounts(both, only_candidate, only_live, neither)
        return {
            "n": pairs.n,
            "both": both,
            "only_live": only_live,
            "only_candidate": only_candidate,
            "neither": neither,
            "live": _told(fraction_interval(both + only_live, pairs.n)),
            "candidate": _told(fraction_interval(both + only_candidate, pairs.n)),
            "difference": _told(tango_interval(pairs)),
        }

    def _graded(self) -> dict[str, Any]:
        pairs = list(zip(list(self.live), list(self.candidate), strict=False))
        live_N, candidate_N = (np.array(column) for column in zip(*pairs, strict=True))
        # Betting is for scores in [0, 1]: the difference is moved there and back.
        moved = betting_interval((1 + candidate_N - live_N) / 2)
        ends = (2 * moved.value - 1, 2 * moved.low - 1, 2 * moved.high - 1)
        return {
            "n": self.n,
            "n_latest": len(pairs),
            "live": _told(betting_interval(live_N)),
            "candidate": _told(betting_interval(candidate_N)),
            "difference": dict(zip(("value", "low", "high"), ends, strict=True)),
        }


class Shadow:
    """A candidate that reads along; use it within one event loop.

    Args:
        candidate: Drafts answers; closed with it.
        grader: Scores an answer against the teacher's.
        is_live_busy: Whether the live student has work.
        rule: By which the candidate would answer, where it is a cascade.
        version: Of the candidate, for the report.
    """

    def __init__(
        self,
        candidate: Student,
        grader: Grader,
        *,
        is_live_busy: Callable[[], bool],
        rule: CascadeRule | None = None,
        version: str = "",
    ) -> None:
        self._candidate = candidate
        self._grader = grader
        self._is_live_busy = is_live_busy
        self._rule = rule
        self._version = version
        self._waiting: deque[Answered] = deque()
        self._work: asyncio.Task[None] | None = None
        self._pairs: dict[Kind, _Pairs] = {"audited": _Pairs(), "escalated": _Pairs()}
        self._num_same = self._num_compared = 0
        self._num_read = self._num_covered = self._num_dropped = self._num_failed = 0
        self._losses: deque[float] = deque(maxlen=_MOST_KEPT)

    def take(self, seen: Answered) -> None:
        """Have a request read when there is time; it returns at once."""
        if self._candidate.refuses(seen.ask) is not None:
            return
        if len(self._waiting) >= _MOST_WAITING:
            self._num_dropped += 1
            return
        self._waiting.append(seen)
        if self._work is None:
            # Beside the request: what the candidate notes is nothing of what the client gets.
            work = self._read_all()
            self._work = asyncio.get_running_loop().create_task(work, context=Context())

    def figures(self) -> list[Figure]:
        """For the metrics."""
        name = "stillhouse_shadow"
        found = [
            Figure(f"{name}_requests_total", self._num_read, {"outcome": "read"}),
            Figure(f"{name}_requests_total", self._num_dropped, {"outcome": "dropped"}),
            Figure(f"{name}_requests_total", self._num_failed, {"outcome": "failed"}),
            Figure(f"{name}_live_compared_total", self._num_compared),
            Figure(f"{name}_live_same_total", self._num_same),
        ]
        for kind, pairs in self._pairs.items():
            found.append(Figure(f"{name}_teacher_compared_total", pairs.n, {"kind": kind}))
            for (live, candidate), number in sorted(pairs.counts.items()):
                labels = {"kind": kind, "live": _word(live), "candidate": _word(candidate)}
                found.append(Figure(f"{name}_pairs_total", number, labels))
        return found

    def report(self) -> dict[str, Any]:
        """The paired comparison so far, with 95 % intervals for a look at one moment."""
        is_binary = self._grader.is_binary
        document: dict[str, Any] = {
            "object": "shadow",
            "candidate": self._candidate.name,
            "version": self._version,
            "read": self._num_read,
            "dropped": self._num_dropped,
            "failed": self._num_failed,
            "against_teacher": {
                kind: pairs.document(is_binary=is_binary) for kind, pairs in self._pairs.items()
            },
            "against_live": {"n": self._num_compared, "same": self._num_same},
        }
        if self._num_compared:
            same = fraction_interval(self._num_same, self._num_compared)
            document["against_live"]["agreement"] = _told(same)
        if self._rule is not None:
            document["as_cascade"] = self._as_cascade(self._rule)
        return document

    async def close(self) -> None:
        """Read nothing more, and let the candidate go; may be called twice."""
        self._waiting.clear()
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        await self._candidate.close()

    def _as_cascade(self, rule: CascadeRule) -> dict[str, Any]:
        """What it would answer by its own rule, and how unlike the teacher over all requests."""
        found: dict[str, Any] = {"target": rule.target, "read": self._num_read}
        if self._num_read:
            found["coverage"] = _told(fraction_interval(self._num_covered, self._num_read))
        if losses := list(self._losses):
            is_binary = self._grader.is_binary
            loss = (
                fraction_interval(round(sum(losses)), len(losses))
                if is_binary
                else betting_interval(np.array(losses))
            )
            found["audited_loss"] = {"n": len(losses), **_told(loss)}
        return found

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                while self._is_live_busy():
                    await asyncio.sleep(_IDLE_S)
                seen = self._waiting.popleft()
                try:
                    draft = await self._candidate.draft(seen.ask)
                    self._compare(seen, draft)
                except Exception as err:  # nobody waits for it, and it must not end the server
                    self._num_failed += 1
                    logger.warning("the shadow did not read a request: %s", err)
        finally:
            self._work = None

    def _compare(self, seen: Answered, draft: Draft) -> None:
        self._num_read += 1
        answers = True
        if self._rule is not None:
            answers = self._rule.decide(draft.confidence, draft.novelty).route == "student"
            self._num_covered += answers
        if not seen.is_told:
            self._num_compared += 1
            self._num_same += draft.answer == seen.live.answer
            return
        live, candidate = self._score(seen.live, seen.told), self._score(draft, seen.told)
        self._pairs[seen.kind].add(live, candidate, is_binary=self._grader.is_binary)
        if seen.kind == "audited" and self._rule is not None:
            self._losses.append(1.0 - candidate if answers else 0.0)

    def _score(self, draft: Draft, told: str | None) -> float:
        """What the teacher cannot answer validly, nobody answers alike, as in certify."""
        if told is None or draft.answer is None:
            return 0.0
        return self._grader.score(draft.answer, told)


def _word(is_right: bool) -> str:
    return "agrees" if is_right else "differs"


def _told(interval: Interval) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
