"""What a collection will take is told before anything is sent, with what it rests on."""

import random

import pytest

from stillhouse.collect._estimate import AskedTeacher, Estimate, estimate
from stillhouse.errors import ConfigError
from stillhouse.records import Message, Prompt, Request, Sampling, Usage
from stillhouse.teachers._costs import FREE, Price, Rates, Schedule, cost_usd
from stillhouse.teachers._tokens import estimate_prompt_tokens

PRICE = Price(Schedule(Rates(2.0, 8.0, cached_input=0.5), over=((2_000, Rates(4.0, 12.0)),)))
WORDS = ["the", "invoice", "of", "last", "week", "does", "not", "match", "two", "missing", "items"]


def request(number: int, num_words: int, *, max_tokens: int = 400) -> Request:
    draw = random.Random(number)
    text = f"{number} " + " ".join(draw.choice(WORDS) for _ in range(num_words))
    prompt = Prompt(id=str(number), messages=(Message(role="user", content=text),))
    return Request.of(prompt, teacher="t", sampling=Sampling(max_tokens=max_tokens))


def requests(num: int, *, seed: int = 0, max_tokens: int = 400) -> list[Request]:
    draw = random.Random(seed)
    return [
        request(seed * 10_000 + number, draw.randint(20, 300), max_tokens=max_tokens)
        for number in range(num)
    ]


def answered(asked: Request, draw: random.Random) -> Usage:
    """A provider that counts otherwise, caches a part, and answers at all lengths."""
    prompt_tokens = round(estimate_prompt_tokens(asked) * 1.25 * draw.uniform(0.95, 1.05))
    return Usage(
        prompt_tokens=prompt_tokens,
        cached_prompt_tokens=prompt_tokens // 4,
        completion_tokens=min(asked.sampling.max_tokens, round(draw.lognormvariate(4.5, 0.5))),
        seconds=draw.uniform(1.0, 3.0),
    )


def only(result: Estimate) -> tuple[float, float, float]:
    assert result.cost_usd is not None
    return result.cost_usd.low, result.cost_usd.expected, result.cost_usd.high


def test_a_pilot_of_fifty_answers_tells_the_cost_within_fifteen_percent() -> None:
    num_near = num_within = 0
    for seed in range(25):
        draw = random.Random(seed)
        everything = requests(600, seed=seed)
        used = [(one, answered(one, draw)) for one in everything]
        pilot, rest = used[:50], used[50:]
        asked = AskedTeacher("t", [one for one, _ in rest], PRICE, pilot=pilot)
        low, expected, high = only(estimate([asked]))
        paid = sum(cost_usd(PRICE, usage) for _, usage in rest)
        num_near += abs(expected - paid) <= 0.15 * paid
        num_within += low <= paid <= high
    assert num_near >= 24
    assert num_within >= 23


def test_without_a_pilot_the_longest_completions_are_the_upper_bound() -> None:
    asked = requests(100)
    result = estimate([AskedTeacher("t", asked, PRICE)])
    (share,) = result.teachers
    assert share.completion_basis == "max_tokens"
    assert share.prompt_basis == "text"
    assert share.completion_tokens.high == 100 * 400
    draw = random.Random(1)
    paid = sum(cost_usd(PRICE, answered(one, draw)) for one in asked)
    low, _, high = only(result)
    assert low < paid < high


def test_a_length_that_the_user_expects_is_taken_and_said() -> None:
    result = estimate([AskedTeacher("t", requests(10), PRICE, expected_tokens=120)])
    (share,) = result.teachers
    assert share.completion_basis == "given"
    assert share.completion_tokens.expected == 1_200
    assert share.completion_tokens.high == 4_000


def test_the_teachers_own_tokenizer_counts_exactly() -> None:
    asked = AskedTeacher("t", requests(10), FREE, count_tokens=lambda _: 7)
    (share,) = estimate([asked]).teachers
    assert share.prompt_basis == "tokenizer"
    assert share.prompt_tokens.low == share.prompt_tokens.high == 70
    assert share.cost_usd is not None
    assert share.cost_usd.high == 0.0


def test_long_prompts_are_charged_their_own_rates() -> None:
    short, long = request(1, 100), request(2, 3_000)
    asked = AskedTeacher("t", [short, long], PRICE, expected_tokens=100)
    _, expected, _ = only(estimate([asked]))
    by_hand = (estimate_prompt_tokens(short) * 2 + estimate_prompt_tokens(long) * 4) / 1e6
    assert expected == pytest.approx(by_hand + 100 * (8 + 12) / 1e6, rel=0.01)


@pytest.mark.parametrize(
    ("limits", "seconds"),
    [
        ({"concurrency": 10}, 600 * 2 / 10),
        ({"concurrency": 600, "requests_per_minute": 60.0}, 9 * 60 + 2),
        ({"concurrency": 600, "tokens_per_minute": 30_000.0}, 60 * (600 * 150 / 30_000 - 1) + 2),
        ({"concurrency": 10_000}, 2.0),
    ],
)
def test_the_time_is_that_of_the_tightest_limit(limits: dict[str, float], seconds: float) -> None:
    usage = Usage(prompt_tokens=100, completion_tokens=50, seconds=2.0)
    alike = [request(1, 50)] * 600
    pilot = [(alike[0], usage)] * 5
    result = estimate([AskedTeacher("t", alike, FREE, pilot=pilot, **limits)])  # type: ignore[arg-type]
    assert result.seconds.expected == pytest.approx(seconds)
    assert result.teachers[0].time_basis == "pilot"


def test_a_batch_takes_up_to_a_day_and_its_own_price() -> None:
    half = Price(PRICE.standard, {"batch": PRICE.standard.times(0.5)})
    usual, batch = (
        estimate([AskedTeacher("t", requests(5), half, tier=tier, expected_tokens=9)])
        for tier in ("standard", "batch")
    )
    assert only(batch)[1] == pytest.approx(only(usual)[1] / 2)
    assert batch.seconds.high == 86_400


def test_several_teachers_add_their_costs_and_share_the_time() -> None:
    one = AskedTeacher("one", requests(10), PRICE, expected_tokens=50, concurrency=1)
    two = AskedTeacher("two", requests(20), PRICE, expected_tokens=50, concurrency=1)
    alone = [estimate([teacher]) for teacher in (one, two)]
    both = estimate([one, two])
    assert only(both)[1] == pytest.approx(only(alone[0])[1] + only(alone[1])[1])
    assert both.seconds == alone[1].seconds


def test_an_unknown_price_leaves_the_cost_unknown() -> None:
    known = AskedTeacher("one", requests(2), PRICE)
    unknown = AskedTeacher("two", requests(2), None)
    result = estimate([known, unknown])
    assert result.cost_usd is None
    assert result.teachers[0].cost_usd is not None
    assert result.teachers[1].prompt_tokens.expected > 0


def test_nothing_left_to_ask_costs_nothing() -> None:
    result = estimate([AskedTeacher("t", [], PRICE)])
    assert only(result) == (0.0, 0.0, 0.0)
    assert result.seconds.high == 0.0


def test_one_answer_does_not_pretend_to_be_certain() -> None:
    usage = Usage(prompt_tokens=100, completion_tokens=50, seconds=1.0)
    asked = requests(50)
    (share,) = estimate([AskedTeacher("t", asked, PRICE, pilot=[(asked[0], usage)])]).teachers
    assert share.prompt_tokens.low < share.prompt_tokens.expected < share.prompt_tokens.high
    assert share.completion_tokens.high == 50 * 400


def test_no_teacher_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no teacher"):
        estimate([])
