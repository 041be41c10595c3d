"""What a collection will take, before anything is sent: tokens, money and time.

Every figure is a range and says what it rests on. Where a few answers are in the ledger already (a
pilot), lengths, the provider's way of counting and its caching are taken from those. Fifty answers
to prompts drawn at random give the cost within 15 %; the first ones of a sorted file do not.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from stillhouse.errors import ConfigError
from stillhouse.records import Record, Request, Usage
from stillhouse.teachers._costs import Price, Rates, Tier
from stillhouse.teachers._tokens import estimate_prompt_tokens

PromptBasis = Literal["tokenizer", "pilot", "text"]
CompletionBasis = Literal["pilot", "given", "max_tokens"]
TimeBasis = Literal["pilot", "assumed_speed", "batch_window"]

_SPREAD = 1.96  # standard errors: 95 % of a normal distribution
# Of the estimate from text: 20 % either way was measured for one vocabulary, and others need more
# tokens for the same text. Not measured for those.
_TEXT_LOW, _TEXT_HIGH = 0.8, 1.4
_ERROR_OF_ONE = 0.1  # of the ratio that a single answer shows, which cannot tell; assumed
_FIRST_TOKEN_S = 0.5
_TOKENS_PER_S = (20.0, 50.0, 150.0)  # of hosted models, slow to fast; assumed, not measured
_BATCH_WINDOW_S = 86_400.0
_MINUTE_S = 60.0


class Range(Record):
    """A figure that is not known yet: 95 % of the time within, as far as its basis can tell."""

    low: float
    expected: float
    high: float


class TeacherEstimate(Record):
    """What one teacher's share will take."""

    teacher: str
    num_requests: int
    num_pilot: int
    """Answers that the figures rest on."""
    prompt_tokens: Range
    prompt_basis: PromptBasis
    completion_tokens: Range
    completion_basis: CompletionBasis
    cost_usd: Range | None
    """None where no price is known."""
    seconds: Range
    time_basis: TimeBasis


class Estimate(Record):
    """What a collection will take; teachers are asked at the same time."""

    teachers: tuple[TeacherEstimate, ...]
    cost_usd: Range | None
    """None where the price of one teacher is unknown."""
    seconds: Range


@dataclass(frozen=True)
class AskedTeacher:
    """One teacher and what it will be asked.

    Attributes:
        name: For people.
        requests: What is still to be asked; those with an answer in the ledger are left out.
        price: None where unknown.
        tier: How it will be processed.
        concurrency: Requests under way at once.
        requests_per_minute: None where there is no limit, or none is known.
        tokens_per_minute: The same, of prompts and completions together.
        count_tokens: The teacher's own tokenizer, where it is at hand.
        expected_tokens: How long the user expects a completion to be.
        pilot: Requests with what their answers used: the more alike to `requests`, the better.
    """

    name: str
    requests: Iterable[Request]
    price: Price | None
    tier: Tier = "standard"
    concurrency: int = 16
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    count_tokens: Callable[[Request], int] | None = None
    expected_tokens: float | None = None
    pilot: Sequence[tuple[Request, Usage]] = ()


def estimate(asked: Sequence[AskedTeacher]) -> Estimate:
    """What asking these teachers will take.

    Raises:
        ConfigError: there is no teacher.
    """
    if not asked:
        raise ConfigError("There is no teacher to estimate for. Give one.")
    shares = tuple(_estimate_share(teacher) for teacher in asked)
    costs = [share.cost_usd for share in shares if share.cost_usd is not None]
    return Estimate(
        teachers=shares,
        cost_usd=_sum(costs) if len(costs) == len(shares) else None,
        seconds=Range(
            low=max(share.seconds.low for share in shares),
            expected=max(share.seconds.expected for share in shares),
            high=max(share.seconds.high for share in shares),
        ),
    )


