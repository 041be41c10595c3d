"""The official OpenAI SDK, unchanged, reads all that the mock provider sends."""

import io
import json
import time
from collections.abc import Iterator

import pytest
from pydantic import BaseModel
from tests.mock_provider import MockProvider, headline, logprob_of, tokenize, top_of

openai = pytest.importorskip("openai")
pytestmark = pytest.mark.sdk

_PROMPT = "heavy rain closes every road in the west"
_MESSAGES = [{"role": "user", "content": _PROMPT}]
_WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 3}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
_TOOL = {"type": "function", "function": {"name": "weather", "parameters": _WEATHER}}


class Headline(BaseModel):
    """What structured output must fit."""

    title: str
    words: int


@pytest.fixture
def client(provider: MockProvider) -> Iterator["openai.OpenAI"]:
    with openai.OpenAI(
        api_key="test-key", base_url=provider.base_url("openai_chat"), max_retries=0
    ) as client:
        yield client


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_a_chat_completion_is_what_the_mock_says_it_will_be(client: "openai.OpenAI") -> None:
    answer = client.chat.completions.create(model="mock-small", messages=_MESSAGES, seed=7, n=2)
    assert [choice.message.content for choice in answer.choices] == [
        headline(_PROMPT, sample=sample, seed=7) for sample in (0, 1)
    ]
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_brings_the_same_text_and_usage(client: "openai.OpenAI") -> None:
    text = "storm \U0001f32a\U0001f32a over the bay"
    whole = client.chat.completions.create(model="mock-small", messages=say(text))
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model="mock-small", messages=say(text), stream=True, stream_options=options
        )
    )
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(deltas) == whole.choices[0].message.content == headline(text)
    assert chunks[-1].usage == whole.usage
    assert chunks[-1].choices == []


def test_the_stream_helper_puts_tool_calls_together(client: "openai.OpenAI") -> None:
    with client.chat.completions.stream(
        model="mock-small", messages=say("[[calls=2]] " + _PROMPT), tools=[_TOOL]
    ) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert [call.function.name for call in calls] == ["weather", "weather"]
    assert json.loads(calls[0].function.arguments)["city"] == headline(_PROMPT)


def test_a_tool_result_is_answered_in_text(client: "openai.OpenAI") -> None:
    first = client.chat.completions.create(model="mock-small", messages=_MESSAGES, tools=[_TOOL])
    assert first.choices[0].finish_reason == "tool_calls"
    message = first.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sun all day"}
    second = client.chat.completions.create(
        model="mock-small", messages=[*_MESSAGES, message, result], tools=[_TOOL]
    )
    assert second.choices[0].message.content == headline("sun all day")


def test_structured_output_is_parsed_into_a_model(client: "openai.OpenAI") -> None:
    answer = client.chat.completions.parse(
        model="mock-small", messages=_MESSAGES, response_format=Headline
    )
    assert answer.choices[0].message.parsed.title == headline(_PROMPT)


def test_log_probabilities_and_bytes_are_those_of_the_tokens(client: "openai.OpenAI") -> None:
    text = "wind \U0001f32a tonight and more of it"
    answer = client.chat.completions.create(
        model="mock-small", messages=say(text), logprobs=True, top_logprobs=5
    )
    tokens, entries = tokenize(headline(text)), answer.choices[0].logprobs.content
    assert [bytes(entry.bytes) for entry in entries] == [token.raw for token in tokens]
    assert [entry.logprob for entry in entries] == [logprob_of(token) for token in tokens]
    assert [top.logprob for top in entries[0].top_logprobs] == [x for _, x in top_of(tokens[0], 5)]
    joined = b"".join(bytes(entry.bytes) for entry in entries)
    assert joined.decode() == answer.choices[0].message.content


def test_refusals_truncations_and_reasoning_are_kept_apart(client: "openai.OpenAI") -> None:
    create = client.chat.completions.create
    refused = create(model="mock-small", messages=say("[[refuse]] how"))
    assert refused.choices[0].message.content is None
    assert refused.choices[0].message.refusal == "I cannot help with that."
    cut = create(model="mock-small", messages=say("[[tokens=50]] x"), max_completion_tokens=9)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 9)
    thought = create(model="mock-small", messages=say("[[reason=30]] x"), max_completion_tokens=20)
    assert thought.choices[0].message.content == ""
    assert thought.usage.completion_tokens_details.reasoning_tokens == 20


