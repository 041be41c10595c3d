"""Write `src/stillhouse/teachers/prices.json` from the data of the installed `genai-prices`.

    pip install --target /some/folder --no-deps genai-prices
    PYTHONPATH=/some/folder python tools/update_prices.py

Review the difference before it is committed: prices decide what a budget lets through.
"""

import json
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from genai_prices import types
from genai_prices.data import providers

OUT = Path(__file__).parents[1] / "src/stillhouse/teachers/prices.json"
NAMES = {  # theirs to ours, for the providers that stillhouse can ask
    "anthropic": "anthropic",
    "azure": "azure",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "google": "google",
    "groq": "groq",
    "mistral": "mistral",
    "moonshotai": "moonshot",
    "openai": "openai",
    "openrouter": "openrouter",
    "together": "together",
    "x-ai": "xai",
}
RATES = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "input_audio_mtok": "audio_input",
    "output_audio_mtok": "audio_output",
}
TIERS = {
    "batch": {"processing": "batch"},
    "flex": {"service_tier": "flex"},
    "priority": {"service_tier": "priority"},
}
LICENCE = "MIT, Copyright (c) Pydantic Services Inc. 2025 to present"


def main() -> None:
    """Convert and write."""
    today = datetime.now(UTC).date()
    table = {
        "about": {
            "unit": "USD per million tokens",
            "source": "https://github.com/pydantic/genai-prices",
            "source_version": version("genai-prices"),
            "licence": LICENCE,
            "taken": today.isoformat(),
        },
        "providers": {
            NAMES[provider.id]: {
                "also": [NAMES[name] for name in provider.fallback_model_providers or ()],
                "models": [row for model in provider.models if (row := model_row(model, today))],
            }
            for provider in providers
            if provider.id in NAMES
        },
    }
    OUT.write_text(one_line_per_model(table), encoding="utf-8")


def model_row(model: types.ModelInfo, today: date) -> dict[str, Any] | None:
    """What the table holds of one model, or None where text has no price."""
    days = [today, *sorted(day for day in start_dates(model) if day > today)]
    states = [state_on(model, day) for day in days]
    if states[0] is None:
        return None
    row: dict[str, Any] = {"id": model.id, "match": rules(model.match), **states[0]}
    changes = []
    for day, before, after in zip(days[1:], states, states[1:], strict=False):
        if after is not None and after != before:
            changes.append({"from": day.isoformat(), **after})
    if changes:
        row["changes"] = changes
    return row


def start_dates(model: types.ModelInfo) -> set[date]:
    """The days on which a price of the model begins."""
    dated = [
        *(model.prices if isinstance(model.prices, list) else ()),
        *(model.price_variants or ()),
    ]
    return {
        item.constraint.start_date
        for item in dated
        if isinstance(item.constraint, types.StartDateConstraint)
    }


def state_on(model: types.ModelInfo, day: date) -> dict[str, Any] | None:
    """All rates in force on a day."""
    windows = []
    if isinstance(model.prices, list):
        windows = [
            item.constraint
            for item in model.prices
            if isinstance(item.constraint, types.TimeOfDateConstraint)
        ]
    standard = rates_at(model, moment_outside(windows, day))
    if standard is None:
        return None
    state: dict[str, Any] = {"standard": standard}
    for tier, context in TIERS.items():
        rates = rates_at(model, moment_outside(windows, day), context)
        if rates is not None and rates != standard:
            state[tier] = rates
    if windows:
        state["hours_utc"] = [
            {
                "from": f"{window.start_time:%H:%M}",
                "to": f"{window.end_time:%H:%M}",
                "standard": rates_at(model, moment(day, window.start_time)),
            }
            for window in windows
        ]
    return state


def moment(day: date, time_of_day: Any) -> datetime:
    """A moment of a day, in UTC."""
    return datetime.combine(day, time_of_day).replace(tzinfo=UTC)


def moment_outside(windows: list[types.TimeOfDateConstraint], day: date) -> datetime:
    """A moment of the day at which no time-of-day price is in force."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    quarters = [midnight + timedelta(minutes=15 * step) for step in range(96)]
    return next(at for at in quarters if not any(window.active(at) for window in windows))


def rates_at(
    model: types.ModelInfo, at: datetime, context: dict[str, str] | None = None
) -> dict[str, Any] | None:
    """Rates in force at a moment, the dearer ones of long prompts under `over`."""
    prices = model.get_prices(at, context)
    found = {ours: getattr(prices, theirs) for theirs, ours in RATES.items()}
    if found["input"] is None or found["output"] is None:
        return None
    rates = {name: number(value, 0) for name, value in found.items() if value is not None}
    starts = {
        tier.start
        for value in found.values()
        if isinstance(value, types.TieredPrices)
        for tier in value.tiers
    }
    over = [
        {
            "prompt_tokens": start,
            **{
                name: number(value, start + 1) for name, value in found.items() if value is not None
            },
        }
        for start in sorted(starts)
    ]
    return {**rates, "over": over} if over else rates


def number(value: Any, prompt_tokens: int) -> float:
    """The price of a prompt of this length."""
    if not isinstance(value, types.TieredPrices):
        return float(value)
    price = value.base
    for tier in value.tiers:
        if prompt_tokens > tier.start:
            price = tier.price
    return float(price)


def rules(match: Any) -> list[Any]:
    """Alternatives: a rule is an operator and a text, or a list of rules that must all hold."""
    if isinstance(match, types.ClauseOr):
        return [rule for clause in match.or_ for rule in rules(clause)]
    if isinstance(match, types.ClauseAnd):
        return [[rule for clause in match.and_ for rule in rules(clause)]]
    for kind, field, operator in (
        (types.ClauseEquals, "equals", "="),
        (types.ClauseStartsWith, "starts_with", "^"),
        (types.ClauseEndsWith, "ends_with", "$"),
        (types.ClauseContains, "contains", "*"),
        (types.ClauseRegex, "regex", "~"),
    ):
        if isinstance(match, kind):
            text = getattr(match, field)
            return [operator + (text if operator == "~" else text.lower())]
    raise TypeError(f"unknown rule {match!r}")


def one_line_per_model(table: dict[str, Any]) -> str:
    """JSON in which a changed price is a changed line."""
    lines = ["{", f'"about": {json.dumps(table["about"], indent=1)},', '"providers": {']
    blocks = []
    for name, provider in sorted(table["providers"].items()):
        models = ",\n".join(json.dumps(row, separators=(",", ":")) for row in provider["models"])
        blocks.append(
            f'"{name}": {{"also": {json.dumps(provider["also"])}, "models": [\n{models}\n]}}'
        )
    return "\n".join([*lines, ",\n".join(blocks), "}", "}"]) + "\n"


if __name__ == "__main__":
    main()
