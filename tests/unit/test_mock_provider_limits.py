"""The mock provider's limits: what is admitted, what is refused, what the headers say."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_calls import ask
from tests.mock_provider import Limits, MockProvider
from tests.mock_provider.errors import ApiError
from tests.mock_provider.limits import Account, go_duration


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    with MockProvider() as provider:
        yield provider


def admitted(account: Account, limits: Limits, tokens: int = 0) -> bool:
    try:
        account.admit(limits, tokens, 0)
    except ApiError:
        return False
    return True


def test_a_bucket_starts_full_and_fills_evenly() -> None:
    clock, limits = Clock(), Limits(rpm=60)
    account = Account("openai", clock)
    assert [admitted(account, limits) for _ in range(61)] == [True] * 60 + [False]
    clock.now_s = 5.0
    assert [admitted(account, limits) for _ in range(6)] == [True] * 5 + [False]


def test_a_refusal_takes_nothing_and_says_how_long_to_wait() -> None:
    clock, limits = Clock(), Limits(rpm=60, tpm=600)
    account = Account("openai", clock)
    account.admit(limits, 500, 0)
    with pytest.raises(ApiError, match="tokens") as refused:
        account.admit(limits, 200, 0)
    assert refused.value.wait_s == pytest.approx(10.0, abs=0.002)
    assert refused.value.headers["x-ratelimit-remaining-requests"] == "59"
    clock.now_s = 10.0
    assert admitted(account, limits, 200)


def test_a_halved_limit_halves_the_rate_at_once() -> None:
    clock = Clock()
    account = Account("openai", clock)
    for second in range(100):
        clock.now_s = second / 10
        admitted(account, Limits(rpm=600, burst_s=1))
    passed = 0
    for second in range(100, 700):
        clock.now_s = second / 10
        passed += admitted(account, Limits(rpm=300, burst_s=1))
    assert 299 <= passed <= 305


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 400)), max_size=60))
def test_no_window_ever_passes_more_than_the_limit_and_a_full_bucket(
    arrivals: list[tuple[float, int]],
) -> None:
    clock, limits = Clock(), Limits(tpm=6000, burst_s=10)
    account, passed = Account("openai", clock), 0
    for gap_s, tokens in arrivals:
        clock.now_s += gap_s
        passed += tokens if admitted(account, limits, tokens) else 0
    assert passed <= 1000 + 100 * clock.now_s + 1e-6


def test_a_request_that_never_fits_asks_for_no_wait(provider: MockProvider) -> None:
    provider.change(limits={"tpm": 100})
    got = ask(provider, "x" * 2000)
    assert (got.status, "retry-after" in got.headers) == (429, False)
    assert "too large" in got.json["error"]["message"]


def test_each_provider_counts_and_says_it_in_its_own_way(provider: MockProvider) -> None:
    provider.change(limits={"rpm": 1})
    for dialect in ("openai_chat", "anthropic", "gemini"):
        assert ask(provider, dialect=dialect).status == 200
    openai, anthropic, gemini = (
        ask(provider, dialect=dialect) for dialect in ("openai_chat", "anthropic", "gemini")
    )
    assert (openai.status, anthropic.status, gemini.status) == (429, 429, 429)
    assert openai.headers["x-ratelimit-remaining-requests"] == "0"
    assert anthropic.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert anthropic.headers["retry-after"] == "60"
    assert not any("ratelimit" in name for name in gemini.headers)
    assert gemini.json["error"]["details"][0]["retryDelay"].endswith("s")


def test_a_limit_can_be_changed_in_the_middle(provider: MockProvider) -> None:
    assert ask(provider).status == 200
    provider.change(limits={"rpm": 1})
    assert [ask(provider).status for _ in range(2)] == [200, 429]
    provider.change(limits={"rpm": None})
    assert ask(provider).status == 200


def test_cached_tokens_do_not_count_for_anthropic(provider: MockProvider) -> None:
    provider.change(limits={"itpm": 100})
    assert ask(provider, "[[cached=5000]] x", dialect="anthropic").status == 200
    assert ask(provider, "x" * 500, dialect="anthropic").status == 429


def test_a_reserved_completion_is_given_back(provider: MockProvider) -> None:
    provider.change(limits={"tpm": 1000, "reserves_max_tokens": True})
    first = ask(provider, max_tokens=900)
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 100
    second = ask(provider, max_tokens=900)
    assert second.status == 200


def test_concurrency_is_limited(provider: MockProvider) -> None:
    provider.change(limits={"concurrency": 2}, latency={"first_s": 0.3})
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(provider).status)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200, 200, 429, 429]
    assert ask(provider).status == 200


def test_waits_in_seconds_are_whole_and_others_exact(provider: MockProvider) -> None:
    provider.change(limits={"rpm": 600, "burst_s": 0.1})
    assert [ask(provider).status, ask(provider).headers["retry-after"]] == [200, "1"]
    provider.change(limits={"form": "ms"})
    assert 0 < int(ask(provider).headers["retry-after-ms"]) <= 100


def test_durations_are_written_as_go_writes_them() -> None:
    assert [go_duration(x) for x in (0.017, 1.5, 60, 360, 61.25)] == [
        "17ms", "1.5s", "1m0s", "6m0s", "1m1.25s",
    ]  # fmt: skip
