"""A provider's account on a virtual clock: two token buckets, latency, and workers that ask it."""

import asyncio
import random
from dataclasses import dataclass, field

from stillhouse.records import Usage
from stillhouse.teachers._dialects._protocol import LimitReading
from stillhouse.teachers._gate import Gate, Need, Settled

_WINDOW_S = 60.0


class _ServerBucket:
    """The account's own counter."""

    def __init__(self, limit: float, now_s: float) -> None:
        self.limit = limit
        self.level = limit
        self._at_s = now_s

    def refill(self, now_s: float) -> None:
        self.level = min(self.limit, self.level + (now_s - self._at_s) * self.limit / _WINDOW_S)
        self._at_s = now_s

    def missing_s(self, amount: float) -> float:
        return max(0.0, (amount - self.level) * _WINDOW_S / self.limit)


@dataclass
class Account:
    """What the provider does; see the attributes for how providers differ.

    Attributes:
        rpm: Requests per minute.
        tpm: Tokens per minute.
        has_headers: Whether answers tell what is left.
        names_wait: Whether refusals carry a Retry-After.
        counts_max_tokens: Whether the longest completion allowed is counted, and never returned.
        reads_late: Whether headers tell the counters as the answer leaves, not as it came in.
        is_whole_minutes: Whether the counters are set back once a minute.
        latency_s: The mean; each answer takes between half and twice of it.
        most_at_once: Further requests are refused.
    """

    rpm: float
    tpm: float
    seed: int
    has_headers: bool = True
    names_wait: bool = True
    counts_max_tokens: bool = False
    reads_late: bool = False
    is_whole_minutes: bool = False
    latency_s: float = 2.0
    most_at_once: int | None = None
    num_at_once: int = 0
    arrived_s: list[float] = field(default_factory=list)
    served_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    told_until_s: float = 0.0
    num_early: int = 0
    tokens_at: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        now_s = asyncio.get_running_loop().time()
        self.random = random.Random(self.seed)
        self.requests = _ServerBucket(self.rpm, now_s)
        self.tokens = _ServerBucket(self.tpm, now_s)
        self._minute_ends_s = now_s + _WINDOW_S

    def set_limits(self, factor: float) -> None:
        """Change both limits to `factor` of the first ones; what is used stays used."""
        now_s = asyncio.get_running_loop().time()
        for bucket, limit in ((self.requests, self.rpm), (self.tokens, self.tpm)):
            bucket.refill(now_s)
            used = bucket.limit - bucket.level
            bucket.limit = limit * factor
            bucket.level = max(0.0, bucket.limit - used)

    async def ask(self, need: Need, usage: Usage) -> Settled:
        await asyncio.sleep(self.random.uniform(0.02, 0.06))
        now_s = asyncio.get_running_loop().time()
        self.arrived_s.append(now_s)
        # A request that left before the refusal was heard is no violation: 0.12 s there and back.
        self.num_early += now_s < self.told_until_s and now_s > self._told_at_s + 0.12
        self._advance(now_s)
        output = need.max_tokens if self.counts_max_tokens else usage.completion_tokens
        tokens = usage.prompt_tokens + output
        wait_s = self._wait_s(tokens, now_s)
        if wait_s > 0.0:
            return await self._refuse(wait_s, now_s)
        self.requests.level -= 1
        self.tokens.level -= tokens
        self.tokens_at.append((now_s, tokens))
        readings = self._readings()
        self.num_at_once += 1
        await asyncio.sleep(self.latency_s * self.random.uniform(0.5, 2.0))
        self.num_at_once -= 1
        now_s = asyncio.get_running_loop().time()
        self.served_s.append(now_s)
        if self.reads_late:
            self._advance(now_s)
            readings = self._readings()
        await asyncio.sleep(self.random.uniform(0.02, 0.06))
        return Settled(200, usage, readings)

    _told_at_s: float = 0.0

    async def _refuse(self, wait_s: float, now_s: float) -> Settled:
        self.refused_s.append(now_s)
        if self.names_wait and now_s + wait_s > self.told_until_s:
            self.told_until_s, self._told_at_s = now_s + wait_s, now_s
        readings = self._readings()
        await asyncio.sleep(self.random.uniform(0.02, 0.06))
        return Settled(
            429,
            limits=readings,
            wait_s=wait_s if self.names_wait else None,
            is_rate_limited=True,
        )

    def _wait_s(self, tokens: float, now_s: float) -> float:
        if self.most_at_once is not None and self.num_at_once >= self.most_at_once:
            return 1.0
        wait_s = max(self.requests.missing_s(1), self.tokens.missing_s(tokens))
        return self._minute_ends_s - now_s if self.is_whole_minutes and wait_s > 0.0 else wait_s

    def _advance(self, now_s: float) -> None:
        for bucket in (self.requests, self.tokens):
            if not self.is_whole_minutes:
                bucket.refill(now_s)
            elif now_s >= self._minute_ends_s:
                bucket.level = bucket.limit
        while now_s >= self._minute_ends_s:
            self._minute_ends_s += _WINDOW_S

    def _readings(self) -> tuple[LimitReading, ...]:
        if not self.has_headers:
            return ()
        left_s = self._minute_ends_s - asyncio.get_running_loop().time()
        return (
            LimitReading(
                "requests",
                self.requests.limit,
                float(max(0, int(self.requests.level))),
                left_s if self.is_whole_minutes else self.requests.missing_s(self.requests.limit),
            ),
            LimitReading(
                "tokens",
                self.tokens.limit,
                float(max(0, int(self.tokens.level))),
                left_s if self.is_whole_minutes else self.tokens.missing_s(self.tokens.limit),
            ),
        )


async def ask_for(
    seconds: float, account: Account, gate: Gate, *, num_workers: int, mean_tokens: int = 250
) -> None:
    """Keep `num_workers` asking for `seconds`: prompts of about 2/3 of `mean_tokens`."""
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + seconds
    draw = random.Random(account.seed + 1)

    async def work() -> None:
        while loop.time() < ends_s:
            prompt = int(mean_tokens * 2 / 3 * draw.uniform(0.5, 1.5))
            output = min(400, max(1, int(draw.expovariate(3 / mean_tokens))))
            need = Need(int(prompt * draw.uniform(0.9, 1.1)), 400)
            usage = Usage(prompt_tokens=prompt, completion_tokens=output)
            while loop.time() < ends_s:
                admission = await gate.admit(need)
                outcome = await account.ask(need, usage)
                gate.settle(admission, outcome)
                if outcome.status == 200:
                    break

    tasks = [asyncio.create_task(work()) for _ in range(num_workers)]
    await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
