"""An endpoint and what asking it costs: what online calls and batches have in common."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from stillhouse.records import Usage
from stillhouse.teachers._dialects import Dialect, Quirks
from stillhouse.teachers._transport import Timeouts

LONGEST_DELAY_S = 30.0
"""Between two tries of one call, where the endpoint asks for no wait."""

_BASE_DELAY_S = 0.5


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model at an address, and how to ask it.

    Attributes:
        provider: The name that messages and prices use.
        base_url: What the dialect's path follows, without a slash at the end.
        model: As the endpoint knows it.
        dialect: What it speaks.
        api_key: Sent to that address only; never shown.
        key_variable: Where the key came from, for messages.
        quirks: Where it differs from other hosts of its dialect.
        is_streamed: Whether answers are asked for piece by piece: long ones survive proxies so.
        timeouts: How long to wait for each try.
        deadline_s: For one request with its waits and repeats; None waits as long as it takes.
    """

    provider: str
    base_url: str
    model: str
    dialect: Dialect
    api_key: str | None = None
    key_variable: str | None = None
    quirks: Quirks = field(default_factory=Quirks)
    is_streamed: bool = False
    timeouts: Timeouts = field(default_factory=Timeouts)
    deadline_s: float | None = None

    def without_key(self, text: str) -> str:
        """A text of the endpoint's, which may repeat the key."""
        return text.replace(self.api_key, "***") if self.api_key else text

    def __repr__(self) -> str:
        return f"Endpoint({self.provider}, {self.base_url}, {self.model})"


CostOf = Callable[[Usage], float | None]
"""What a call with this usage costs, None where no price is known."""


WorstCostOf = Callable[[int, int], float | None]
"""What a call costs at most with so many prompt tokens and so many of the completion."""


def priced(usage: Usage, cost_of: CostOf, *, seconds: float = 0.0) -> Usage:
    """A usage with its time, and its cost unless the endpoint said it; None where unknown."""
    cost_usd = usage.cost_usd
    if cost_usd is None and is_told(usage):
        cost_usd = cost_of(usage)
    return usage.model_copy(update={"cost_usd": cost_usd, "seconds": seconds})


def is_told(usage: Usage) -> bool:
    """Whether the endpoint said what it counted: a stream may end before it does."""
    return bool(usage.prompt_tokens or usage.completion_tokens)


def backoff_s(rng: random.Random, num_failures: int) -> float:
    """How long to wait after so many failures: exponential, with full jitter."""
    return rng.uniform(0.0, min(LONGEST_DELAY_S, _BASE_DELAY_S * 2.0 ** (num_failures - 1)))
