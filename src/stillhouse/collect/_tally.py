"""What the answers of a collection came to."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from stillhouse.records import Record, Usage
from stillhouse.runlog import Answer


class OutcomeRow(Record):
    """How the calls of one teacher ended that ended the same way."""

    teacher: str
    finish_reason: str
    num_completions: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    """None where the price of one of them is unknown."""


@dataclass
class Tally:
    """Sums over answers; a single unknown price makes the whole cost unknown."""

    num_answers: int = 0
    models: set[str] = field(default_factory=set)
    _rows: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    _unpriced: set[tuple[str, str]] = field(default_factory=set)

    def add(self, teacher: str, answer: Answer) -> None:
        """Count one answer."""
        usage = answer.usage
        self.num_answers += 1
        self.models.add(answer.model)
        key = (teacher, answer.finish_reason)
        row = self._rows.setdefault(key, [0, 0, 0, 0, 0, 0, 0, 0.0])
        counted = (
            1,
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_prompt_tokens,
            usage.cache_write_tokens,
            usage.reasoning_tokens,
            usage.audio_tokens,
            usage.cost_usd or 0.0,
        )
        for index, value in enumerate(counted):
            row[index] += value
        if usage.cost_usd is None:
            self._unpriced.add(key)

    def outcomes(self) -> list[OutcomeRow]:
        """By teacher and finish reason."""
        return [
            OutcomeRow(
                teacher=teacher,
                finish_reason=reason,
                num_completions=int(row[0]),
                prompt_tokens=int(row[1]),
                completion_tokens=int(row[2]),
                cost_usd=None if (teacher, reason) in self._unpriced else row[-1],
            )
            for (teacher, reason), row in sorted(self._rows.items())
        ]

    def total(self, seconds: float) -> Usage:
        """All together."""
        sums = [sum(column) for column in zip(*self._rows.values(), strict=True)] or [0.0] * 8
        return Usage(
            prompt_tokens=int(sums[1]),
            completion_tokens=int(sums[2]),
            cached_prompt_tokens=int(sums[3]),
            cache_write_tokens=int(sums[4]),
            reasoning_tokens=int(sums[5]),
            audio_tokens=int(sums[6]),
            cost_usd=None if self._unpriced else sums[7],
            seconds=seconds,
        )

    def metrics(self, started_s: float) -> dict[str, float]:
        """What to show beside the progress; `started_s` is of `time.monotonic`."""
        usage = self.total(0.0)
        seconds = max(time.monotonic() - started_s, 1e-9)
        shown: dict[str, float] = {
            "collect/completion_tokens": usage.completion_tokens,
            "collect/tokens_per_s": usage.completion_tokens / seconds,
        }
        if usage.cost_usd is not None:
            shown["collect/cost_usd"] = usage.cost_usd
        return shown


def merged(tallies: Iterable[Tally]) -> Tally:
    """Several tallies as one."""
    whole = Tally()
    for tally in tallies:
        whole.num_answers += tally.num_answers
        whole.models |= tally.models
        whole._unpriced |= tally._unpriced
        for key, row in tally._rows.items():
            known = whole._rows.setdefault(key, [0] * len(row))
            whole._rows[key] = [a + b for a, b in zip(known, row, strict=True)]
    return whole
