"""The gate before one provider account: how fast, how many at once, and for how much money.

    admission = await gate.admit(Need(prompt_tokens=900, max_tokens=256, worst_cost_usd=0.01))
    ... send, receive ...
    gate.settle(admission, Settled(status=200, usage=usage, cost_usd=0.002, limits=readings))

Four things hold a request back, in this order: the budget, a wait that the provider asked for, the
window of requests under way, and the account's buckets. Time is the event loop's: a loop with a
clock of its own runs all of it without waiting.
"""

import asyncio
import random
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

from stillhouse.errors import ConfigError
from stillhouse.records import Usage
from stillhouse.teachers._buckets import Bucket, Mark
from stillhouse.teachers._budget import Budget, Reservation
from stillhouse.teachers._dialects._protocol import BucketName, LimitReading
from stillhouse.teachers._window import Window

_TICK_S = 0.001  # rounding must not leave a wait too short for the clock to see
_QUANTILE = 0.95
_KEPT_LENGTHS = 256  # the last answers tell how long the next will be; not tuned
_ENOUGH_LENGTHS = 20  # below that, a 95th percentile is the largest value and says little
_COOLDOWN_S = 1.0  # after a refusal that names no wait, doubled per episode in a row
_LONGEST_COOLDOWN_S = 16.0
_JITTER_FRACTION = 0.1  # of a wait, only ever added: going early would be a violation
_MOST_JITTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the user allows per minute, and at once; None leaves it to the provider's headers."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    concurrency: int = 64


@dataclass(frozen=True, slots=True)
class Need:
    """What one call asks of the account.

    Attributes:
        prompt_tokens: As estimated.
        max_tokens: The longest completion allowed.
        worst_cost_usd: The most it can cost, None where no price is known.
    """

    prompt_tokens: int
    max_tokens: int
    worst_cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """How a call ended.

    Attributes:
        status: Of the HTTP response; None where none came.
        usage: Tokens, None where the provider did not say.
        cost_usd: None where unknown.
        limits: What the headers say of the account.
        wait_s: How long the provider asks to wait, None where it does not.
        is_rate_limited: It was refused for coming too fast.
        is_server_trouble: It failed for reasons of the server's own (5xx, timeout, cut).
    """

    status: int | None
    usage: Usage | None = None
    cost_usd: float | None = None
    limits: tuple[LimitReading, ...] = ()
    wait_s: float | None = None
    is_rate_limited: bool = False
    is_server_trouble: bool = False

    @property
    def was_refused(self) -> bool:
        """Whether it was turned away before any work was done, which no provider charges for."""
        if self.is_rate_limited or self.status in (503, 529):
            return True
        # 408 and 499 are timeouts: work may have been done.
        return self.status is not None and 400 <= self.status < 500 and self.status not in _TIMEOUTS


_TIMEOUTS = (408, 499)


@dataclass(slots=True)
class Admission:
    """Leave to send one call; ends with exactly one `settle` or `cancel`."""

    serial: int
    need: Need
    output_tokens: int
    marks: dict[Bucket, Mark]
    reservation: Reservation | None = None


@dataclass(frozen=True, slots=True)
class GateState:
    """What a progress display shows of a gate."""

    num_under_way: int
    num_waiting: int
    window: int
    num_admitted: int
    num_rate_limited: int
    num_server_trouble: int
    held_for_s: float


