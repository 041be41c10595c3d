"""The official SDKs through the proxy: the answers of the provider, and each recorded."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from proxy_cases import RunningProxy, proxy_for
from tests.mock_provider import MockProvider

from stillhouse.teachers import read_answer

openai = pytest.importorskip("openai")
anthropic = pytest.importorskip("anthropic")
genai = pytest.importorskip("google.genai")
pytestmark = pytest.mark.sdk

TEXT = "heavy rain closes every road in the west"
SAY = [{"role": "user", "content": TEXT}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    with MockProvider() as provider:
        yield provider


def texts_of(proxy: RunningProxy) -> list[str]:
    return [read_answer(row.answer, row.request).text for row in proxy.recorded()]


@pytest.fixture
def openai_proxy(provider: MockProvider, ledger: Path) -> Iterator[RunningProxy]:
    with proxy_for(provider, "openai_chat", ledger) as proxy:
        yield proxy


def openai_client(proxy: RunningProxy, **given: Any) -> "openai.OpenAI":
    url = f"http://127.0.0.1:{proxy.port}/v1"
    return openai.OpenAI(**{"api_key": "stillhouse", "max_retries": 0, **given}, base_url=url)


def test_openai_chat_plain_and_streamed(openai_proxy: RunningProxy) -> None:
    with openai_client(openai_proxy) as client:
        whole = client.chat.completions.create(model="mock-small", messages=SAY)
        options = {"include_usage": True}
        chunks = list(
            client.chat.completions.create(
                model="mock-small", messages=SAY, stream=True, stream_options=options
            )
        )
        assert [model.id for model in client.models.list()][:1] == ["mock-small"]
    text = whole.choices[0].message.content
    assert text
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == text
    assert chunks[-1].usage == whole.usage
    assert texts_of(openai_proxy) == [text, text]


def test_openai_tools_and_structured_output(openai_proxy: RunningProxy) -> None:
    tool = {"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}
    with openai_client(openai_proxy) as client:
        called = client.chat.completions.create(
            model="mock-small", messages=SAY, tools=[tool], tool_choice="required"
        )
    (row,) = openai_proxy.recorded()
    (call,) = read_answer(row.answer, row.request).tool_calls
    assert called.choices[0].message.tool_calls[0].function.arguments == call.arguments
    assert row.request.tools[0].name == "weather"


def test_openai_responses_plain_and_streamed(openai_proxy: RunningProxy) -> None:
    with openai_client(openai_proxy) as client:
        whole = client.responses.create(model="mock-small", input=TEXT)
        with client.responses.stream(model="mock-small", input=TEXT) as stream:
            for _ in stream:
                pass
            streamed = stream.get_final_response()
    assert streamed.output_text == whole.output_text
    assert texts_of(openai_proxy) == [whole.output_text] * 2


def test_openai_errors_and_repeats_are_the_sdk_s_own(
    provider: MockProvider, openai_proxy: RunningProxy
) -> None:
    provider.change(faults=["rate_limit:first=1,wait_s=0.01,form=ms"])
    with openai_client(openai_proxy, max_retries=2) as client:
        answer = client.chat.completions.create(model="mock-small", messages=SAY)
    assert texts_of(openai_proxy) == [answer.choices[0].message.content]
    assert openai_proxy.counts.errors == {"rate_limited": 1}


def test_openai_many_streams_at_once(openai_proxy: RunningProxy) -> None:
    async def one(client: "openai.AsyncOpenAI", number: int) -> str:
        said = [{"role": "user", "content": f"ship number {number}"}]
        stream = await client.chat.completions.create(
            model="mock-small", messages=said, stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_of_them() -> list[str]:
        url = f"http://127.0.0.1:{openai_proxy.port}/v1"
        async with openai.AsyncOpenAI(api_key="k" * 20, base_url=url, max_retries=0) as client:
            return list(await asyncio.gather(*(one(client, n) for n in range(50))))

    assert sorted(asyncio.run(all_of_them())) == sorted(texts_of(openai_proxy))


def test_anthropic_plain_and_streamed(provider: MockProvider, ledger: Path) -> None:
    with proxy_for(provider, "anthropic", ledger) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        with anthropic.Anthropic(api_key="stillhouse", base_url=url, max_retries=0) as client:
            whole = client.messages.create(model="mock-small", max_tokens=99, messages=SAY)
            with client.messages.stream(
                model="mock-small", max_tokens=99, messages=SAY, system="Be brief."
            ) as stream:
                streamed = stream.get_final_message()
            assert client.models.list().data[0].id == "mock-small"
        rows = proxy.recorded()
    texts = [read_answer(row.answer, row.request).text for row in rows]
    assert texts == [whole.content[0].text, streamed.content[0].text]
    assert [message.role for message in rows[1].request.messages] == ["system", "user"]
    assert rows[1].request.sampling.max_tokens == 99


def test_gemini_plain_and_streamed(provider: MockProvider, ledger: Path) -> None:
    with proxy_for(provider, "gemini", ledger) as proxy:
        options = {"base_url": f"http://127.0.0.1:{proxy.port}"}
        client = genai.Client(api_key="stillhouse", http_options=options)
        whole = client.models.generate_content(model="mock-small", contents=TEXT)
        chunks = client.models.generate_content_stream(
            model="mock-small", contents=TEXT, config={"temperature": 0.25}
        )
        streamed = "".join(chunk.text or "" for chunk in chunks)
        client.close()
        rows = proxy.recorded()
    assert streamed == whole.text
    assert [read_answer(row.answer, row.request).text for row in rows] == [whole.text] * 2
    assert rows[1].request.sampling.temperature == 0.25
