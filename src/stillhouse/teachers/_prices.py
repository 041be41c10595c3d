"""The price of a model at a provider: from the user's own file first, then from the vendored table.

The table (`prices.json`) is dated and comes with the package; nothing is looked up anywhere. Its
source and licence are in it, and `tools/update_prices.py` writes it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from pydantic import ConfigDict, Field

from stillhouse.errors import ConfigError
from stillhouse.records import Record
from stillhouse.settings import check_settings, read_yaml
from stillhouse.teachers._costs import FREE, TIERS, HourlySchedule, Price, Rates, Schedule

_RUN_BY_THE_USER = frozenset({"local", "gguf", "fake", "replay", "ollama", "vllm", "llamacpp"})
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|20\d{6})$")
_COMPACT_DATE = re.compile(r"-(20\d{2})(\d{2})(\d{2})$")
_ANY_MODEL = "*"


class GivenPrice(Record):
    """What a user writes down of one model: USD per million tokens."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    input: float = Field(ge=0.0, allow_inf_nan=False)
    output: float = Field(ge=0.0, allow_inf_nan=False)
    cached_input: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """Prompt tokens read from the provider's cache; as `input` when left out."""
    cache_write: float | None = Field(default=None, ge=0.0, allow_inf_nan=False)
    """Prompt tokens written into it; as `input` when left out."""
    batch: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    """What the batch tier's rates are multiplied by: 0.5 is half price."""
    flex: float = Field(default=1.0, ge=0.0, allow_inf_nan=False)
    """The same of the flex tier."""


class _PriceFile(Record):
    prices: dict[str, GivenPrice]


@dataclass(frozen=True)
class PriceTable:
    """Where the vendored prices are from."""

    source: str
    source_version: str
    licence: str
    taken: date


def price_of(
    provider: str,
    model: str,
    overrides: Mapping[str, Price] | None = None,
    *,
    on: date | None = None,
) -> Price | None:
    """The price of a model, or None where nobody gave one.

    A model is found by its exact id, then by the provider's own rules for its ids; a dated revision
    without an entry of its own costs what the model it is of costs. What runs on the user's machine
    costs nothing.

    Args:
        provider: As stillhouse names it.
        model: As the provider names it; case does not matter.
        overrides: What `read_prices` gives; goes first.
        on: The day, for prices with a date; today when None.
    """
    for key in (f"{provider}/{model}", f"{provider}/{_ANY_MODEL}"):
        if overrides and key.lower() in overrides:
            return overrides[key.lower()]
    if provider in _RUN_BY_THE_USER:
        return FREE
    row = _find(provider, model.lower())
    return None if row is None else _price(row, on or datetime.now(UTC).date())


def read_prices(path: Path) -> dict[str, Price]:
    """The user's own prices.

    Args:
        path: YAML: `provider/model: {input: 0.5, output: 1.5}`, USD per million tokens; the model
            may be `*`, which stands for every other model of the provider.

    Raises:
        ConfigError: the file cannot be read, or a price in it is wrong.
    """
    hint = "Give 'provider/model: {input: 0.5, output: 1.5}', in USD per million tokens."
    given = read_yaml(path, hint=hint)
    for key in given:
        provider, slash, model = str(key).partition("/")
        if not (provider and slash and model):
            raise ConfigError(f"{path}: {str(key)!r} is not a provider/model. {hint}")
    checked = check_settings(_PriceFile, {"prices": given}, where=str(path))
    return {key.lower(): _given(price, path.name) for key, price in checked.prices.items()}


def price_table() -> PriceTable:
    """Where the vendored prices are from, and of which day."""
    about = _load()["about"]
    return PriceTable(
        source=about["source"],
        source_version=about["source_version"],
        licence=about["licence"],
        taken=date.fromisoformat(about["taken"]),
    )


def _given(price: GivenPrice, source: str) -> Price:
    standard = Schedule(Rates(price.input, price.output, price.cached_input, price.cache_write))
    tiers = {"batch": standard.times(price.batch), "flex": standard.times(price.flex)}
    return Price(standard, tiers, source=source)


@cache
def _load() -> dict[str, Any]:
    table: dict[str, Any] = orjson.loads(
        files("stillhouse.teachers").joinpath("prices.json").read_bytes()
    )
    return table


def _find(provider: str, model: str) -> dict[str, Any] | None:
    """The row of a model, from the provider's own models and then from those it resells."""
    names = [model]
    if compact := _COMPACT_DATE.search(model):
        names.append(f"{model[: compact.start()]}-{'-'.join(compact.groups())}")
    if dated := _DATED.search(model):
        names.append(model[: dated.start()])
    own = _load()["providers"].get(provider)
    if own is None:
        return None
    for name in names:
        for seller in (provider, *own["also"]):
            row = _match(seller, name)
            if row is not None:
                return row
    return None


def _match(provider: str, model: str) -> dict[str, Any] | None:
    exact, ruled = _index(provider)
    if model in exact:
        return exact[model]
    return next((row for rules, row in ruled if any(_holds(rule, model) for rule in rules)), None)


@cache
def _index(
    provider: str,
) -> tuple[dict[str, dict[str, Any]], list[tuple[list[Any], dict[str, Any]]]]:
    """The rows of a provider by exact id, and those with rules, in the table's order."""
    exact: dict[str, dict[str, Any]] = {}
    ruled: list[tuple[list[Any], dict[str, Any]]] = []
    for row in _load()["providers"].get(provider, {"models": ()})["models"]:
        for rule in row["match"]:
            if isinstance(rule, str) and rule.startswith("="):
                exact.setdefault(rule[1:], row)
        rest = [rule for rule in row["match"] if not isinstance(rule, str) or rule[0] != "="]
        if rest:
            ruled.append((rest, row))
    return exact, ruled


def _holds(rule: str | list[Any], model: str) -> bool:
    if isinstance(rule, list):
        return all(_holds(part, model) for part in rule)
    text = rule[1:]
    match rule[0]:
        case "^":
            return model.startswith(text)
        case "$":
            return model.endswith(text)
        case "*":
            return text in model
        case "~":
            return re.search(text, model) is not None
    return model == text


def _price(row: dict[str, Any], on: date) -> Price:
    state = row
    for change in row.get("changes", ()):
        if date.fromisoformat(change["from"]) <= on:
            state = change
    about = _load()["about"]
    hourly = tuple(
        HourlySchedule(
            time.fromisoformat(hours["from"]),
            time.fromisoformat(hours["to"]),
            _schedule(hours["standard"]),
        )
        for hours in state.get("hours_utc", ())
    )
    return Price(
        _schedule(state["standard"]),
        {tier: _schedule(state[tier]) for tier in TIERS[1:] if tier in state},
        hourly,
        source=f"{row['id']} in the table of {about['taken']}",
    )


def _schedule(rates: dict[str, Any]) -> Schedule:
    base = {name: rate for name, rate in rates.items() if name != "over"}
    over = []
    for step in rates.get("over", ()):
        dearer = {name: rate for name, rate in step.items() if name != "prompt_tokens"}
        over.append((step["prompt_tokens"], Rates(**dearer)))
    return Schedule(Rates(**base), tuple(over))