@dataclass(frozen=True)
class _Pilot:
    """What a few answers teach.

    Attributes:
        num_answers: How many; 0 teaches nothing.
        ratio: Prompt tokens as the provider counts them over those counted or estimated here.
        ratio_error: Standard error of `ratio`.
        mean: Of the completions' lengths.
        deviation: Standard deviation of them, None where one answer cannot tell.
        cached: Part of the prompt tokens that was read from the cache.
        written: Part that was written into it.
        seconds: Mean time of a call.
    """

    num_answers: int
    ratio: float = 1.0
    ratio_error: float = 0.0
    mean: float = 0.0
    deviation: float | None = None
    cached: float = 0.0
    written: float = 0.0
    seconds: float = 0.0


@dataclass
class _Load:
    """What will be asked, summed."""

    num_requests: int = 0
    prompt_tokens: float = 0.0
    max_tokens: int = 0


def _estimate_share(asked: AskedTeacher) -> TeacherEstimate:
    count = asked.count_tokens or estimate_prompt_tokens
    pilot = _learn(asked.pilot, count)
    loads = _loads(asked, count, pilot)
    total = _Load(
        sum(load.num_requests for load in loads.values()),
        sum(load.prompt_tokens for load in loads.values()),
        sum(load.max_tokens for load in loads.values()),
    )
    prompt, prompt_basis = _prompt_range(asked, total, pilot)
    completion, completion_basis = _completion_range(asked, total, pilot)
    seconds, time_basis = _time_range(asked, total, prompt, completion, pilot)
    return TeacherEstimate(
        teacher=asked.name,
        num_requests=total.num_requests,
        num_pilot=pilot.num_answers,
        prompt_tokens=prompt,
        prompt_basis=prompt_basis,
        completion_tokens=completion,
        completion_basis=completion_basis,
        cost_usd=_cost_range(loads, total, prompt, completion, pilot),
        seconds=seconds,
        time_basis=time_basis,
    )


def _learn(answers: Sequence[tuple[Request, Usage]], count: Callable[[Request], int]) -> _Pilot:
    if not answers:
        return _Pilot(0)
    num = len(answers)
    counted = [max(1, count(request)) for request, _ in answers]
    actual = [usage.prompt_tokens for _, usage in answers]
    lengths = [usage.completion_tokens for _, usage in answers]
    prompt_tokens = max(1, sum(actual))
    ratio = sum(actual) / sum(counted)
    mean = sum(lengths) / num
    squares = sum((length - mean) ** 2 for length in lengths)
    return _Pilot(
        num_answers=num,
        ratio=ratio,
        ratio_error=_ratio_error(ratio, actual, counted),
        mean=mean,
        deviation=math.sqrt(squares / (num - 1)) if num > 1 else None,
        cached=sum(usage.cached_prompt_tokens for _, usage in answers) / prompt_tokens,
        written=sum(usage.cache_write_tokens for _, usage in answers) / prompt_tokens,
        seconds=sum(usage.seconds for _, usage in answers) / num,
    )


def _ratio_error(ratio: float, actual: Sequence[int], counted: Sequence[int]) -> float:
    """Standard error of a ratio of sums: the residuals' deviation over the mean count."""
    num = len(actual)
    if num == 1:
        return _ERROR_OF_ONE * ratio
    squares = sum((a - ratio * c) ** 2 for a, c in zip(actual, counted, strict=True))
    return math.sqrt(squares / (num - 1) / num) / (sum(counted) / num)


def _loads(
    asked: AskedTeacher, count: Callable[[Request], int], pilot: _Pilot
) -> dict[Rates | None, _Load]:
    """The requests by the rates that their prompt's length brings."""
    schedule = None if asked.price is None else asked.price.schedule(asked.tier)
    loads: defaultdict[Rates | None, _Load] = defaultdict(_Load)
    for request in asked.requests:
        prompt_tokens = count(request) * pilot.ratio
        load = loads[None if schedule is None else schedule.rates(round(prompt_tokens))]
        load.num_requests += 1
        load.prompt_tokens += prompt_tokens
        load.max_tokens += request.sampling.max_tokens
    if schedule is not None and not loads:
        loads[schedule.base] = _Load()
    return dict(loads)


