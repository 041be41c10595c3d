"""The official Google Gen AI SDK, unchanged, reads all that the mock provider sends."""

import io
import json
import time
from typing import Any

import pytest
from pydantic import BaseModel
from tests.mock_provider import MockProvider, headline, logprob_of, tokenize

genai = pytest.importorskip("google.genai")
pytestmark = pytest.mark.sdk

_PROMPT = "heavy rain closes every road in the west"


class Headline(BaseModel):
    """What structured output must fit."""

    title: str
    words: int


@pytest.fixture
def client(provider: MockProvider) -> "genai.Client":
    return client_of(provider)


def client_of(provider: MockProvider, **options: Any) -> "genai.Client":
    from google.genai import types

    options = {"base_url": provider.base_url("gemini"), **options}
    return genai.Client(api_key="test-key", http_options=types.HttpOptions(**options))


def generate(client: "genai.Client", text: str = _PROMPT, **config: Any) -> Any:
    return client.models.generate_content(model="mock-small", contents=text, config=config)


def declared() -> dict[str, Any]:
    parameters = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}
    return {"function_declarations": [{"name": "weather", "parameters": parameters}]}


def test_content_is_what_the_mock_says_it_will_be(client: "genai.Client") -> None:
    answer = generate(client, system_instruction="Write headlines.", seed=3, temperature=0.5)
    assert answer.text == headline(_PROMPT, seed=3)
    assert answer.candidates[0].finish_reason.name == "STOP"
    assert answer.model_version == "mock-small-2026-01-02"


def test_a_stream_brings_the_same_text_and_usage(client: "genai.Client") -> None:
    text = "storm \U0001f32a\U0001f32a over the bay"
    whole = generate(client, text)
    chunks = list(client.models.generate_content_stream(model="mock-small", contents=text))
    assert "".join(chunk.text or "" for chunk in chunks) == whole.text == headline(text)
    assert chunks[-1].usage_metadata == whole.usage_metadata
    assert chunks[-1].candidates[0].finish_reason.name == "STOP"


def test_thoughts_are_counted_beside_the_candidates(client: "genai.Client") -> None:
    thinking = {"include_thoughts": True, "thinking_budget": 100}
    answer = generate(client, "[[reason=25]] x y", thinking_config=thinking)
    assert [bool(part.thought) for part in answer.candidates[0].content.parts] == [True, False]
    usage = answer.usage_metadata
    assert usage.thoughts_token_count == 25
    assert usage.total_token_count == (
        usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    )


def test_log_probabilities_come_with_token_ids(client: "genai.Client") -> None:
    answer = generate(client, response_logprobs=True, logprobs=4)
    result, tokens = answer.candidates[0].logprobs_result, tokenize(headline(_PROMPT))
    assert [each.token_id for each in result.chosen_candidates] == [token.id for token in tokens]
    assert [each.log_probability for each in result.chosen_candidates] == [
        logprob_of(token) for token in tokens
    ]
    assert [len(top.candidates) for top in result.top_candidates] == [4] * len(tokens)


def test_a_function_call_and_its_result(client: "genai.Client") -> None:
    from google.genai import types

    answer = generate(client, tools=[declared()])
    call = answer.function_calls[0]
    assert (call.name, call.args) == ("weather", {"city": headline(_PROMPT)})
    result = types.Part.from_function_response(name="weather", response={"sky": "clear"})
    contents = [
        types.Content(role="user", parts=[types.Part(text=_PROMPT)]),
        answer.candidates[0].content,
        types.Content(role="user", parts=[result]),
    ]
    second = client.models.generate_content(
        model="mock-small", contents=contents, config={"tools": [declared()]}
    )
    assert second.function_calls is None
    assert second.text == headline("")


def test_structured_output_is_parsed_into_a_model(client: "genai.Client") -> None:
    config = {"response_mime_type": "application/json", "response_schema": Headline}
    assert generate(client, **config).parsed.title == headline(_PROMPT)


def test_blocked_refused_and_truncated_answers(client: "genai.Client") -> None:
    blocked = generate(client, "[[block]] x")
    assert blocked.candidates is None
    assert blocked.prompt_feedback.block_reason.name == "PROHIBITED_CONTENT"
    refused = generate(client, "[[refuse]] x").candidates[0]
    assert (refused.content, refused.finish_reason.name) == (None, "PROHIBITED_CONTENT")
    cut = generate(client, "[[tokens=30]] x", max_output_tokens=7)
    assert cut.candidates[0].finish_reason.name == "MAX_TOKENS"
    assert cut.usage_metadata.candidates_token_count == 7