class Gate:
    """Lets calls through to one provider account; to be used within one event loop.

    First come, first served. Every bucket that the user or the headers name must have room. A
    user's limit is kept as it is given; what the headers tell is corrected by every answer.

    Args:
        limits: What the user allows.
        budget: Shared with the gates of other providers; None does not count money.
        seed: Of the jitter.
    """

    def __init__(
        self, limits: Limits | None = None, *, budget: Budget | None = None, seed: int | None = None
    ) -> None:
        self._limits = limits or Limits()
        self._budget = budget
        self._random = random.Random(seed)
        self._window = Window(self._limits.concurrency)
        self._lengths = _Quantile(_QUANTILE, _KEPT_LENGTHS)
        self._own: list[Bucket] | None = None
        self._told: dict[BucketName, tuple[Bucket, ...]] = {}
        self._open: dict[int, Admission] = {}
        self._buckets: list[Bucket] = []  # all that are kept up to date
        self._binding: list[Bucket] = []  # those that hold requests back
        self._waiting: deque[tuple[Need, asyncio.Future[Admission]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._held_until_s = 0.0
        self._episodes_in_a_row = 0
        self._num_admitted = 0
        self._num_rate_limited = 0
        self._num_server_trouble = 0

    async def admit(self, need: Need) -> Admission:
        """Wait until one call may go.

        Raises:
            BudgetExceededError: it could cross the budget's cap.
            ConfigError: there is a budget and no price.
        """
        reservation = None if self._budget is None else await self._reserve(self._budget, need)
        now_s = self._now_s()
        if not self._waiting and self._delay_s(need, now_s) == 0.0:
            admission = self._let_through(need)
        else:
            try:
                admission = await self._wait_for_turn(need)
            except BaseException:
                if self._budget is not None and reservation is not None:
                    self._budget.cancel(reservation)
                raise
        admission.reservation = reservation
        return admission

    def settle(self, admission: Admission, outcome: Settled) -> None:
        """Correct everything that was assumed by what happened."""
        self._close(admission)
        now_s = self._now_s()
        self._refund_tokens(admission, outcome)
        for reading in outcome.limits:
            self._read(reading, admission, outcome.is_rate_limited, now_s)
        if admission.reservation is not None and self._budget is not None:
            refused = outcome.cost_usd is None and outcome.was_refused
            self._budget.settle(admission.reservation, 0.0 if refused else outcome.cost_usd)
        if outcome.is_rate_limited:
            self._slow_down(admission, outcome, now_s)
        elif outcome.is_server_trouble:
            self._num_server_trouble += 1
            self._window.troubled()
        else:
            self._episodes_in_a_row = 0
            self._window.succeeded()
        if outcome.wait_s is not None:
            self._hold(outcome.wait_s, now_s)
        self._serve_waiting()

    def cancel(self, admission: Admission) -> None:
        """Give everything back for a call that was never sent."""
        self._close(admission)
        for bucket in admission.marks:
            bucket.give_back(_amount(bucket, admission.need, admission.output_tokens))
        if admission.reservation is not None and self._budget is not None:
            self._budget.cancel(admission.reservation)
        self._serve_waiting()

    @property
    def num_rate_limited(self) -> int:
        """Calls that the provider refused for coming too fast."""
        return self._num_rate_limited

    def state(self) -> GateState:
        """How it stands now."""
        return GateState(
            num_under_way=self._window.num_under_way,
            num_waiting=sum(not granted.done() for _, granted in self._waiting),
            window=self._window.size,
            num_admitted=self._num_admitted,
            num_rate_limited=self._num_rate_limited,
            num_server_trouble=self._num_server_trouble,
            held_for_s=max(0.0, self._held_until_s - self._now_s()),
        )

    async def _reserve(self, budget: Budget, need: Need) -> Reservation:
        if need.worst_cost_usd is None:
            raise ConfigError(
                "A budget is set, but the price of the model is unknown. Give its price, or run "
                "without a budget."
            )
        return await budget.reserve(need.worst_cost_usd)

    async def _wait_for_turn(self, need: Need) -> Admission:
        granted: asyncio.Future[Admission] = asyncio.get_running_loop().create_future()
        self._waiting.append((need, granted))
        self._serve_waiting()
        try:
            return await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self.cancel(granted.result())  # it was let through while it was being cancelled
            else:
                self._serve_waiting()  # it may have been what the others waited behind
            raise

    def _serve_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            need, granted = self._waiting[0]
            if granted.done():
                self._waiting.popleft()
                continue
            delay_s = self._delay_s(need, self._now_s())
            if delay_s is None:
                return
            if delay_s > 0.0:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(max(delay_s, _TICK_S), self._serve_waiting)
                return
            self._waiting.popleft()
            granted.set_result(self._let_through(need))

    def _delay_s(self, need: Need, now_s: float) -> float | None:
        """Seconds until the next call may go; None when only the end of another can tell."""
        if not self._window.has_room:
            return None
        delay_s = self._held_until_s - now_s
        if delay_s < 0.0:
            delay_s = 0.0
        output_tokens = self._expected_output(need)
        for bucket in self._binding if self._own is not None else self._own_buckets(now_s):
            wait_s = bucket.wait_s(_amount(bucket, need, output_tokens), now_s)
            if wait_s > delay_s:
                delay_s = wait_s
        return delay_s

    def _let_through(self, need: Need) -> Admission:
        output_tokens = self._expected_output(need)
        marks = {
            bucket: bucket.take(_amount(bucket, need, output_tokens)) for bucket in self._buckets
        }
        self._num_admitted += 1
        admission = Admission(self._window.enter(), need, output_tokens, marks)
        self._open[admission.serial] = admission
        return admission

    def _close(self, admission: Admission) -> None:
        if self._open.pop(admission.serial, None) is None:
            raise RuntimeError("An admission was settled or cancelled twice.")
        self._window.leave()

    def _expected_output(self, need: Need) -> int:
        if self._lengths.num_values < _ENOUGH_LENGTHS:
            return need.max_tokens
        return min(need.max_tokens, self._lengths.value)

    def _refund_tokens(self, admission: Admission, outcome: Settled) -> None:
        """Put what was used in the place of what was assumed; unknown use keeps the assumption."""
        usage = outcome.usage
        if usage is not None:
            self._lengths.add(usage.completion_tokens)
        elif not outcome.was_refused:
            return
        for bucket in admission.marks:
            if bucket.name != "requests":
                assumed = _amount(bucket, admission.need, admission.output_tokens)
                bucket.give_back(assumed - _used(bucket, admission.need, usage))

    def _own_buckets(self, now_s: float) -> list[Bucket]:
        """The buckets of the user's limits; they begin with the first request."""
        limits = self._limits
        given: tuple[tuple[BucketName, float | None], ...] = (
            ("requests", limits.requests_per_minute),
            ("tokens", limits.tokens_per_minute),
            ("input_tokens", limits.input_tokens_per_minute),
            ("output_tokens", limits.output_tokens_per_minute),
        )
        self._own = [Bucket(name, limit, now_s) for name, limit in given if limit is not None]
        self._buckets = list(self._own)
        self._binding = self._buckets
        return self._own

    def _read(
        self, reading: LimitReading, admission: Admission, is_certain: bool, now_s: float
    ) -> None:
        told = self._told.get(reading.bucket)
        if told is None:
            self._meet(reading, admission, now_s)
            return
        for bucket in told:
            mark = admission.marks.get(bucket)
            if mark is not None:  # else it left before the bucket was known, and is old news
                bucket.read(reading, mark, now_s, is_certain=is_certain)
        if len(told) > 1 and told[0].error > told[1].error:
            # The other way of counting fits better. It stays the first until it fits worse.
            self._told[reading.bucket] = told[::-1]
            self._choose_binding()

    def _meet(self, reading: LimitReading, admission: Admission, now_s: float) -> None:
        """Take up a bucket that headers name for the first time, in each way it may be counted."""
        if reading.limit is None or reading.limit <= 0.0:
            return
        ways = (False, True) if reading.bucket in ("tokens", "output_tokens") else (False,)
        told = tuple(
            Bucket(reading.bucket, reading.limit, now_s, counts_longest=way) for way in ways
        )
        later = [other for other in self._open.values() if other.serial > admission.serial]
        for bucket in told:
            bucket.read(reading, Mark(bucket.level, 0.0), now_s, is_certain=True)
            bucket.error = 0.0
            for other in later:  # not yet in this reading
                amount = _amount(bucket, other.need, other.output_tokens)
                other.marks[bucket] = bucket.take(amount)
        self._told[reading.bucket] = told
        self._buckets = [*self._buckets, *told]
        self._choose_binding()

    def _choose_binding(self) -> None:
        self._binding = [*(self._own or ()), *(told[0] for told in self._told.values())]

    def _slow_down(self, admission: Admission, outcome: Settled, now_s: float) -> None:
        self._num_rate_limited += 1
        is_new = self._window.refused(admission.serial)
        said = {reading.bucket for reading in outcome.limits if reading.remaining is not None}
        for bucket in self._buckets:
            if bucket.name not in said:
                bucket.drain(now_s)
        if is_new:
            self._episodes_in_a_row += 1
            if outcome.wait_s is None:
                cooldown_s = _COOLDOWN_S * 2.0 ** (self._episodes_in_a_row - 1)
                cooldown_s = min(cooldown_s, _LONGEST_COOLDOWN_S)
                self._hold(cooldown_s * self._random.uniform(0.5, 1.0), now_s)

    def _hold(self, wait_s: float, now_s: float) -> None:
        jitter_s = self._random.uniform(0.0, min(_MOST_JITTER_S, wait_s * _JITTER_FRACTION))
        self._held_until_s = max(self._held_until_s, now_s + wait_s + jitter_s)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()


def _amount(bucket: Bucket, need: Need, output_tokens: int) -> int:
    """What a call is assumed to take of a bucket."""
    name = bucket.name
    if name == "requests":
        return 1
    if name == "input_tokens":
        return need.prompt_tokens
    if bucket.counts_longest:
        output_tokens = need.max_tokens
    return need.prompt_tokens + output_tokens if name == "tokens" else output_tokens


def _used(bucket: Bucket, need: Need, usage: Usage | None) -> int:
    """What a call took of a bucket of tokens; no usage is a refused call's, which took nothing."""
    if usage is None:
        return 0
    if bucket.name == "input_tokens":
        # Where input is limited by itself, tokens read from the cache do not count.
        return usage.prompt_tokens - usage.cached_prompt_tokens
    output_tokens = need.max_tokens if bucket.counts_longest else usage.completion_tokens
    return usage.prompt_tokens + output_tokens if bucket.name == "tokens" else output_tokens


class _Quantile:
    """A quantile of the last values, exact."""

    __slots__ = ("_fraction", "_last", "_sorted", "num_values", "value")

    def __init__(self, fraction: float, num_kept: int) -> None:
        self._fraction = fraction
        self._last: deque[int] = deque(maxlen=num_kept)
        self._sorted: list[int] = []
        self.num_values = 0
        self.value = 0

    def add(self, value: int) -> None:
        """Take in one more; the oldest is forgotten."""
        if len(self._last) == self._last.maxlen:
            del self._sorted[bisect_left(self._sorted, self._last[0])]
        self._last.append(value)
        insort(self._sorted, value)
        self.num_values = len(self._sorted)
        self.value = self._sorted[int(self._fraction * (self.num_values - 1))]
