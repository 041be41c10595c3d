"""The clients of the three batch APIs: what they send, find, read, and refuse to do."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from asking import raw_answers, requests_for
from batch_cases import APIS, KEY, PRICE, WIRES, Api, access_with_prices, jobs_of, point_at
from tests.mock_provider import MockProvider

from stillhouse.errors import TeacherUnavailableError
from stillhouse.records import Request
from stillhouse.runlog import Answer
from stillhouse.teachers import (
    BatchMissingError,
    BatchRefusedError,
    BatchUnclearError,
    RemoteBatch,
    SoughtBatch,
    Teacher,
    name_of,
    open_teacher,
)
from stillhouse.teachers._batch._anthropic import AnthropicBatches
from stillhouse.teachers._batch._client import BatchClient
from stillhouse.teachers._batch._gemini import GeminiBatches, _own_path
from stillhouse.teachers._batch._link import Link
from stillhouse.teachers._batch._openai import OpenAIBatches
from stillhouse.teachers._batch._protocol import time_of
from stillhouse.teachers._costs import cost_usd
from stillhouse.teachers._dialects import DIALECTS, MalformedAnswerError
from stillhouse.teachers._endpoint import Endpoint
from stillhouse.teachers._transport import Reply

LABEL = "0123456789abcdef"


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    with MockProvider(batch={"polls": 0}) as provider:
        yield provider


@pytest.fixture(params=WIRES)
def api(
    request: pytest.FixtureRequest, provider: MockProvider, monkeypatch: pytest.MonkeyPatch
) -> Api:
    found = APIS[request.param]
    point_at(monkeypatch, found, provider)
    return found


@contextmanager
def open_client(api: Api) -> Iterator[tuple[BatchClient, Teacher]]:
    with open_teacher(api.spec, access_with_prices()) as teacher:
        client = teacher.batch_client()
        assert client is not None
        yield client, teacher


def create(client: BatchClient, requests: list[Request], label: str = LABEL) -> RemoteBatch:
    with tempfile.TemporaryFile() as file:
        client.write(label, requests, file)
        return client.create(label, file)


def sought(label: str = LABEL, num: int = 3, **more: Any) -> SoughtBatch:
    return SoughtBatch(label, num, datetime.now(UTC), **more)


def collected(client: BatchClient, remote: RemoteBatch, folder: Path) -> dict[str, Answer]:
    """What a batch came to, by the names of its requests."""
    return {
        row.name: client.answer(row, "f" * 64, remote)
        for group in client.results(remote, folder)
        for row in group
    }


@pytest.mark.parametrize("name", APIS)
def test_an_answer_is_that_of_a_single_call_at_the_batch_price(
    provider: MockProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    point_at(monkeypatch, APIS[name], provider)
    requests = requests_for("rain", "snow", "hail", teacher=APIS[name].spec)
    with open_client(APIS[name]) as (client, teacher):
        remote = client.look(create(client, requests).id)
        answers = collected(client, remote, tmp_path)
        singles = {name_of(LABEL, one.request_id): one for one in raw_answers(teacher, requests)}
    assert set(answers) == set(singles)
    for key, answer in answers.items():
        single = singles[key]
        assert DIALECTS[answer.dialect].outcome(answer.body).usage == (
            DIALECTS[single.dialect].outcome(single.body).usage
        )
        assert (answer.model, answer.finish_reason) == (single.model, single.finish_reason)
        assert answer.usage.cost_usd == pytest.approx(cost_usd(PRICE, answer.usage, "batch"))
        assert answer.usage.cost_usd == pytest.approx((single.usage.cost_usd or 0.0) / 2)


def test_what_a_request_takes_and_costs_at_most_is_never_too_little(api: Api) -> None:
    requests = requests_for("rain", "sn\u00f6w \u2028 " * 30, teacher=api.spec, max_tokens=9)
    with open_client(api) as (client, teacher), tempfile.TemporaryFile() as file:
        client.write(LABEL, requests, file)
        assert file.tell() <= sum(client.num_bytes(one) for one in requests) + 64
        batch_usd = [client.worst_cost_usd(one) for one in requests]
        single_usd = [teacher.worst_cost_usd(one) for one in requests]
    for worst_usd, standard_usd in zip(batch_usd, single_usd, strict=True):
        assert worst_usd is not None
        assert standard_usd is not None
        assert 0 < worst_usd < standard_usd


def test_a_batch_is_found_by_its_label_among_others(provider: MockProvider, api: Api) -> None:
    requests = requests_for("a", "b", "c", teacher=api.spec)
    with open_client(api) as (client, _):
        create(client, requests, "f" * 16)
        mine = create(client, requests)
        create(client, requests, "e" * 16)
        found = client.find(sought())
        assert found.remote is not None
        assert (found.remote.id, found.is_unclear) == (mine.id, False)
        assert client.find(sought("d" * 16)).remote is None


def test_a_batch_is_found_on_a_later_page(provider: MockProvider, api: Api) -> None:
    requests = requests_for("a", "b", teacher=api.spec)
    with open_client(api) as (client, _):
        mine = create(client, requests)
        for _number in range(105):
            job = jobs_of(provider, api)[0]
            copy = type(job)(f"{job.id}{_number}", job.requests[:1], {**job.facts, "name": "x",
                             "metadata": {}})  # fmt: skip
            provider.world.jobs[api.family][copy.id] = copy
        found = client.find(sought(num=2))
        assert found.remote is not None
        assert found.remote.id == mine.id
    pages = [entry for entry in provider.requests if entry.path.endswith("batches")]
    assert sum(entry.method == "GET" for entry in pages) == 2


def test_without_labels_a_running_batch_of_the_same_size_leaves_it_open(
    provider: MockProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = APIS["anthropic"]
    point_at(monkeypatch, api, provider)
    provider.change(batch={"seconds": 3600.0})
    with open_client(api) as (client, _):
        theirs = create(client, requests_for("a", "b", "c", teacher=api.spec), "f" * 16)
        assert client.find(sought()).is_unclear
        assert not client.find(sought(num=4)).is_unclear
        assert not client.find(sought(known=frozenset({theirs.id}))).is_unclear
        jobs_of(provider, api)[0].created_s -= 7200
        found = client.find(sought())
        assert (found.remote, found.is_unclear) == (None, False)
        num_requests = provider.count
        client.find(sought())  # whose it is was seen before
        assert provider.count == num_requests + 1
        jobs_of(provider, api)[0].created_s -= timedelta(days=3).total_seconds()
        assert client.find(sought("f" * 16)).remote is None  # older than what is sought


def test_a_listed_batch_that_cannot_be_looked_at_leaves_it_open(
    provider: MockProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = APIS["anthropic"]
    point_at(monkeypatch, api, provider)
    with open_client(api) as (client, _):
        mine = create(client, requests_for("a", "b", "c", teacher=api.spec))
        provider.change(faults=["not_found:method=GET,path=/v1/messages/batches/,first=1"])
        assert client.find(sought()).is_unclear
        found = client.find(sought())
        assert found.remote is not None
        assert found.remote.id == mine.id


def test_a_batch_can_be_cancelled(provider: MockProvider, api: Api, tmp_path: Path) -> None:
    provider.change(batch={"polls": 9})
    with open_client(api) as (client, _):
        remote = create(client, requests_for("a", "b", teacher=api.spec))
        client.cancel(remote.id)
        ended = client.look(remote.id)
        assert ended.state == "ended"
        errors = [answer.error for answer in collected(client, ended, tmp_path).values()]
        errors = errors or [ended.unanswered]
    assert all(error is not None and error.retryable for error in errors)
    assert provider.world.num_paid == 0


def test_a_batch_that_is_not_there_is_missing(api: Api) -> None:
    with open_client(api) as (client, _), pytest.raises(BatchMissingError):
        client.look("batch_of_nobody/../x")


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("bad_request", BatchRefusedError),
        ("too_large", BatchRefusedError),
        ("rate_limit", BatchRefusedError),
        ("unauthorized", TeacherUnavailableError),
        ("billing", TeacherUnavailableError),
        ("redirect", TeacherUnavailableError),
        ("not_found", TeacherUnavailableError),
        ("server_error", BatchUnclearError),
        ("overloaded", BatchUnclearError),
        ("timeout", BatchUnclearError),
        ("conflict", BatchUnclearError),
        ("html", BatchUnclearError),
        ("error_object", BatchUnclearError),
        ("reset", BatchUnclearError),
        ("lost", BatchUnclearError),
        ("cut", BatchUnclearError),
        ("torn_json", BatchUnclearError),
    ],
)
def test_whether_a_batch_was_created_is_sure_or_said_to_be_unclear(
    provider: MockProvider, api: Api, kind: str, error: type[Exception]
) -> None:
    provider.change(faults=[f"{kind}:method=POST,path={api.create_path}"])
    with open_client(api) as (client, _), pytest.raises(error) as caught:
        create(client, requests_for("a", teacher=api.spec))
    assert KEY not in str(caught.value)
    # It is sent once: a second try could make a second batch.
    sent = [entry for entry in provider.requests if api.create_path in entry.path]
    assert len(sent) == 1
    if error is not BatchUnclearError:
        assert jobs_of(provider, api) == []


def test_the_key_goes_to_no_other_host() -> None:
    endpoint = Endpoint(
        provider="google",
        base_url="https://host.example/gemini",
        model="m",
        dialect=DIALECTS["gemini"],
        api_key=KEY,
    )
    link = Link(endpoint)
    inside = "https://host.example/gemini/upload/v1beta/files?upload_id=a%20b"
    assert _own_path(link, inside) == "/upload/v1beta/files?upload_id=a%20b"
    for outside in ("https://other.example/up", "http://host.example/up", "/up", ""):
        with pytest.raises(TeacherUnavailableError, match="a key is never sent on"):
            _own_path(link, outside)


def test_a_key_that_a_refusal_repeats_is_not_told_on() -> None:
    endpoint = Endpoint(
        provider="openai",
        base_url="https://host.example/v1",
        model="m",
        dialect=DIALECTS["openai_chat"],
        api_key=KEY,
    )
    body = f'{{"error": {{"message": "{KEY} asks for too much"}}}}'.encode()
    with pytest.raises(BatchRefusedError) as caught:
        Link(endpoint)._check(Reply(400, {}, body))
    assert str(caught.value) == caught.value.refusal.message == "*** asks for too much"


ROWS: list[tuple[Any, dict[str, Any], str, bool]] = [
    (
        OpenAIBatches(),
        {"custom_id": "n", "response": {"status_code": 429, "body": {"error": {"message": "m"}}}},
        "rate_limited",
        True,
    ),
    (
        OpenAIBatches(),
        {
            "custom_id": "n",
            "response": {
                "status_code": 400,
                "body": {"error": {"message": "m", "code": "context_length_exceeded"}},
            },
        },
        "too_large",
        False,
    ),
    (
        OpenAIBatches(),
        {"custom_id": "n", "response": None, "error": {"code": "batch_expired", "message": "m"}},
        "expired",
        True,
    ),
    (
        AnthropicBatches(),
        {
            "custom_id": "n",
            "result": {
                "type": "errored",
                "error": {
                    "type": "error",
                    "error": {"type": "invalid_request_error", "message": "m"},
                },
            },
        },
        "bad_request",
        False,
    ),
    (
        AnthropicBatches(),
        {
            "custom_id": "n",
            "result": {
                "type": "errored",
                "error": {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
            },
        },
        "overloaded",
        True,
    ),
    (AnthropicBatches(), {"custom_id": "n", "result": {"type": "expired"}}, "expired", True),
    (GeminiBatches(), {"key": "n", "error": {"code": 3, "message": "m"}}, "bad_request", False),
    (GeminiBatches(), {"key": "n", "error": {"code": 4, "message": "m"}}, "timeout", True),
    (GeminiBatches(), {"key": "n", "error": {"code": 13, "message": "m"}}, "server_error", True),
    (
        GeminiBatches(),
        {"key": "n", "error": {"code": 400, "message": "m", "status": "INVALID_ARGUMENT"}},
        "bad_request",
        False,
    ),
]


@pytest.mark.parametrize(("wire", "line", "kind", "is_retryable"), ROWS)
def test_a_failed_row_says_why_and_whether_it_may_pass(
    wire: Any, line: dict[str, Any], kind: str, is_retryable: bool
) -> None:
    row = wire.row(line)
    assert row.name == "n"
    assert row.error is not None
    assert (row.error.type, row.error.retryable) == (kind, is_retryable)


@pytest.mark.parametrize("wire", [OpenAIBatches(), AnthropicBatches(), GeminiBatches()])
@pytest.mark.parametrize(
    "line",
    [
        {},
        {"custom_id": "n", "key": "n"},
        {"custom_id": 3, "key": 3},
        {"custom_id": "n", "result": {"type": "new"}, "response": "x", "key": "n"},
        {"custom_id": "n", "result": [], "response": [], "key": "n"},
    ],
)
def test_a_row_that_is_none_is_malformed(wire: Any, line: dict[str, Any]) -> None:
    with pytest.raises(MalformedAnswerError):
        wire.row(line)


def test_a_time_that_is_none_is_not_believed() -> None:
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    assert time_of("2026-01-02T12:00:00Z") == time_of(int(noon.timestamp())) == noon
    for strange in (None, "today", "2026-01-02T12:00:00", [], int(noon.timestamp() * 1e6)):
        assert time_of(strange) is None


def test_a_broken_answer_in_a_batch_is_a_retryable_error(
    monkeypatch: pytest.MonkeyPatch, provider: MockProvider
) -> None:
    point_at(monkeypatch, APIS["openai"], provider)
    line = {"custom_id": "n", "response": {"status_code": 200, "body": {"choices": "none"}}}
    row = OpenAIBatches().row(orjson.loads(orjson.dumps(line)))
    with open_client(APIS["openai"]) as (client, _):
        answer = client.answer(row, "f" * 64, RemoteBatch("b", "ended", "openai_chat"))
    assert answer.error is not None
    assert (answer.error.type, answer.error.retryable) == ("malformed_answer", True)
    assert answer.usage.cost_usd is None  # it may be on the bill
