"""How the mock behaves: all of it can be set at the start and changed in the middle of a run."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.mock_provider.faults import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an account may do; None is no limit.

    Attributes:
        rpm: Requests per minute.
        tpm: Prompt and completion tokens per minute.
        itpm: Prompt tokens per minute, those read from a cache left out.
        otpm: Completion tokens per minute.
        concurrency: Requests under way at once.
        burst_s: How many seconds' worth a bucket holds when it is full.
        reserves_max_tokens: Whether the completion counts as the request's token limit until the
            answer is known, as OpenAI counts it, instead of as what it turns out to be.
        has_headers: Whether answers say what is left.
        form: How a 429 asks to wait.
    """

    rpm: float | None = None
    tpm: float | None = None
    itpm: float | None = None
    otpm: float | None = None
    concurrency: int | None = None
    burst_s: float = 60.0
    reserves_max_tokens: bool = False
    has_headers: bool = True
    form: str = "seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long answers take.

    Attributes:
        first_s: Until the headers; the mean where `spread` is exponential.
        per_token_s: More for each completion token, or between the events of a stream.
        seed: Of the exponential draws.
    """

    first_s: float = 0.0
    per_token_s: float = 0.0
    spread: Literal["fixed", "exponential"] = "fixed"
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """How batches go.

    Attributes:
        polls: How many times a batch is looked at before it has ended.
        seconds: How long it takes at least.
        order_seed: Of the order in which results come; None keeps that of the requests.
        failing: Requests whose text has this substring end as errors.
        expired_fraction: Share of the requests, the last ones, that the end finds unanswered.
        is_failing: Whether whole batches fail, as with a file that cannot be read.
    """

    polls: int = 2
    seconds: float = 0.0
    order_seed: int | None = 0
    failing: str = "[[fail]]"
    expired_fraction: float = 0.0
    is_failing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything.

    Attributes:
        faults: What goes wrong and when; the first that fits a request counts.
        script: Substrings of prompts and the text that answers them.
        num_tokens: Least and most tokens of an answer; None gives headlines.
        reasoning_field: Where chat answers show reasoning, as hosts of open models do.
        refused_fields: Top-level fields that are refused, as by hosts that lack them.
        has_lifelike_logprobs: Whether the fast provider's log-probabilities are spread as a model's
            are, for figures of their size; no test can compute them.
        has_logprobs: Whether asking for log-probabilities is served or a 400.
        requires_key: Whether requests without a key are refused.
        background_polls: How often a background response is looked at before it is there.
        log: Whether the log keeps requests with bodies, without, or only counts them.
    """

    faults: tuple[Fault, ...] = ()
    limits: Limits = field(default_factory=Limits)
    latency: Latency = field(default_factory=Latency)
    batch: BatchSettings = field(default_factory=BatchSettings)
    script: tuple[tuple[str, str], ...] = ()
    num_tokens: tuple[int, int] | None = None
    reasoning_field: str | None = None
    refused_fields: tuple[str, ...] = ()
    has_lifelike_logprobs: bool = False
    has_logprobs: bool = True
    requires_key: bool = True
    background_polls: int = 2
    log: Literal["all", "heads", "none"] = "all"


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The settings with some replaced; parts are changed field by field.

    Args:
        changes: Field names and values, as objects or as JSON gives them. Faults may be written
            as text: `rate_limit:wait_s=2,first=10`.

    Raises:
        ValueError: there is no such setting.
    """
    known = {each.name for each in dataclasses.fields(settings)}
    if unknown := sorted(set(changes) - known):
        raise ValueError(f"no such settings: {unknown}. There are {sorted(known)}")
    return dataclasses.replace(
        settings, **{name: _converted(settings, name, value) for name, value in changes.items()}
    )


def _converted(settings: Settings, name: str, value: Any) -> Any:
    if name in ("limits", "latency", "batch") and isinstance(value, Mapping):
        return dataclasses.replace(getattr(settings, name), **value)
    if name == "faults":
        return tuple(each if isinstance(each, Fault) else Fault.parse(each) for each in value)
    if name == "script":
        return tuple((str(words), str(text)) for words, text in value)
    return tuple(value) if isinstance(value, list) else value
