"""An account's limits: leaky buckets, 429s, and the headers that say what is left."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tests.mock_provider.errors import ApiError
from tests.mock_provider.settings import Limits


@dataclass(slots=True)
class Bucket:
    """Holds `limit * burst_s / 60` when full and fills at `limit` a minute."""

    limit: float
    burst_s: float
    now_s: float
    level: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.capacity

    @property
    def capacity(self) -> float:
        """What it holds when full: one request at least."""
        return max(1.0, self.limit * self.burst_s / 60)

    def fill(self, now_s: float) -> None:
        """Let time pass."""
        self.level = min(self.capacity, self.level + (now_s - self.now_s) * self.limit / 60)
        self.now_s = now_s

    def resize(self, limit: float, burst_s: float) -> None:
        """Change the limit; what is over is lost."""
        self.limit, self.burst_s = limit, burst_s
        self.level = min(self.level, self.capacity)

    def wait_s(self, amount: float) -> float:
        """Seconds until it holds `amount`."""
        return max(0.0, (amount - self.level) * 60 / self.limit)


class Account:
    """The buckets of one provider's account.

    Attributes:
        under_way: Requests admitted and not answered yet.
        most_under_way: The most there were at once.
        num_refused: Requests refused by a limit.
    """

    def __init__(self, family: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.under_way = 0
        self.most_under_way = 0
        self.num_refused = 0
        self._family = family
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def admit(self, limits: Limits, prompt_tokens: int, completion_tokens: int) -> dict[str, str]:
        """Take a request's needs from the buckets.

        The request itself counts as under way already.

        Returns:
            The headers that say what is left.

        Raises:
            ApiError: a bucket holds too little; nothing was taken.
        """
        self._fit(limits)
        if limits.concurrency is not None and self.under_way > limits.concurrency:
            self._refuse(limits, "concurrent requests", 1.0)
        needs = _needs(prompt_tokens, completion_tokens)
        for name, bucket in self._buckets.items():
            if needs[name] > bucket.capacity:
                self._refuse(limits, f"{name}: Request too large", None)
            if needs[name] > bucket.level:
                self._refuse(limits, name, bucket.wait_s(needs[name]))
        for name, bucket in self._buckets.items():
            bucket.level -= needs[name]
        return self.headers(limits)

    def refund(self, tokens: int) -> None:
        """Give back what was reserved and not used."""
        for name in ("tokens", "output_tokens"):
            if name in self._buckets:
                bucket = self._buckets[name]
                bucket.level = min(bucket.capacity, bucket.level + tokens)

    def start(self) -> None:
        """Count a request in."""
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)

    def end(self) -> None:
        """Count it out."""
        self.under_way -= 1

    def headers(self, limits: Limits) -> dict[str, str]:
        """What the provider's answers say of the buckets."""
        if not self._buckets or not limits.has_headers or self._family == "gemini":
            return {}
        write = _anthropic_headers if self._family == "anthropic" else _openai_headers
        headers: dict[str, str] = {}
        for name, bucket in self._buckets.items():
            headers |= write(name, bucket)
        return headers

    def _fit(self, limits: Limits) -> None:
        now_s = self._clock()
        given = (("requests", limits.rpm), ("tokens", limits.tpm),
                 ("input_tokens", limits.itpm), ("output_tokens", limits.otpm))  # fmt: skip
        for name, limit in given:
            if limit is None:
                self._buckets.pop(name, None)
                continue
            bucket = self._buckets.setdefault(name, Bucket(limit, limits.burst_s, now_s))
            bucket.fill(now_s)
            bucket.resize(limit, limits.burst_s)

    def _refuse(self, limits: Limits, what: str, wait_s: float | None) -> None:
        self.num_refused += 1
        form = "retry_info" if self._family == "gemini" else limits.form
        rounded = wait_s
        if wait_s is not None:
            # Headers in seconds are whole ones, so a client that obeys may wait too long.
            is_exact = form in ("ms", "retry_info")
            rounded = math.ceil(wait_s * 1000) / 1000 if is_exact else math.ceil(wait_s)
        error = ApiError(
            "rate_limited", f"Rate limit reached for {what}.", wait_s=rounded, form=form
        )
        error.headers = self.headers(limits)
        raise error


def _needs(prompt_tokens: int, completion_tokens: int) -> dict[str, float]:
    return {
        "requests": 1,
        "tokens": prompt_tokens + completion_tokens,
        "input_tokens": prompt_tokens,
        "output_tokens": completion_tokens,
    }


def _openai_headers(name: str, bucket: Bucket) -> dict[str, str]:
    if name not in ("requests", "tokens"):
        return {}
    return {
        f"x-ratelimit-limit-{name}": f"{bucket.limit:.0f}",
        f"x-ratelimit-remaining-{name}": f"{max(0, int(bucket.level))}",
        f"x-ratelimit-reset-{name}": go_duration(bucket.wait_s(bucket.capacity)),
    }


def _anthropic_headers(name: str, bucket: Bucket) -> dict[str, str]:
    start = f"anthropic-ratelimit-{name.replace('_', '-')}"
    full = datetime.now(UTC) + timedelta(seconds=bucket.wait_s(bucket.capacity))
    return {
        f"{start}-limit": f"{bucket.limit:.0f}",
        f"{start}-remaining": f"{max(0, int(bucket.level))}",
        f"{start}-reset": full.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def go_duration(seconds: float) -> str:
    """Seconds as Go writes them: `17ms`, `1.5s`, `6m0s`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
