"""Prices: where they come from, and what calls cost by hand."""

from datetime import UTC, date, datetime, time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import ConfigError
from stillhouse.records import Usage
from stillhouse.teachers._costs import (
    FREE,
    TIERS,
    HourlySchedule,
    Price,
    Rates,
    Schedule,
    Tier,
    cost_usd,
    worst_cost_usd,
)
from stillhouse.teachers._prices import _load, price_of, price_table, read_prices

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = date(2026, 11, 24)


def known(provider: str, model: str) -> Price:
    price = price_of(provider, model, on=DAY)
    assert price is not None
    return price


# Rates per million tokens, read on the providers' pages as the table has them; sums by hand.
BY_HAND: list[tuple[str, str, Usage, Tier, float]] = [
    # 1,000 x 2.50 + 500 x 15
    ("openai", "gpt-5.4", Usage(prompt_tokens=1_000, completion_tokens=500), "standard", 0.01),
    # 200 x 2.50 + 800 x 0.25 + 500 x 15, of which 400 reasoning
    (
        "openai",
        "gpt-5.4-2026-03-05",
        Usage(
            prompt_tokens=1_000,
            cached_prompt_tokens=800,
            completion_tokens=500,
            reasoning_tokens=400,
        ),
        "standard",
        0.0082,
    ),
    # 200 x 1.25 + 800 x 0.13 + 500 x 7.50
    (
        "openai",
        "gpt-5.4",
        Usage(prompt_tokens=1_000, cached_prompt_tokens=800, completion_tokens=500),
        "batch",
        0.004104,
    ),
    # the same rates
    (
        "openai",
        "gpt-5.4",
        Usage(prompt_tokens=1_000, cached_prompt_tokens=800, completion_tokens=500),
        "flex",
        0.004104,
    ),
    # over 272,000: 300,000 x 5 + 1,000 x 22.50
    (
        "openai",
        "gpt-5.4",
        Usage(prompt_tokens=300_000, completion_tokens=1_000),
        "standard",
        1.5225,
    ),
    # 100 x 0.10 + 200 x 0.125 + 700 x 0.01 + 50 x 0.50
    (
        "anthropic",
        "claude-haiku-5-5",
        Usage(
            prompt_tokens=1_000,
            cache_write_tokens=200,
            cached_prompt_tokens=700,
            completion_tokens=50,
        ),
        "standard",
        6.7e-5,
    ),
    # half of it
    (
        "anthropic",
        "claude-haiku-5-5-20261001",
        Usage(
            prompt_tokens=1_000,
            cache_write_tokens=200,
            cached_prompt_tokens=700,
            completion_tokens=50,
        ),
        "batch",
        3.35e-5,
    ),
    # exactly at the threshold: the lower rates, 200,000 x 1.25 + 10 x 10
    (
        "google",
        "gemini-2.5-pro",
        Usage(prompt_tokens=200_000, completion_tokens=10),
        "standard",
        0.2501,
    ),
    # one token over it: 200,001 x 2.50 + 10 x 15
    (
        "google",
        "gemini-2.5-pro",
        Usage(prompt_tokens=200_001, completion_tokens=10),
        "standard",
        0.5001525,
    ),
]


@pytest.mark.parametrize(("provider", "model", "usage", "tier", "usd"), BY_HAND)
def test_a_call_costs_what_it_costs_by_hand(
    provider: str, model: str, usage: Usage, tier: Tier, usd: float
) -> None:
    assert cost_usd(known(provider, model), usage, tier, at=NOON) == pytest.approx(usd, abs=1e-12)


def test_the_hour_decides_where_the_provider_says_so() -> None:
    price = known("deepseek", "deepseek-v4-flash")
    usage = Usage(prompt_tokens=1_000_000)
    at = {hour: datetime(2026, 11, 24, hour, tzinfo=UTC) for hour in (0, 1, 3, 4, 6, 9, 10)}
    costs = {hour: cost_usd(price, usage, at=moment) for hour, moment in at.items()}
    assert costs == {0: 0.15, 1: 0.3, 3: 0.3, 4: 0.15, 6: 0.3, 9: 0.3, 10: 0.15}
    assert worst_cost_usd(price, prompt_tokens=1_000_000, max_tokens=0) == 0.3


