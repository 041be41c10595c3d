"""Teachers behind an API, against a server that speaks every dialect and goes wrong on demand."""

from collections.abc import Iterator

import pytest
from asking import answers, raw_answers, requests_for
from tests.mock_provider import MockProvider

from stillhouse.errors import ConfigError, TeacherUnavailableError
from stillhouse.teachers import Access, open_teacher
from stillhouse.teachers._api import ApiTeacher

KEY = "sk-very-secret"
TEACHERS = {
    "openai:m": ("OPENAI", "/v1"),
    "openai:m?api=responses": ("OPENAI", "/v1"),
    "anthropic:m": ("ANTHROPIC", ""),
    "google:m": ("GEMINI", ""),
}
ADDRESS = {"GEMINI": "GOOGLE_GEMINI_BASE_URL"}


@pytest.fixture
def mock() -> Iterator[MockProvider]:
    with MockProvider() as provider:
        yield provider


def opened(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, spec: str, access: Access | None = None
) -> ApiTeacher:
    account, root = TEACHERS[spec]
    monkeypatch.setenv(f"{account}_API_KEY", KEY)
    monkeypatch.setenv(ADDRESS.get(account, f"{account}_BASE_URL"), mock.url + root)
    teacher = open_teacher(spec, access)
    assert isinstance(teacher, ApiTeacher)
    return teacher


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("spec", TEACHERS)
def test_every_dialect_answers_each_request_once(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, spec: str, is_streamed: bool
) -> None:
    requests = requests_for(*(f"Tell of town {i}" for i in range(20)), max_tokens=64)
    with opened(mock, monkeypatch, spec, Access(is_streamed=is_streamed)) as teacher:
        found = answers(teacher, requests)
    assert {one.request_id for one in found} == {request.id for request in requests}
    assert len(found) == len(requests) == mock.count
    assert all(one.text and one.usage.completion_tokens and not one.error for one in found)


@pytest.mark.parametrize("fault", ["rate_limit:times=2,wait_s=0", "overloaded:times=1,wait_s=0"])
def test_a_refusal_that_costs_nothing_is_repeated_at_the_gate(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    kind = fault.split(",")[0]
    with opened(mock, monkeypatch, "openai:m") as teacher:
        (one,) = answers(teacher, requests_for(f"Tell of a town [[fault={kind}]]"))
    assert one.error is None
    assert mock.count >= 2


@pytest.mark.parametrize("kind", ["server_error", "cut", "torn_json", "html", "reset"])
def test_what_may_have_been_paid_comes_back_as_a_retryable_error(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with opened(mock, monkeypatch, "openai:m") as teacher:
        (one,) = raw_answers(teacher, requests_for(f"Tell of a town [[fault={kind}:times=1]]"))
        assert one.error is not None
        assert one.error.retryable
        (again,) = raw_answers(teacher, requests_for(f"Tell of a town [[fault={kind}:times=1]]"))
    assert again.error is None
    assert mock.count == 2


def test_a_hanging_endpoint_is_given_up_after_the_timeout(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(mock, monkeypatch, "openai:m", Access(timeout_s=0.3)) as teacher:
        (one,) = raw_answers(teacher, requests_for("Tell of a town [[fault=hang]]"))
    assert one.error is not None
    assert (one.error.type, one.error.retryable) == ("timeout", True)


@pytest.mark.parametrize("kind", ["unauthorized", "billing", "forbidden", "not_found", "quota"])
def test_what_no_request_can_pass_ends_the_stream_without_the_key(
    mock: MockProvider, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    requests = requests_for(*(f"Town {i} [[fault={kind}]]" for i in range(200)))
    with (
        opened(mock, monkeypatch, "openai:m", Access(concurrency=4)) as teacher,
        pytest.raises(TeacherUnavailableError) as caught,
    ):
        raw_answers(teacher, requests)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert mock.count < 20


def test_nothing_at_the_address_is_said_with_host_and_port(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("STILLHOUSE_API_KEY", raising=False)
    with (
        open_teacher("http://127.0.0.1:9/v1#m") as teacher,
        pytest.raises(TeacherUnavailableError, match=r"127\.0\.0\.1:9"),
    ):
        raw_answers(teacher, requests_for("hello"))


def test_a_missing_key_is_asked_for_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY"):
        open_teacher("anthropic:m")
