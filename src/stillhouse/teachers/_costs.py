"""What a call costs: rates per million tokens, by tier, length of the prompt and hour."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time
from typing import Literal

from stillhouse.records import Usage

Tier = Literal["standard", "batch", "flex", "priority"]
TIERS: tuple[Tier, ...] = ("standard", "batch", "flex", "priority")
_PER = 1e6


@dataclass(frozen=True, slots=True)
class Rates:
    """USD per million tokens; None is charged as plain input or output.

    Attributes:
        input: Prompt tokens that were read afresh.
        output: Completion tokens, reasoning included.
        cached_input: Prompt tokens read from the provider's cache.
        cache_write: Prompt tokens written into it.
        audio_input: Prompt tokens of sound.
        audio_output: Completion tokens of sound.
    """

    input: float
    output: float
    cached_input: float | None = None
    cache_write: float | None = None
    audio_input: float | None = None
    audio_output: float | None = None

    def cost_usd(
        self,
        prompt_tokens: float,
        completion_tokens: float,
        *,
        cached_prompt_tokens: float = 0.0,
        cache_write_tokens: float = 0.0,
        audio_tokens: float = 0.0,
    ) -> float:
        """The cost of so many tokens; counted as in `Usage`."""
        cached, written = cached_prompt_tokens, cache_write_tokens
        total = max(0.0, prompt_tokens - cached - written) * self.input
        total += completion_tokens * self.output
        total += cached * (self.input if self.cached_input is None else self.cached_input)
        total += written * (self.input if self.cache_write is None else self.cache_write)
        if audio_tokens:
            total += audio_tokens * self.audio_surcharge
        return total / _PER

    def times(self, factor: float) -> "Rates":
        """Every rate multiplied."""
        return replace(
            self,
            **{
                name: rate * factor
                for name in self.__slots__
                if (rate := getattr(self, name)) is not None
            },
        )

    @property
    def audio_surcharge(self) -> float:
        """What a token of sound costs on top of one of text.

        Usage does not tell heard from spoken tokens, so where both have a price this is the dearer
        of the two.
        """
        heard = 0.0 if self.audio_input is None else self.audio_input - self.input
        spoken = 0.0 if self.audio_output is None else self.audio_output - self.output
        return max(0.0, heard, spoken)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The rates of one tier.

    Attributes:
        base: Of prompts up to the first threshold.
        over: Pairs of a number of prompt tokens and the rates of all tokens of a call whose prompt
            has more, in rising order.
    """

    base: Rates
    over: tuple[tuple[int, Rates], ...] = ()

    def rates(self, prompt_tokens: int) -> Rates:
        """Those of a call with such a prompt."""
        found = self.base
        for threshold, rates in self.over:
            if prompt_tokens > threshold:
                found = rates
        return found

    def times(self, factor: float) -> "Schedule":
        """Every rate multiplied."""
        return Schedule(
            self.base.times(factor),
            tuple((threshold, rates.times(factor)) for threshold, rates in self.over),
        )


@dataclass(frozen=True, slots=True)
class HourlySchedule:
    """Rates in force between two times of day, in UTC; `until` is not included."""

    since: time
    until: time
    schedule: Schedule

    def is_in_force(self, at: datetime) -> bool:
        """Whether it is at that moment."""
        now = at.astimezone(UTC).time()
        if self.since <= self.until:
            return self.since <= now < self.until
        return now >= self.since or now < self.until


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs at a provider.

    Attributes:
        standard: The tier without a name.
        tiers: Others; a tier that is not here is charged as standard, which is never too little.
        hourly: Other rates of the standard tier at some times of day.
        source: Where the price is from, for people.
    """

    standard: Schedule
    tiers: Mapping[str, Schedule] = field(default_factory=dict)
    hourly: tuple[HourlySchedule, ...] = ()
    source: str = ""

    def schedule(self, tier: Tier = "standard", at: datetime | None = None) -> Schedule:
        """The rates of a tier at a moment, which must have a time zone; now when None."""
        if tier != "standard" and tier in self.tiers:
            return self.tiers[tier]
        if self.hourly:
            moment = at or datetime.now(UTC)
            for hours in self.hourly:
                if hours.is_in_force(moment):
                    return hours.schedule
        return self.standard


FREE = Price(Schedule(Rates(0.0, 0.0)), source="runs on your own machine")


def cost_usd(
    price: Price, usage: Usage, tier: Tier = "standard", *, at: datetime | None = None
) -> float:
    """What a call cost that used `usage`.

    Args:
        price: Of the model that answered.
        usage: Prompt tokens include cached ones, completion tokens include reasoning.
        tier: How it was processed.
        at: When, for prices that depend on the hour; now when None.
    """
    return (
        price.schedule(tier, at)
        .rates(usage.prompt_tokens)
        .cost_usd(
            usage.prompt_tokens,
            usage.completion_tokens,
            cached_prompt_tokens=usage.cached_prompt_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            audio_tokens=usage.audio_tokens,
        )
    )


def worst_cost_usd(
    price: Price, *, prompt_tokens: int, max_tokens: int, tier: Tier = "standard"
) -> float:
    """The most that a call can cost, whenever it is answered and whatever is cached.

    Args:
        price: Of the model.
        prompt_tokens: The most that the prompt can be: the bytes of the request are a sure bound.
        max_tokens: The longest completion allowed.
        tier: How it will be processed.
    """
    named = price.tiers.get(tier)
    possible = [named] if named is not None and tier != "standard" else _all_hours(price)
    return max(_worst(schedule, prompt_tokens, max_tokens) for schedule in possible)


def _all_hours(price: Price) -> list[Schedule]:
    return [price.standard, *(hours.schedule for hours in price.hourly)]


def _worst(schedule: Schedule, prompt_tokens: int, max_tokens: int) -> float:
    # A threshold is passed or not by the provider's count, which is at most ours: every rate up
    # to it is possible, and a dearer one need not be the last.
    possible = [schedule.base]
    possible += [rates for threshold, rates in schedule.over if prompt_tokens > threshold]
    return (
        max(
            prompt_tokens * max(rates.input, rates.cache_write or 0.0, rates.cached_input or 0.0)
            + max_tokens * rates.output
            for rates in possible
        )
        / _PER
    )
