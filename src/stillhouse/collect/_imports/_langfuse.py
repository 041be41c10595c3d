"""Observations of Langfuse: exports of its tables (JSON, JSONL, CSV), its API and its blob storage.

Table exports and the API name fields in camelCase, blob storage in snake_case; CSV and blob storage
hold `input`, `output` and the details as JSON text.
"""

import math
from collections.abc import Mapping
from typing import Any

from stillhouse.collect._imports._exchange import (
    BadRowError,
    Exchange,
    NoAnswerError,
    ReadRow,
    chat_body,
    field_of,
    json_text,
    object_at,
    parsed,
)
from stillhouse.collect._imports._messages import read_output_schema, read_prompt, read_tools
from stillhouse.collect._imports._openai import dialect_of

_MODEL_NAMES = ("model", "providedModelName")


def read_observation(row: ReadRow) -> list[Exchange]:
    """The exchange of one observation of the type GENERATION.

    Raises:
        NoAnswerError: it is another type, or the call failed.
        BadRowError: the row is no observation.
    """
    if str(row.get("type", "GENERATION")).upper() != "GENERATION":
        raise NoAnswerError("not_a_generation")
    output = parsed(row.get("output"))
    if str(row.get("level", "")).upper() == "ERROR" or output in (None, "", {}, []):
        raise NoAnswerError("failed_call")
    given = parsed(row.get("input"))
    # Integrations log the messages, or the whole request.
    is_request = isinstance(given, Mapping) and ("messages" in given or "input" in given)
    request = given if is_request else {"messages": [given] if _is_message(given) else given}
    body, dialect = _body(row, output)
    return [
        Exchange(
            messages=read_prompt(request),
            body=body,
            dialect=dialect,
            tools=read_tools(request.get("tools")),
            output_schema=read_output_schema(request),
            seconds=_number(field_of(row, "latency")) or 0.0,
        )
    ]


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and "role" in value


def _body(row: ReadRow, output: Any) -> tuple[dict[str, Any], str]:
    model = next((name for name in (field_of(row, key) for key in _MODEL_NAMES) if name), None)
    usage, created = _usage(row), field_of(row, "startTime")
    if isinstance(output, Mapping) and (dialect := dialect_of(output)):
        own = {"model": model, "created": created, "usage": usage}
        return {**own, **{name: value for name, value in output.items() if value}}, dialect
    message = _message(output)
    reason = message.pop("finish_reason", None)
    body = chat_body(message, model=model, finish_reason=reason, usage=usage, created=created)
    return body, "openai_chat"


def _message(output: Any) -> dict[str, Any]:
    """The assistant's message in whatever an integration logged as the output."""
    if isinstance(output, str):
        return {"content": output}
    if isinstance(output, list) and output and _is_message(output[-1]):
        return dict(output[-1])
    if isinstance(output, Mapping):
        if _is_message(output) or "tool_calls" in output:
            return dict(output)
        for name in ("completion", "content", "text"):
            if len(output) == 1 and isinstance(output.get(name), str):
                return {"content": output[name]}
    # A structured answer, which the integration parsed.
    return {"content": json_text(output)}


def _usage(row: ReadRow) -> dict[str, Any]:
    """Tokens in the terms of Chat Completions; Langfuse counts cached ones apart."""
    details = parsed(field_of(row, "usageDetails")) or {}
    if not isinstance(details, Mapping):
        raise BadRowError("malformed", "usageDetails is no object")
    old = object_at(row, "usage") if isinstance(row.get("usage"), dict) else {}
    cached = _sum(details, lambda name: "cache" in name and not _is_write(name))
    written = _sum(details, lambda name: "cache" in name and _is_write(name))
    fresh = _sum(details, lambda name: name.startswith("input") and "cache" not in name)
    output = _sum(details, lambda name: name.startswith("output"))
    reasoning = _sum(details, lambda name: name.startswith("output") and "reasoning" in name)
    asked = fresh + cached + written or old.get("input") or field_of(row, "promptTokens")
    answered = output or old.get("output") or field_of(row, "completionTokens")
    return {
        "prompt_tokens": _count(asked),
        "completion_tokens": _count(answered),
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        "cost_usd": _cost(row),
    }


def _is_write(name: str) -> bool:
    return "creation" in name or "write" in name


def _sum(details: Mapping[str, Any], is_wanted: Any) -> int:
    return sum(_count(value) or 0 for name, value in details.items() if is_wanted(name))


def _cost(row: ReadRow) -> float | None:
    details = parsed(field_of(row, "costDetails"))
    total = details.get("total") if isinstance(details, Mapping) else None
    costs = (field_of(row, "totalCost"), total, field_of(row, "calculatedTotalCost"))
    return next((cost for cost in map(_number, costs) if cost), None)


def _count(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and math.isfinite(number) else None


def _number(value: Any) -> float | None:
    """A number, or CSV's text of one."""
    try:
        return float(value) if isinstance(value, str | int | float) and value != "" else None
    except ValueError as err:
        raise BadRowError("malformed", f"{value!r:.40} is not a number") from err