def test_usage_has_cached_and_audio_tokens(client: "openai.OpenAI") -> None:
    text = "[[cached=40]] [[written=20]] [[audio=6]] x"
    usage = client.chat.completions.create(model="mock-small", messages=say(text)).usage
    details = usage.prompt_tokens_details
    assert (details.cached_tokens, details.cache_write_tokens, details.audio_tokens) == (40, 20, 6)
    assert usage.prompt_tokens == 60


def test_a_response_is_what_the_mock_says_it_will_be(client: "openai.OpenAI") -> None:
    answer = client.responses.create(
        model="mock-small",
        input=_PROMPT,
        reasoning={"effort": "high", "summary": "auto"},
        include=["message.output_text.logprobs"],
        top_logprobs=3,
    )
    assert answer.output_text == headline(_PROMPT)
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    tokens = tokenize(headline(_PROMPT))
    logprobs = answer.output[1].content[0].logprobs
    assert [entry.logprob for entry in logprobs] == [logprob_of(token) for token in tokens]
    assert answer.usage.output_tokens == len(tokens) + 12


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (_PROMPT, {}),
        ("[[reason]] " + _PROMPT, {"reasoning": {"effort": "low", "summary": "auto"}}),
        ("[[refuse]] x", {}),
        ("[[tokens=60]] x", {"max_output_tokens": 16}),
        (_PROMPT, {"tools": [{"type": "function", "name": "w", "parameters": _WEATHER,
                              "strict": True}]}),
    ],
)  # fmt: skip
def test_a_response_streams_to_the_same_object(
    client: "openai.OpenAI", text: str, options: dict[str, object]
) -> None:
    given = {"model": "mock-small", "input": text, "store": False, **options}
    whole = client.responses.create(**given)
    with client.responses.stream(**given) as stream:
        events = list(stream)
    # The helper's own `get_final_response` knows no incomplete responses.
    final = events[-1].response
    assert events[-1].type == f"response.{whole.status}"
    assert final.to_dict()["usage"] == whole.to_dict()["usage"]
    assert final.output_text == whole.output_text
    assert [item.type for item in final.output] == [item.type for item in whole.output]


def test_a_response_is_parsed_into_a_model(client: "openai.OpenAI") -> None:
    answer = client.responses.parse(model="mock-small", input=_PROMPT, text_format=Headline)
    assert answer.output_parsed.title == headline(_PROMPT)


def test_a_background_response_is_fetched_by_its_id(client: "openai.OpenAI") -> None:
    queued = client.responses.create(model="mock-small", input=_PROMPT, background=True)
    assert queued.status == "queued"
    statuses = [client.responses.retrieve(queued.id).status for _ in range(3)]
    assert statuses == ["in_progress", "in_progress", "completed"]
    assert client.responses.retrieve(queued.id).output_text == headline(_PROMPT)


def test_stored_completions_are_listed_by_their_metadata(client: "openai.OpenAI") -> None:
    for run, number in (("a", 1), ("b", 2), ("a", 3)):
        metadata = {"run": run, "number": str(number)}
        client.chat.completions.create(
            model="mock-small", messages=_MESSAGES, store=True, metadata=metadata
        )
    kept = list(client.chat.completions.list(metadata={"run": "a"}, limit=1))
    assert [each.metadata["number"] for each in kept] == ["1", "3"]
    written = client.chat.completions.messages.list(kept[0].id)
    assert [message.content for message in written] == [_PROMPT]


def test_models_are_listed(client: "openai.OpenAI") -> None:
    assert "mock-small" in [model.id for model in client.models.list()]
    assert client.models.retrieve("mock-large").id == "mock-large"


def batch_line(number: int, text: str) -> str:
    body = {"model": "mock-small", "messages": say(text)}
    url = "/v1/chat/completions"
    return json.dumps({"custom_id": f"r{number}", "method": "POST", "url": url, "body": body})


def test_a_batch_goes_up_ends_and_comes_down(
    client: "openai.OpenAI", provider: MockProvider
) -> None:
    texts = [f"rain number {number}" for number in range(4)] + ["[[fail]] x"]
    lines = "\n".join(batch_line(number, text) for number, text in enumerate(texts))
    file = client.files.create(file=("in.jsonl", io.BytesIO(lines.encode())), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata={"run": "r1"},
    )
    assert batch.status == "validating"
    assert [found.id for found in client.batches.list()] == [batch.id]
    statuses = [client.batches.retrieve(batch.id).status for _ in range(3)]
    assert statuses == ["validating", "in_progress", "completed"]
    done = client.batches.retrieve(batch.id)
    assert (done.request_counts.completed, done.request_counts.failed) == (4, 1)
    rows = [json.loads(row) for row in client.files.content(done.output_file_id).text.splitlines()]
    texts_out = {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"]
        for row in rows
    }
    assert texts_out == {f"r{at}": headline(text) for at, text in enumerate(texts[:4])}
    bad = json.loads(client.files.content(done.error_file_id).text)
    assert (bad["custom_id"], bad["response"]["status_code"]) == ("r4", 500)
    assert provider.world.num_paid == 4


