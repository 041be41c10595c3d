"""The official Anthropic SDK, unchanged, reads all that the mock provider sends."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.mock_provider import MockProvider, headline

anthropic = pytest.importorskip("anthropic")
pytestmark = pytest.mark.sdk

_PROMPT = "heavy rain closes every road in the west"
_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
_TOOL = {"name": "weather", "description": "Of a city.", "input_schema": _SCHEMA}


@pytest.fixture
def client(provider: MockProvider) -> Iterator["anthropic.Anthropic"]:
    with anthropic.Anthropic(
        api_key="test-key", base_url=provider.base_url("anthropic"), max_retries=0
    ) as client:
        yield client


def ask(text: str = _PROMPT, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    return {"model": "mock-small", "max_tokens": 2000, "messages": messages, **more}


def test_a_message_is_what_the_mock_says_it_will_be(client: "anthropic.Anthropic") -> None:
    message = client.messages.create(**ask(system="Write headlines."))
    assert [block.text for block in message.content] == [headline(_PROMPT)]
    assert message.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (_PROMPT, {}),
        ("storm \U0001f32a\U0001f32a over the bay", {}),
        (_PROMPT, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        (_PROMPT, {"tools": [_TOOL]}),
        ("[[refuse]] x", {}),
        ("[[tokens=30]] x", {"max_tokens": 11}),
        ("one two STOP three", {"stop_sequences": ["STOP"]}),
        ("[[cached=40]] [[written=20]] x", {}),
    ],
)
def test_a_message_streams_to_the_same_object(
    client: "anthropic.Anthropic", text: str, more: dict[str, Any]
) -> None:
    whole = client.messages.create(**ask(text, **more))
    with client.messages.stream(**ask(text, **more)) as stream:
        final = stream.get_final_message()
    assert [block.to_dict() for block in final.content] == [
        block.to_dict() for block in whole.content
    ]
    assert (final.stop_reason, final.stop_sequence) == (whole.stop_reason, whole.stop_sequence)
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert final.usage.cache_read_input_tokens == whole.usage.cache_read_input_tokens


def test_stop_reasons_are_the_apis_own(client: "anthropic.Anthropic") -> None:
    def reason(text: str, **more: Any) -> str:
        return client.messages.create(**ask(text, **more)).stop_reason  # type: ignore[no-any-return]

    assert reason("[[refuse]] x") == "refusal"
    assert reason("[[tokens=30]] x", max_tokens=11) == "max_tokens"
    assert reason(_PROMPT, tools=[_TOOL]) == "tool_use"


def test_thinking_has_its_own_block_and_count(client: "anthropic.Anthropic") -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    message = client.messages.create(**ask("[[reason=25]] x y", thinking=thinking))
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.usage.output_tokens_details.thinking_tokens == 25


def test_cached_tokens_are_not_part_of_input_tokens(client: "anthropic.Anthropic") -> None:
    usage = client.messages.create(**ask("[[cached=400]] [[written=200]] x")).usage
    assert (usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (400, 200)
    assert usage.input_tokens == 0


def test_a_tool_result_is_answered_in_text(client: "anthropic.Anthropic") -> None:
    first = client.messages.create(**ask(tools=[_TOOL]))
    call = first.content[0]
    assert call.input["city"] == headline(_PROMPT)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sun all day"}
    given = ask(tools=[_TOOL])
    given["messages"] += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]
    assert client.messages.create(**given).content[0].text == headline("sun all day")


def test_structured_output_fits_its_schema(client: "anthropic.Anthropic") -> None:
    output = {"format": {"type": "json_schema", "schema": _SCHEMA}}
    message = client.messages.create(**ask(output_config=output))
    assert message.content[0].text.startswith('{"city":"Heavy')


def test_a_batch_ends_and_brings_every_kind_of_result(
    client: "anthropic.Anthropic", provider: MockProvider
) -> None:
    provider.change(batch={"expired_fraction": 0.25})
    texts = {"a": "rain at noon", "b": "[[fail]] x", "c": "sun at noon", "d": "snow"}
    requests = [{"custom_id": name, "params": ask(text)} for name, text in texts.items()]
    batch = client.messages.batches.create(requests=requests)
    assert batch.request_counts.processing == 4
    while batch.processing_status != "ended":
        batch = client.messages.batches.retrieve(batch.id)
    assert [found.id for found in client.messages.batches.list()] == [batch.id]
    results = {row.custom_id: row.result for row in client.messages.batches.results(batch.id)}
    assert {name: result.type for name, result in results.items()} == {
        "a": "succeeded", "b": "errored", "c": "succeeded", "d": "expired",
    }  # fmt: skip
    assert results["a"].message.content[0].text == headline("rain at noon")
    assert results["b"].error.error.type == "api_error"
    assert results["a"].message.usage.service_tier == "batch"
    assert batch.request_counts.succeeded == 2


def test_a_batch_can_be_cancelled_and_deleted(client: "anthropic.Anthropic") -> None:
    batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": ask()}])
    assert client.messages.batches.cancel(batch.id).processing_status == "canceling"
    assert client.messages.batches.retrieve(batch.id).request_counts.canceled == 1
    assert client.messages.batches.delete(batch.id).id == batch.id


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [
        ("bad_request", "BadRequestError", 400),
        ("unauthorized", "AuthenticationError", 401),
        ("billing", "APIStatusError", 402),
        ("forbidden", "PermissionDeniedError", 403),
        ("not_found", "NotFoundError", 404),
        ("too_large", "APIStatusError", 413),
        ("rate_limit", "RateLimitError", 429),
        ("server_error", "InternalServerError", 500),
        ("timeout", "APIStatusError", 504),
        ("overloaded", "APIStatusError", 529),
    ],
)
def test_faults_raise_the_sdks_own_errors(
    client: "anthropic.Anthropic", fault: str, error: str, status: int
) -> None:
    with pytest.raises(getattr(anthropic, error)) as raised:
        client.messages.create(**ask(), extra_headers={"x-mock-fault": fault})
    assert raised.value.status_code == status
    assert raised.value.body["type"] == "error"


def test_a_late_error_in_a_stream_is_raised(client: "anthropic.Anthropic") -> None:
    stream = client.messages.create(
        **ask("[[tokens=40]] x"), stream=True, extra_headers={"x-mock-fault": "late_error"}
    )
    with pytest.raises(anthropic.APIStatusError, match="overloaded"):
        list(stream)


def test_a_retry_waits_as_long_as_it_is_asked_to(provider: MockProvider) -> None:
    provider.change(faults=["overloaded:wait_s=0.3,first=1"])
    with anthropic.Anthropic(api_key="k", base_url=provider.base_url("anthropic")) as client:
        started_s = time.monotonic()
        client.messages.create(**ask())
    assert 0.3 <= time.monotonic() - started_s < 2
    assert [request.status for request in provider.requests] == [529, 200]


def test_limits_are_seen_in_the_headers(
    provider: MockProvider, client: "anthropic.Anthropic"
) -> None:
    provider.change(limits={"rpm": 10, "itpm": 5000, "otpm": 2000})
    headers = client.messages.with_raw_response.create(**ask()).headers
    assert headers["anthropic-ratelimit-requests-remaining"] == "9"
    assert headers["anthropic-ratelimit-input-tokens-limit"] == "5000"
    assert headers["anthropic-ratelimit-output-tokens-reset"].endswith("Z")