def test_cached_and_audio_tokens_are_counted(client: "genai.Client") -> None:
    usage = generate(client, "[[cached=40]] [[audio=5]] x").usage_metadata
    assert (usage.prompt_token_count, usage.cached_content_token_count) == (40, 40)
    assert [each.token_count for each in usage.prompt_tokens_details] == [35, 5]


def finished(client: "genai.Client", name: str) -> Any:
    job = client.batches.get(name=name)
    while job.state.name in ("JOB_STATE_PENDING", "JOB_STATE_RUNNING"):
        job = client.batches.get(name=name)
    return job


def test_an_inline_batch_brings_every_answer(client: "genai.Client") -> None:
    texts = ["rain at noon", "sun at noon", "[[fail]] x"]
    source = [
        {"contents": [{"role": "user", "parts": [{"text": text}]}], "metadata": {"key": f"k{at}"}}
        for at, text in enumerate(texts)
    ]
    job = client.batches.create(model="mock-small", src=source, config={"display_name": "run 1"})
    assert (job.display_name, job.state.name) == ("run 1", "JOB_STATE_PENDING")
    assert [found.name for found in client.batches.list()] == [job.name]
    done = finished(client, job.name)
    assert done.state.name == "JOB_STATE_SUCCEEDED"
    rows = {row.metadata["key"]: row for row in done.dest.inlined_responses}
    assert rows["k0"].response.text == headline("rain at noon")
    assert rows["k1"].response.text == headline("sun at noon")
    assert rows["k2"].error.message == "The request failed in the batch."


def test_a_batch_of_a_file_comes_back_as_a_file(client: "genai.Client") -> None:
    lines = [
        json.dumps({"key": f"k{at}", "request": {"contents": [{"parts": [{"text": text}]}]}})
        for at, text in enumerate(("rain at noon", "sun at noon"))
    ]
    config = {"display_name": "in", "mime_type": "application/jsonl"}
    file = client.files.upload(file=io.BytesIO("\n".join(lines).encode()), config=config)
    job = client.batches.create(model="mock-small", src=file.name)
    done = finished(client, job.name)
    content = client.files.download(file=done.dest.file_name).decode()
    rows = {row["key"]: row["response"] for row in map(json.loads, content.splitlines())}
    texts = {key: row["candidates"][0]["content"]["parts"][0]["text"] for key, row in rows.items()}
    assert texts == {"k0": headline("rain at noon"), "k1": headline("sun at noon")}


def test_a_cancelled_batch_says_so(client: "genai.Client") -> None:
    job = client.batches.create(
        model="mock-small", src=[{"contents": [{"parts": [{"text": "x"}]}]}]
    )
    client.batches.cancel(name=job.name)
    assert client.batches.get(name=job.name).state.name == "JOB_STATE_CANCELLED"
    client.batches.delete(name=job.name)


@pytest.mark.parametrize(
    ("fault", "error", "code", "status"),
    [
        ("bad_request", "ClientError", 400, "INVALID_ARGUMENT"),
        ("unauthorized", "ClientError", 400, "INVALID_ARGUMENT"),
        ("forbidden", "ClientError", 403, "PERMISSION_DENIED"),
        ("not_found", "ClientError", 404, "NOT_FOUND"),
        ("rate_limit:wait_s=34,form=retry_info", "ClientError", 429, "RESOURCE_EXHAUSTED"),
        ("server_error", "ServerError", 500, "INTERNAL"),
        ("overloaded", "ServerError", 503, "UNAVAILABLE"),
    ],
)
def test_faults_raise_the_sdks_own_errors(
    provider: MockProvider, fault: str, error: str, code: int, status: str
) -> None:
    from google.genai import errors

    client = client_of(provider, headers={"x-mock-fault": fault})
    with pytest.raises(getattr(errors, error)) as raised:
        generate(client)
    assert (raised.value.code, raised.value.status) == (code, status)
    if "retry_info" in fault:
        assert raised.value.details["error"]["details"][0]["retryDelay"] == "34s"


def test_a_late_error_in_a_stream_is_raised(provider: MockProvider) -> None:
    from google.genai import errors

    client = client_of(provider, headers={"x-mock-fault": "late_error"})
    with pytest.raises(errors.ServerError, match="overloaded"):
        list(client.models.generate_content_stream(model="mock-small", contents=_PROMPT))


def test_a_retry_is_sent_and_answered(provider: MockProvider) -> None:
    from google.genai import types

    provider.change(faults=["overloaded:first=2"])
    retry = types.HttpRetryOptions(attempts=3, initial_delay=0.1, max_delay=0.2, jitter=0)
    started_s = time.monotonic()
    assert generate(client_of(provider, retry_options=retry)).text == headline(_PROMPT)
    assert time.monotonic() - started_s >= 0.2
    assert [request.status for request in provider.requests] == [503, 503, 200]
