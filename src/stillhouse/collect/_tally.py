"""What the answers of a collection came to."""

import time
from collections import Counter

from stillhouse.records import Record, Usage
from stillhouse.runlog import Answer

_TOKENS = (
    "prompt_tokens",
    "completion_tokens",
    "cached_prompt_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "audio_tokens",
)
"""The counted fields of `Usage`."""

_Key = tuple[str, str]


class OutcomeRow(Record):
    """How the calls of one teacher ended that ended the same way."""

    teacher: str
    finish_reason: str
    num_completions: int
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    """None where the price of one of them is unknown."""


class Tally:
    """Sums over answers; a single unknown price makes the whole cost unknown.

    Attributes:
        models: What the endpoints say answered.
    """

    def __init__(self) -> None:
        self.models: set[str] = set()
        self._num: Counter[_Key] = Counter()
        self._tokens: dict[_Key, Counter[str]] = {}
        self._cost_usd: dict[_Key, float | None] = {}

    def add(self, teacher: str, answer: Answer) -> None:
        """Count one answer."""
        usage, key = answer.usage, (teacher, answer.finish_reason)
        self.models.add(answer.model)
        self._num[key] += 1
        tokens = self._tokens.setdefault(key, Counter())
        for name in _TOKENS:
            tokens[name] += getattr(usage, name)
        self._cost_usd[key] = _sum(self._cost_usd.get(key, 0.0), usage.cost_usd)

    def outcomes(self) -> list[OutcomeRow]:
        """By teacher and finish reason."""
        return [
            OutcomeRow(
                teacher=key[0],
                finish_reason=key[1],
                num_completions=num,
                prompt_tokens=self._tokens[key]["prompt_tokens"],
                completion_tokens=self._tokens[key]["completion_tokens"],
                cost_usd=self._cost_usd[key],
            )
            for key, num in sorted(self._num.items())
        ]

    def total(self, seconds: float) -> Usage:
        """All together."""
        cost_usd: float | None = 0.0
        for cost in self._cost_usd.values():
            cost_usd = _sum(cost_usd, cost)
        tokens = sum(self._tokens.values(), Counter[str]())
        return Usage(**tokens, cost_usd=cost_usd, seconds=seconds)


def _sum(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a + b


def tally_metrics(tally: Tally, started_s: float) -> dict[str, float]:
    """What to show beside the progress; `started_s` is of `time.monotonic`."""
    usage = tally.total(0.0)
    seconds = max(time.monotonic() - started_s, 1e-9)
    shown: dict[str, float] = {
        "collect/completion_tokens": usage.completion_tokens,
        "collect/tokens_per_s": usage.completion_tokens / seconds,
    }
    if usage.cost_usd is not None:
        shown["collect/cost_usd"] = usage.cost_usd
    return shown
