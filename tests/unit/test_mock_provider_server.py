"""The mock provider as a server: its log, its latencies, its own process."""

import asyncio
import contextlib
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from mock_calls import PATHS, ask, body_of, call, headers_of
from tests.mock_provider import AFTER_WORK, BEFORE_WORK, REFUSALS, MockProcess, MockProvider
from tests.mock_provider.fast import FastProvider

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    with MockProvider() as provider:
        yield provider


def test_the_log_has_each_request_without_its_key(provider: MockProvider) -> None:
    before_s = time.time()
    ask(provider, "rain")
    call(provider, "GET", "/v1beta/models?key=secret", headers={"x-goog-api-key": "secret"})
    first, second = provider.requests
    assert (first.method, first.path, first.json["model"]) == (
        "POST", "/v1/chat/completions", "mock-small",
    )  # fmt: skip
    assert before_s <= first.received_s <= (first.answered_s or 0) <= time.time()
    assert first.completion_tokens > 0
    kept = repr([first.as_json(), second.as_json()])
    assert "test-key" not in kept
    assert "secret" not in kept


def test_the_log_can_be_kept_short(provider: MockProvider) -> None:
    provider.change(log="heads")
    ask(provider)
    provider.change(log="none")
    ask(provider)
    assert (provider.count, [request.body for request in provider.requests]) == (2, [b""])


def test_latencies_are_fixed_or_drawn(provider: MockProvider) -> None:
    def taken_s() -> float:
        started_s = time.monotonic()
        ask(provider, "[[tokens=10]] x")
        return time.monotonic() - started_s

    provider.change(latency={"first_s": 0.1, "per_token_s": 0.01})
    assert 0.2 <= taken_s() < 0.5
    provider.change(latency={"first_s": 0.02, "per_token_s": 0, "spread": "exponential"})
    drawn = [taken_s() for _ in range(8)]
    assert max(drawn) > 2 * min(drawn)


def test_a_stream_waits_between_its_events(provider: MockProvider) -> None:
    provider.change(latency={"per_token_s": 0.01})
    started_s = time.monotonic()
    ask(provider, "[[tokens=20]] x", stream=True)
    assert time.monotonic() - started_s >= 0.2


def test_settings_that_do_not_exist_are_refused(provider: MockProvider) -> None:
    with pytest.raises(ValueError, match="no such settings"):
        provider.change(speed=3)
    got = call(provider, "POST", "/_mock/set", {"speed": 3})
    assert (got.status, "no such settings" in got.json["error"]) == (400, True)


def test_its_own_failure_fails_the_test_that_uses_it() -> None:
    with (
        pytest.raises(RuntimeError, match="the mock provider failed"),
        MockProvider() as provider,
    ):
        assert ask(provider, messages=["not a message"]).status == 500


def num_under_way_in_the_end(provider: MockProvider) -> int:
    """How many requests are under way when those that end have had the time to."""
    deadline_s = time.monotonic() + 5
    while True:
        num = sum(account.under_way for account in provider.world.accounts.values())
        if num == 0 or time.monotonic() > deadline_s:
            return num
        time.sleep(0.01)


def test_a_client_that_goes_away_ends_its_request(provider: MockProvider) -> None:
    with pytest.raises(TimeoutError):
        ask(provider, fault="hang", timeout_s=0.1)
    assert num_under_way_in_the_end(provider) == 0


async def storm(provider: MockProvider, num_requests: int) -> None:
    """Every dialect, whole and streamed, with every fault, and clients that do not wait."""
    draw = random.Random(0)
    kinds = [*BEFORE_WORK, *AFTER_WORK, *REFUSALS, *[""] * 10]
    timeout = aiohttp.ClientTimeout(total=0.15)
    numbers = iter(range(num_requests))

    async def client(session: aiohttp.ClientSession) -> None:
        for _ in numbers:
            dialect, stream, kind = (
                draw.choice(list(PATHS)),
                draw.random() < 0.5,
                draw.choice(kinds),
            )
            headers = {**headers_of(dialect), **({"x-mock-fault": kind} if kind else {})}
            path = PATHS[dialect]
            if stream and dialect == "gemini":
                path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
            body = body_of(dialect, "[[tokens=60]] x", stream=stream)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.post(
                    provider.url + path, json=body, headers=headers, allow_redirects=False
                ) as response:
                    await response.read()

    async with aiohttp.ClientSession(timeout=timeout) as session:
        await asyncio.gather(*[client(session) for _ in range(32)])


def test_a_storm_of_everything_leaves_the_server_sound(provider: MockProvider) -> None:
    asyncio.run(storm(provider, 600))
    assert ask(provider).status == 200
    assert provider.world.failures == []
    assert num_under_way_in_the_end(provider) == 0


def test_a_process_serves_logs_and_changes() -> None:
    with MockProcess(limits={"rpm": 100}) as process:
        assert ask(process).headers["x-ratelimit-limit-requests"] == "100"
        process.change(limits={"rpm": 50}, faults=["overloaded:nth=2"])
        assert [ask(process).status for _ in range(2)] == [200, 503]
        assert ask(process).headers["x-ratelimit-limit-requests"] == "50"
        assert [row["status"] for row in process.log()] == [200, 200, 503, 200]
        assert [row["number"] for row in process.log(start=3)] == [4]
        assert process.counts()["paid"] == 3
        assert process.base_url("openai_chat") == f"{process.url}/v1"


def test_a_process_ends_when_the_one_that_began_it_is_killed() -> None:
    begin = (
        "import time; from tests.mock_provider import MockProcess; "
        "p = MockProcess().__enter__(); print(p.url, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", begin], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        port = int(parent.stdout.readline().rpartition(":")[2])
    parent.kill()
    parent.wait(10)
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.1)
    pytest.fail("the server outlived the process that began it")


def test_a_process_that_cannot_begin_says_why() -> None:
    command = [sys.executable, "-m", "tests.mock_provider", "--set", '{"speed": 3}']
    ended = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=30)
    assert ended.returncode != 0
    assert "no such settings: ['speed']" in ended.stderr


def test_the_fast_mode_serves_plain_chat_with_counts() -> None:
    with FastProvider(num_tokens=[30, 30]) as provider:
        first, second = (ask(provider, max_completion_tokens=12) for _ in range(2))
        texts = [got.json["choices"][0]["message"]["content"] for got in (first, second)]
        assert [text[:10] for text in texts] == ["0000000001", "0000000002"]
        assert first.json["usage"]["completion_tokens"] == 12
        logprobs = ask(provider, logprobs=True, top_logprobs=20).json["choices"][0]["logprobs"]
        assert [len(entry["top_logprobs"]) for entry in logprobs["content"]] == [20] * 30
        counts = call(provider, "GET", "/_mock/counts").json
        assert (counts["received"], counts["paid_completion_tokens"]) == (3, 54)
        assert call(provider, "GET", "/v1/models").status == 404
