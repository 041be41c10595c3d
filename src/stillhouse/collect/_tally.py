"""What the answers of a collection came to."""

import time

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


class _Sums:
    """Of the answers of one teacher that ended the same way; one is added per answer."""

    __slots__ = ("cost_usd", "num", *_TOKENS)

    def __init__(self) -> None:
        self.num = 0
        self.cost_usd: float | None = 0.0
        self.prompt_tokens = self.completion_tokens = self.cached_prompt_tokens = 0
        self.cache_write_tokens = self.reasoning_tokens = self.audio_tokens = 0

    def add(self, usage: Usage) -> None:
        self.num += 1
        self.cost_usd = _sum(self.cost_usd, usage.cost_usd)
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.cached_prompt_tokens += usage.cached_prompt_tokens
        self.cache_write_tokens += usage.cache_write_tokens
        self.reasoning_tokens += usage.reasoning_tokens
        self.audio_tokens += usage.audio_tokens


class Tally:
    """Sums over answers; a single unknown price makes the whole cost unknown.

    Attributes:
        models: What the endpoints say answered.
    """

    def __init__(self) -> None:
        self.models: set[str] = set()
        self._sums: dict[_Key, _Sums] = {}

    def add(self, teacher: str, answer: Answer) -> None:
        """Count one answer."""
        self.models.add(answer.model)
        key = teacher, answer.finish_reason
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = _Sums()
        sums.add(answer.usage)

    def outcomes(self) -> list[OutcomeRow]:
        """By teacher and finish reason."""
        return [
            OutcomeRow(
                teacher=key[0],
                finish_reason=key[1],
                num_completions=sums.num,
                prompt_tokens=sums.prompt_tokens,
                completion_tokens=sums.completion_tokens,
                cost_usd=sums.cost_usd,
            )
            for key, sums in sorted(self._sums.items())
        ]

    def total(self, seconds: float) -> Usage:
        """All together."""
        cost_usd: float | None = 0.0
        for sums in self._sums.values():
            cost_usd = _sum(cost_usd, sums.cost_usd)
        tokens = {name: sum(getattr(s, name) for s in self._sums.values()) for name in _TOKENS}
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