def test_hours_may_pass_midnight() -> None:
    hours = HourlySchedule(time(22), time(2), Schedule(Rates(1.0, 1.0)))
    moments = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (21, 22, 23, 0, 1, 2)]
    in_force = [hours.is_in_force(moment) for moment in moments]
    assert in_force == [False, True, True, True, True, False]


def test_a_price_that_changes_on_a_day_is_the_one_of_the_day() -> None:
    before = price_of("google", "gemini-4-argon", on=date(2026, 11, 30))
    after = price_of("google", "gemini-4-argon", on=date(2026, 12, 1))
    assert before is not None
    assert after is not None
    assert (before.standard.base.output, after.standard.base.output) == (10.0, 20.0)
    assert (before.tiers["batch"].base.output, after.tiers["batch"].base.output) == (5.0, 10.0)


def test_sound_is_charged_on_top_of_text() -> None:
    heard = Price(Schedule(Rates(0.3, 2.5, audio_input=1.0)))
    usage = Usage(prompt_tokens=1_000, audio_tokens=600, completion_tokens=10)
    assert cost_usd(heard, usage) == pytest.approx((400 * 0.3 + 600 * 1.0 + 10 * 2.5) / 1e6)


def test_a_tier_without_a_price_of_its_own_is_charged_as_standard() -> None:
    price = Price(Schedule(Rates(1.0, 2.0)))
    usage = Usage(prompt_tokens=10, completion_tokens=10)
    assert cost_usd(price, usage, "batch") == cost_usd(price, usage)


RATE = st.floats(0.0, 1_000.0)
RATES = st.builds(Rates, RATE, RATE, st.none() | RATE, st.none() | RATE)
SCHEDULES = st.builds(
    lambda base, over: Schedule(base, tuple(sorted(over, key=lambda step: step[0]))),
    RATES,
    st.lists(st.tuples(st.integers(1, 1_000), RATES), max_size=3),
)
PRICES = st.builds(
    Price,
    SCHEDULES,
    st.dictionaries(st.sampled_from(TIERS[1:]), SCHEDULES),
    st.lists(st.builds(HourlySchedule, st.times(), st.times(), SCHEDULES), max_size=2).map(tuple),
)


@given(
    PRICES,
    st.sampled_from(TIERS),
    st.integers(0, 2_000),
    st.integers(0, 2_000),
    st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    st.datetimes(timezones=st.just(UTC)),
)
def test_no_call_costs_more_than_its_worst_case(
    price: Price,
    tier: Tier,
    most_prompt: int,
    max_tokens: int,
    parts: tuple[float, float, float, float],
    at: datetime,
) -> None:
    prompt, cached = int(most_prompt * parts[0]), parts[1]
    usage = Usage(
        prompt_tokens=prompt,
        cached_prompt_tokens=int(prompt * cached),
        cache_write_tokens=int((prompt - int(prompt * cached)) * parts[2]),
        completion_tokens=int(max_tokens * parts[3]),
    )
    worst = worst_cost_usd(price, prompt_tokens=most_prompt, max_tokens=max_tokens, tier=tier)
    assert cost_usd(price, usage, tier, at=at) <= worst * (1 + 1e-12)


