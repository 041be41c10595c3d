"""What one account lets through: its buckets, and how much of them each call takes.

There are two kinds of buckets: those that the user sets, which stay as they are given, and those
that the headers tell of, which every answer corrects. A call needs room in all of them.
"""

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass

from stillhouse.records import Usage
from stillhouse.teachers._buckets import Bucket, Mark
from stillhouse.teachers._dialects._protocol import BucketName, LimitReading

_QUANTILE = 0.95
_KEPT_LENGTHS = 256  # the last answers tell how long the next will be; not tuned
_ENOUGH_LENGTHS = 20  # below that, a 95th percentile is the largest value and says little
_TIMEOUTS = (408, 499)  # statuses below 500 after which work may have been done


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
    """

    prompt_tokens: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Settled:
    """How a call ended.

    Attributes:
        status: Of the HTTP response; None where none came.
        usage: Tokens, None where the provider did not say.
        limits: What the headers say of the account.
        wait_s: How long the provider asks to wait, None where it does not.
        is_rate_limited: It was refused for coming too fast.
        is_overloaded: It was refused as the server has too much to do, whoever asks.
        is_server_trouble: It failed for reasons of the server's own (5xx, timeout, cut).
    """

    status: int | None
    usage: Usage | None = None
    limits: tuple[LimitReading, ...] = ()
    wait_s: float | None = None
    is_rate_limited: bool = False
    is_overloaded: bool = False
    is_server_trouble: bool = False

    @property
    def was_refused(self) -> bool:
        """Whether it was turned away before any work was done, which no provider charges for."""
        if self.is_rate_limited or self.is_overloaded or self.status in (503, 529):
            return True
        return self.status is not None and 400 <= self.status < 500 and self.status not in _TIMEOUTS


@dataclass(slots=True)
class Admission:
    """Leave to send one call; ends with exactly one `settle` or `cancel`."""

    serial: int
    need: Need
    output_tokens: int
    marks: dict[Bucket, Mark]


class Account:
    """The buckets of one account.

    A bucket of tokens that the headers tell of is kept twice, for providers count in two ways: what
    was written, or the longest completion allowed. The one that fits the readings better binds.

    Args:
        limits: What the user allows.
        now_s: The time; the user's buckets begin full.
    """

    def __init__(self, limits: Limits, now_s: float) -> None:
        given: tuple[tuple[BucketName, float | None], ...] = (
            ("requests", limits.requests_per_minute),
            ("tokens", limits.tokens_per_minute),
            ("input_tokens", limits.input_tokens_per_minute),
            ("output_tokens", limits.output_tokens_per_minute),
        )
        self._own = [Bucket(name, limit, now_s) for name, limit in given if limit is not None]
        self._told: dict[BucketName, tuple[Bucket, ...]] = {}
        self._buckets = list(self._own)  # all that are kept up to date
        self._binding = self._buckets  # those that hold calls back
        self._lengths = _Quantile(_QUANTILE, _KEPT_LENGTHS)
        self._open: dict[int, Admission] = {}

    def wait_s(self, need: Need, now_s: float) -> float:
        """Seconds until every bucket has room for a call, 0 for now."""
        longest_s = 0.0
        output_tokens = self._expected_output(need)
        for bucket in self._binding:
            wait_s = bucket.wait_s(_amount(bucket, need, output_tokens), now_s)
            if wait_s > longest_s:
                longest_s = wait_s
        return longest_s

    def take(self, need: Need, serial: int) -> Admission:
        """Take a call's share of every bucket; `serial` rises from call to call."""
        output_tokens = self._expected_output(need)
        marks = {
            bucket: bucket.take(_amount(bucket, need, output_tokens)) for bucket in self._buckets
        }
        admission = Admission(serial, need, output_tokens, marks)
        self._open[serial] = admission
        return admission

    def cancel(self, admission: Admission) -> None:
        """Give the whole share back."""
        self._close(admission)
        for bucket in admission.marks:
            bucket.give_back(_amount(bucket, admission.need, admission.output_tokens))

    def settle(self, admission: Admission, outcome: Settled, now_s: float) -> None:
        """Put what was used in the place of what was taken, and take over what headers say."""
        self._close(admission)
        self._refund_tokens(admission, outcome)
        for reading in outcome.limits:
            self._read(reading, admission, outcome.is_rate_limited, now_s)
        if outcome.status == 429:
            said = {reading.bucket for reading in outcome.limits if reading.remaining is not None}
            for bucket in self._buckets:
                if bucket.name not in said:
                    bucket.drain(now_s)

    def _close(self, admission: Admission) -> None:
        if self._open.pop(admission.serial, None) is None:
            raise RuntimeError("An admission was settled or cancelled twice.")

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
        self._binding = [*self._own, *(told[0] for told in self._told.values())]


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