def _prompt_range(asked: AskedTeacher, total: _Load, pilot: _Pilot) -> tuple[Range, PromptBasis]:
    tokens = total.prompt_tokens
    if pilot.num_answers:
        error = _SPREAD * pilot.ratio_error / max(pilot.ratio, 1e-9)
        return Range(
            low=tokens * max(0.0, 1 - error), expected=tokens, high=tokens * (1 + error)
        ), ("pilot")
    if asked.count_tokens is not None:
        return Range(low=tokens, expected=tokens, high=tokens), "tokenizer"
    return Range(low=tokens * _TEXT_LOW, expected=tokens, high=tokens * _TEXT_HIGH), "text"


def _completion_range(
    asked: AskedTeacher, total: _Load, pilot: _Pilot
) -> tuple[Range, CompletionBasis]:
    num, most = total.num_requests, float(total.max_tokens)
    if pilot.num_answers:
        expected = min(most, num * pilot.mean)
        if pilot.deviation is None:
            return Range(low=float(min(num, expected)), expected=expected, high=most), "pilot"
        # The mean is only known from k answers, and the sum of n varies by itself.
        spread = num * math.sqrt(1 / pilot.num_answers + 1 / max(1, num))
        error = _SPREAD * pilot.deviation * spread
        low, high = max(0.0, expected - error), min(most, expected + error)
        return Range(low=low, expected=expected, high=high), "pilot"
    if asked.expected_tokens is not None:
        expected = min(most, num * asked.expected_tokens)
        return Range(low=expected, expected=expected, high=most), "given"
    return Range(low=float(num), expected=most, high=most), "max_tokens"


def _cost_range(
    loads: dict[Rates | None, _Load], total: _Load, prompt: Range, completion: Range, pilot: _Pilot
) -> Range | None:
    if None in loads or not loads:
        return None

    def cost(prompt_tokens: float, completion_tokens: float) -> float:
        usd = 0.0
        for rates, load in loads.items():
            if rates is None or not load.num_requests:
                continue
            tokens = prompt_tokens * load.prompt_tokens / total.prompt_tokens
            usd += rates.cost_usd(
                tokens,
                completion_tokens * load.num_requests / total.num_requests,
                cached_prompt_tokens=tokens * pilot.cached,
                cache_write_tokens=tokens * pilot.written,
            )
        return usd

    return Range(
        low=cost(prompt.low, completion.low),
        expected=cost(prompt.expected, completion.expected),
        high=cost(prompt.high, completion.high),
    )


def _time_range(
    asked: AskedTeacher, total: _Load, prompt: Range, completion: Range, pilot: _Pilot
) -> tuple[Range, TimeBasis]:
    if asked.tier == "batch":
        high = _BATCH_WINDOW_S if total.num_requests else 0.0
        return Range(low=0.0, expected=high, high=high), "batch_window"
    calls = max(1, total.num_requests)

    def seconds(completion_tokens: float, prompt_tokens: float, speed: float) -> float:
        call_s = pilot.seconds or _FIRST_TOKEN_S + completion_tokens / calls / speed
        return _run_s(asked, total.num_requests, prompt_tokens + completion_tokens, call_s)

    slow, usual, fast = _TOKENS_PER_S
    found = Range(
        low=seconds(completion.low, prompt.low, fast),
        expected=seconds(completion.expected, prompt.expected, usual),
        high=seconds(completion.high, prompt.high, slow),
    )
    return found, "pilot" if pilot.seconds else "assumed_speed"


def _run_s(asked: AskedTeacher, num_requests: int, tokens: float, call_s: float) -> float:
    """Seconds of a run: whatever limits it most, and the last call. A minute's worth is free."""
    if not num_requests:
        return 0.0
    waits_s = [num_requests * call_s / asked.concurrency]
    if asked.requests_per_minute:
        waits_s.append((num_requests / asked.requests_per_minute - 1) * _MINUTE_S + call_s)
    if asked.tokens_per_minute:
        waits_s.append((tokens / asked.tokens_per_minute - 1) * _MINUTE_S + call_s)
    return max(call_s, *waits_s)


def _sum(ranges: Sequence[Range]) -> Range:
    return Range(
        low=sum(item.low for item in ranges),
        expected=sum(item.expected for item in ranges),
        high=sum(item.high for item in ranges),
    )