@pytest.mark.parametrize(
    ("provider", "model", "as_in"),
    [
        ("openai", "GPT-5.4", ("openai", "gpt-5.4")),
        ("openai", "gpt-5.4-20260305", ("openai", "gpt-5.4")),
        ("openai", "gpt-5.4-2027-01-31", ("openai", "gpt-5.4")),
        ("azure", "gpt-5.4", ("openai", "gpt-5.4")),
        ("google", "gemini-2.5-pro-preview-06-05", ("google", "gemini-2.5-pro")),
        ("anthropic", "claude-haiku-5-5-20261001", ("anthropic", "claude-haiku-5-5")),
    ],
)
def test_a_model_is_found_under_each_of_its_names(
    provider: str, model: str, as_in: tuple[str, str]
) -> None:
    assert known(provider, model).standard == known(*as_in).standard


def test_speech_models_do_not_pass_for_the_text_models_that_they_are_named_after() -> None:
    speech = price_of("google", "gemini-2.5-pro-preview-tts", on=DAY)
    assert speech is None or speech.standard != known("google", "gemini-2.5-pro").standard


def test_what_nobody_gave_a_price_for_has_none() -> None:
    assert price_of("openai", "no-such-model") is None
    assert price_of("no-such-provider", "gpt-5.4") is None


@pytest.mark.parametrize("provider", ["local", "gguf", "fake", "replay", "ollama", "vllm"])
def test_what_runs_on_the_users_machine_costs_nothing(provider: str) -> None:
    assert price_of(provider, "anything") is FREE
    assert cost_usd(FREE, Usage(prompt_tokens=10**9, completion_tokens=10**9)) == 0.0


def test_every_row_of_the_table_can_be_read_and_found() -> None:
    num_rows = 0
    for provider, rows in _load()["providers"].items():
        for row in rows["models"]:
            price = known(provider, row["id"]) if f"={row['id']}" in row["match"] else None
            num_rows += 1
            if price is not None:
                assert price.source.startswith(row["id"])
                assert worst_cost_usd(price, prompt_tokens=1_000, max_tokens=1_000) >= 0.0
    assert num_rows > 1_000


def test_the_table_says_where_it_is_from() -> None:
    table = price_table()
    assert table.source.startswith("https://")
    assert "MIT" in table.licence
    assert date(2026, 11, 1) < table.taken < date(2100, 1, 1)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_the_users_own_prices_go_first(tmp_path: Path) -> None:
    given = read_prices(
        write(
            tmp_path / "prices.yaml",
            "OpenAI/GPT-5.4: {input: 1, output: 2, cached_input: 0.5, batch: 0.5}\n"
            "vllm/*: {input: 0.1, output: 0.2}\n"
            "'localhost/qwen/qwen3-4b': {input: 0, output: 0}\n",
        )
    )
    price = price_of("openai", "gpt-5.4", given)
    assert price is not None
    assert price.source == "prices.yaml"
    usage = Usage(prompt_tokens=1_000, cached_prompt_tokens=400, completion_tokens=100)
    assert cost_usd(price, usage) == pytest.approx((600 * 1 + 400 * 0.5 + 100 * 2) / 1e6)
    assert cost_usd(price, usage, "batch") == pytest.approx(cost_usd(price, usage) / 2)
    assert price_of("vllm", "any", given) != FREE
    assert price_of("localhost", "qwen/qwen3-4b", given) is not None
    assert price_of("openai", "gpt-5.4-mini", given) == price_of("openai", "gpt-5.4-mini")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gpt-5: {input: 1, output: 2}", "'gpt-5' is not a provider/model"),
        ("openai/: {input: 1, output: 2}", "'openai/' is not a provider/model"),
        ("openai/x: {input: 1}", r"output is missing"),
        ("openai/x: {input: -1, output: 2}", "greater than or equal to 0"),
        ("openai/x: {input: .nan, output: 2}", "finite"),
        ("openai/x: {input: 1, output: 2, cache: 3}", "cache is not a setting"),
        ("openai/x: 5", "must hold settings"),
        ("", "empty"),
        ("openai/x: {input: 1, output: 2}\nopenai/x: {input: 1, output: 3}", "given twice"),
    ],
)
def test_a_wrong_price_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "prices.yaml", text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_prices(path)
    assert str(path) in str(caught.value)
