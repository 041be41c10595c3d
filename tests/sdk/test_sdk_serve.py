"""The official SDKs of OpenAI and Anthropic, unchanged, ask a student that we serve."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
pytestmark = pytest.mark.sdk

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from serve_cases import RunningServer  # noqa: E402

_KEY = "a-key-of-the-student"
_ASKED = [{"role": "user", "content": "town"}]
_SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["bridge", "farm"]}},
    "required": ["kind"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def url(tiny_folder: Path) -> Iterator[str]:
    import small_models

    from stillhouse.serve._local import LocalEngine

    config = small_models.llama(max_position_embeddings=1024)
    engine = LocalEngine(small_models.make(config, tiny_folder), slots=4, max_tokens=200)
    with RunningServer(engine, keys=(_KEY,)) as server:
        yield server.url


@pytest.fixture
def client(url: str) -> Iterator["openai.OpenAI"]:
    with openai.OpenAI(api_key=_KEY, base_url=f"{url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
def claude(url: str) -> Iterator["anthropic.Anthropic"]:
    with anthropic.Anthropic(api_key=_KEY, base_url=url, max_retries=0) as client:
        yield client


def _strict(value: object) -> None:
    """Validate a document as its published type has it: SDKs themselves let anything pass."""
    type(value).model_validate(value.to_dict(), strict=False)  # type: ignore[attr-defined]


def test_chat_completions(client: "openai.OpenAI") -> None:
    asked = {"model": "any", "messages": _ASKED, "max_completion_tokens": 9, "seed": 4, "n": 2}
    told = client.chat.completions.create(**asked, logprobs=True, top_logprobs=3)
    _strict(told)
    assert [choice.index for choice in told.choices] == [0, 1]
    assert told.choices[0].logprobs.content[0].top_logprobs
    chunks = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    for chunk in chunks:
        _strict(chunk)
    for choice in told.choices:
        mine = [c for chunk in chunks for c in chunk.choices if c.index == choice.index]
        assert "".join(c.delta.content or "" for c in mine) == choice.message.content
        assert mine[-1].finish_reason == choice.finish_reason
    assert chunks[-1].usage == told.usage


def test_structured_output_and_tools(client: "openai.OpenAI") -> None:
    form = {"type": "json_schema", "json_schema": {"name": "town", "schema": _SCHEMA}}
    told = client.chat.completions.create(
        model="any", messages=_ASKED, max_tokens=60, response_format=form
    )
    assert json.loads(told.choices[0].message.content)["kind"] in ("bridge", "farm")
    tool = {"type": "function", "function": {"name": "find", "parameters": _SCHEMA}}
    called = client.chat.completions.create(
        model="any",
        messages=_ASKED,
        max_tokens=100,
        tools=[tool],
        tool_choice={"type": "function", "function": {"name": "find"}},
    ).choices[0]
    _strict(called)
    (call,) = called.message.tool_calls
    assert called.finish_reason == "tool_calls"
    answered = [
        *_ASKED,
        {"role": "assistant", "tool_calls": [call.to_dict()]},
        {"role": "tool", "tool_call_id": call.id, "content": "found"},
    ]
    assert client.chat.completions.create(model="any", messages=answered, max_tokens=4).id


def test_completions_and_models(client: "openai.OpenAI") -> None:
    asked = {"model": "any", "prompt": "town", "max_tokens": 6, "temperature": 0}
    told = client.completions.create(**asked, logprobs=2)
    _strict(told)
    chunks = list(client.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == told.choices[0].text
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id) == model


def test_responses(client: "openai.OpenAI") -> None:
    asked = {"model": "any", "input": "town", "max_output_tokens": 8, "temperature": 0}
    told = client.responses.create(**asked)
    _strict(told)
    assert (told.status, told.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    events = list(client.responses.create(**asked, stream=True))
    for event in events:
        _strict(event)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    said = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(said) == told.output_text
    assert events[-1].response.usage == told.usage
    tool = {"type": "function", "name": "find", "parameters": _SCHEMA, "strict": True}
    called = client.responses.create(
        model="any", input="town", tools=[tool], tool_choice="required", max_output_tokens=100
    )
    _strict(called)
    assert json.loads(called.output[0].arguments)["kind"] in ("bridge", "farm")
    streamed = client.responses.create(
        model="any",
        input="town",
        tools=[tool],
        tool_choice="required",
        max_output_tokens=100,
        stream=True,
    )
    assert "response.function_call_arguments.done" in [event.type for event in streamed]


def test_messages(claude: "anthropic.Anthropic") -> None:
    asked = {"model": "any", "max_tokens": 8, "messages": _ASKED, "system": "be brief"}
    told = claude.messages.create(**asked)
    _strict(told)
    assert told.stop_reason in ("max_tokens", "end_turn")
    assert told.usage.output_tokens <= 8
    with claude.messages.stream(**asked) as stream:
        said = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert final.content[0].text == said
    tool = {"name": "find", "description": "finds", "input_schema": _SCHEMA}
    called = claude.messages.create(
        **{**asked, "max_tokens": 100}, tools=[tool], tool_choice={"type": "any"}
    )
    assert called.stop_reason == "tool_use"
    (use,) = called.content
    turns = [
        *_ASKED,
        {"role": "assistant", "content": [use.to_dict()]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "found"}],
        },
    ]
    again = {**asked, "messages": turns, "tools": [tool]}
    assert claude.messages.create(**again).id
    with claude.messages.stream(
        **{**asked, "max_tokens": 100}, tools=[tool], tool_choice={"type": "tool", "name": "find"}
    ) as stream:
        assert stream.get_final_message().content[0].name == "find"


def test_tokens_are_counted_as_they_are_used(claude: "anthropic.Anthropic") -> None:
    counted = claude.messages.count_tokens(model="any", messages=_ASKED, system="be brief")
    _strict(counted)
    told = claude.messages.create(model="any", messages=_ASKED, system="be brief", max_tokens=1)
    assert counted.input_tokens == told.usage.input_tokens


def test_embeddings(tmp_path: Path, client: "openai.OpenAI") -> None:
    import label_students
    from fit_cases import a_task

    from stillhouse.serve._labels import LabelEngine

    engine = LabelEngine(label_students.an_embedding(tmp_path), a_task(), name="student")
    with (
        RunningServer(engine) as server,
        openai.OpenAI(api_key="none", base_url=f"{server.url}/v1", max_retries=0) as asking,
    ):
        texts = ["my card", "what is the rate"]
        packed = asking.embeddings.create(model="any", input=texts)  # base64, unless told
        plain = asking.embeddings.create(model="any", input=texts, encoding_format="float")
        _strict(plain)
        for one, other in zip(packed.data, plain.data, strict=True):
            assert one.embedding == pytest.approx(other.embedding)
            assert len(one.embedding) == 32
        assert packed.usage == plain.usage
        with pytest.raises(openai.BadRequestError, match="embeddings have 32"):
            asking.embeddings.create(model="any", input=texts, dimensions=8)
    with pytest.raises(openai.NotFoundError, match="no embeddings"):
        client.embeddings.create(model="any", input="town")


def test_errors_are_those_that_the_sdks_know(url: str, client: "openai.OpenAI") -> None:
    with pytest.raises(openai.BadRequestError, match="Shorten it") as told:
        client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "town " * 3000}]
        )
    assert told.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    stranger = openai.OpenAI(api_key="wrong", base_url=f"{url}/v1", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    other = anthropic.Anthropic(api_key="wrong", base_url=url, max_retries=0)
    with other, pytest.raises(anthropic.AuthenticationError):
        other.messages.create(model="any", max_tokens=1, messages=_ASKED)
