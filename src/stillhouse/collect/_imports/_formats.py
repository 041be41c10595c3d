"""The formats: how each is recognised, and what reads its rows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from stillhouse.collect._imports._exchange import Exchange, ReadRow, parsed
from stillhouse.collect._imports._langfuse import read_observation
from stillhouse.collect._imports._ledger import RECORDED, read_recorded
from stillhouse.collect._imports._openai import dialect_of, read_call, read_eval_item
from stillhouse.collect._imports._origin import Origin
from stillhouse.collect._imports._plain import PlainFields, read_plain
from stillhouse.collect._imports._promptfoo import read_result
from stillhouse.collect._imports._served import SERVED, read_served
from stillhouse.errors import ConfigError, DataError

FormatName = Literal[
    "auto",
    "ledger",
    "serve-log",
    "openai",
    "openai-evals",
    "anthropic",
    "openpipe",
    "langfuse",
    "promptfoo",
    "plain",
]
_NUM_LOOKED_AT = 20
_OBSERVATION_TYPES = ("GENERATION", "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "EMBEDDING")


@dataclass(frozen=True, slots=True)
class Format:
    """One format of exports.

    Attributes:
        name: What `--from` calls it.
        is_likely: Whether a row looks like one of its rows.
        read: The exchanges of a row.
    """

    name: str
    is_likely: Callable[[ReadRow, PlainFields], bool]
    read: Callable[[ReadRow, PlainFields], list[Exchange]]


def choose_format(name: FormatName, origin: Origin, fields: PlainFields) -> Format:
    """The format called `name`; for "auto" the one that most of the first rows look like.

    Raises:
        ConfigError: they look like none.
        DataError: the file cannot be read, or has no rows.
    """
    if name != "auto":
        return FORMATS[name]
    values = [row.value for row in islice(origin.rows(), _NUM_LOOKED_AT)]
    if not values:
        raise DataError(f"{origin.path} has no rows. Give an export with at least one call.")
    rows = [value for value in values if isinstance(value, dict)]
    for candidate in FORMATS.values():
        likely = sum(candidate.is_likely(row, fields) for row in rows)
        if 2 * likely > len(rows):
            return candidate
    seen = ", ".join(sorted({key for row in rows for key in row})[:10]) or "none"
    known = ", ".join(FORMATS)
    raise ConfigError(
        f"{origin.path} looks like no export that is known (its fields: {seen}). Say which it is "
        f"with --from {known}; for plain files name the fields with --set fields.prompt=NAME."
    )


def _is_promptfoo(row: ReadRow, _: PlainFields) -> bool:
    return "promptIdx" in row or ("testCase" in row and "provider" in row)


def _is_eval_item(row: ReadRow, _: PlainFields) -> bool:
    return row.get("object") == "eval.run.output_item"


def _is_langfuse(row: ReadRow, _: PlainFields) -> bool:
    has_trace = "traceId" in row or "trace_id" in row
    return has_trace and str(row.get("type", "GENERATION")).upper() in _OBSERVATION_TYPES


def _response(row: ReadRow) -> Mapping[str, Any]:
    for name in ("response", "output"):
        response = parsed(row.get(name))
        if isinstance(response, Mapping):
            return response
    return row


def _is_anthropic(row: ReadRow, _: PlainFields) -> bool:
    return dialect_of(_response(row)) == "anthropic" or ("params" in row and "result" in row)


def _is_openpipe(row: ReadRow, _: PlainFields) -> bool:
    request = row.get("input")
    return isinstance(request, Mapping) and "messages" in request and "output" in row


def _is_openai(row: ReadRow, _: PlainFields) -> bool:
    return dialect_of(_response(row)) in ("openai_chat", "openai_responses", "gemini")


def _is_plain(row: ReadRow, fields: PlainFields) -> bool:
    return fields.prompt in row or fields.messages in row


def _read_openpipe(row: ReadRow, fields: PlainFields) -> list[Exchange]:
    """Request logs are calls; datasets are messages that end with the answer."""
    return read_call(row) if "output" in row else read_plain(row, fields)


# In the order in which they are tried: the more a format says of itself, the earlier.
FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format("ledger", lambda row, _: RECORDED in row, lambda row, _: read_recorded(row)),
        Format("serve-log", lambda row, _: SERVED in row, lambda row, _: read_served(row)),
        Format("promptfoo", _is_promptfoo, lambda row, _: read_result(row)),
        Format("openai-evals", _is_eval_item, lambda row, _: read_eval_item(row)),
        Format("langfuse", _is_langfuse, lambda row, _: read_observation(row)),
        Format("anthropic", _is_anthropic, lambda row, _: read_call(row)),
        Format("openpipe", _is_openpipe, _read_openpipe),
        Format("openai", _is_openai, lambda row, _: read_call(row)),
        Format("plain", _is_plain, read_plain),
    )
}