def test_a_batch_of_an_unreadable_file_fails_with_the_line(client: "openai.OpenAI") -> None:
    lines = f"{batch_line(1, 'x')}\nnot json\n"
    file = client.files.create(file=("in.jsonl", lines.encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    failed = client.batches.retrieve(batch.id)
    assert failed.status == "failed"
    assert (failed.errors.data[0].line, failed.errors.data[0].code) == (2, "invalid_json_line")


def test_a_batch_can_be_cancelled(client: "openai.OpenAI") -> None:
    file = client.files.create(file=("in.jsonl", batch_line(1, "x").encode()), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert client.batches.cancel(batch.id).status == "cancelling"
    assert client.batches.retrieve(batch.id).status == "cancelled"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("bad_request", "BadRequestError"),
        ("unauthorized", "AuthenticationError"),
        ("forbidden", "PermissionDeniedError"),
        ("not_found", "NotFoundError"),
        ("conflict", "ConflictError"),
        ("rate_limit", "RateLimitError"),
        ("quota", "RateLimitError"),
        ("server_error", "InternalServerError"),
        ("bad_gateway", "InternalServerError"),
        ("overloaded", "InternalServerError"),
        ("reset", "APIConnectionError"),
        ("lost", "APIConnectionError"),
    ],
)
def test_faults_raise_the_sdks_own_errors(client: "openai.OpenAI", fault: str, error: str) -> None:
    with pytest.raises(getattr(openai, error)) as raised:
        client.chat.completions.create(
            model="mock-small", messages=_MESSAGES, extra_headers={"x-mock-fault": fault}
        )
    if fault == "quota":
        assert raised.value.code == "insufficient_quota"


def test_a_late_error_in_a_stream_is_raised(client: "openai.OpenAI") -> None:
    stream = client.chat.completions.create(
        model="mock-small",
        messages=say("[[tokens=40]] x"),
        stream=True,
        extra_headers={"x-mock-fault": "late_error"},
    )
    with pytest.raises(openai.APIError, match="overloaded"):
        list(stream)


def test_keep_alives_small_pieces_and_crlf_do_not_matter(client: "openai.OpenAI") -> None:
    for fault in ("keep_alive:delay_s=0", "shred", "crlf", "drip:delay_s=0"):
        stream = client.chat.completions.create(
            model="mock-small",
            messages=_MESSAGES,
            stream=True,
            extra_headers={"x-mock-fault": fault},
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert text == headline(_PROMPT), fault


@pytest.mark.parametrize("form", ["seconds", "ms"])
def test_a_retry_waits_as_long_as_it_is_asked_to(provider: MockProvider, form: str) -> None:
    provider.change(faults=[f"rate_limit:wait_s=0.3,form={form},first=1"])
    with openai.OpenAI(api_key="k", base_url=provider.base_url("openai_chat")) as client:
        started_s = time.monotonic()
        client.chat.completions.create(model="mock-small", messages=_MESSAGES)
    assert 0.3 <= time.monotonic() - started_s < 2
    assert [request.status for request in provider.requests] == [429, 200]


def test_a_provider_that_says_not_to_retry_is_obeyed(provider: MockProvider) -> None:
    provider.change(faults=["server_error:should_retry=false"])
    with (
        openai.OpenAI(api_key="k", base_url=provider.base_url("openai_chat")) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(model="mock-small", messages=_MESSAGES)
    assert provider.count == 1


def test_limits_are_seen_in_the_headers(provider: MockProvider, client: "openai.OpenAI") -> None:
    provider.change(limits={"rpm": 2, "tpm": 10_000})
    raw = client.chat.completions.with_raw_response
    first = raw.create(model="mock-small", messages=_MESSAGES)
    assert first.headers["x-ratelimit-limit-requests"] == "2"
    assert first.headers["x-ratelimit-remaining-requests"] == "1"
    assert first.headers["x-ratelimit-reset-requests"].endswith("s")
    raw.create(model="mock-small", messages=_MESSAGES)
    with pytest.raises(openai.RateLimitError) as refused:
        raw.create(model="mock-small", messages=_MESSAGES)
    assert refused.value.response.headers["retry-after"] == "30"
