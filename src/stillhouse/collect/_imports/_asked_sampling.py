"""What a request says of how its answer is drawn, wherever its dialect has the place for it."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from stillhouse.collect._imports._exchange import field_of
from stillhouse.records import Sampling

_MOST = 2**53  # what every reader of JSON holds exactly


def read_sampling(body: Mapping[str, Any], dialect: str) -> Sampling:
    """The sampling of a request; a field that it leaves out, or has wrong, is at its default."""
    given = _gemini(body) if dialect == "gemini" else _others(body)
    sampling: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or (name != "reasoning_effort" and not _is_number(value)):
            continue
        try:
            Sampling.model_validate({name: value})
        except ValidationError:
            continue  # the provider will refuse it, or knows more values than we do
        sampling[name] = value
    return Sampling.model_validate(sampling)


def _others(body: Mapping[str, Any]) -> dict[str, Any]:
    limits = (body.get(f"max_{what}tokens") for what in ("completion_", "output_", ""))
    return {
        "temperature": body.get("temperature"),
        "top_p": body.get("top_p"),
        "max_tokens": next((limit for limit in limits if limit is not None), None),
        "seed": body.get("seed", body.get("random_seed")),
        "top_logprobs": _top_logprobs(body),
        "reasoning_effort": _effort(body),
    }


def _top_logprobs(body: Mapping[str, Any]) -> Any:
    top, asked = body.get("top_logprobs"), body.get("logprobs")
    return asked if top is None and _is_number(asked) else top


def _effort(body: Mapping[str, Any]) -> Any:
    thinking = _object(body, "thinking")
    if thinking.get("type") == "disabled":
        return "none"
    return (
        body.get("reasoning_effort")
        or _object(body, "reasoning").get("effort")
        or _object(body, "output_config").get("effort")
    )


def _gemini(body: Mapping[str, Any]) -> dict[str, Any]:
    config = field_of(body, "generationConfig")
    config = config if isinstance(config, Mapping) else {}
    thinking = field_of(config, "thinkingConfig")
    thinking = thinking if isinstance(thinking, Mapping) else {}
    level = field_of(thinking, "thinkingLevel")
    effort = level.lower() if isinstance(level, str) else None
    return {
        "temperature": config.get("temperature"),
        "top_p": field_of(config, "topP"),
        "max_tokens": field_of(config, "maxOutputTokens"),
        "seed": config.get("seed"),
        "top_logprobs": config.get("logprobs") if field_of(config, "responseLogprobs") else None,
        "reasoning_effort": "none" if field_of(thinking, "thinkingBudget") == 0 else effort,
    }


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= _MOST
