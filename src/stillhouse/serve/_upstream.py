"""A student that another server runs: llama.cpp in this process, or any address.

Requests become Chat Completions or Completions of that server, always streamed; tools are told in
the messages, so that one student calls them in the same way behind every engine.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import aiohttp
import numpy as np
import orjson

from stillhouse.chat import with_tools
from stillhouse.errors import ConfigError
from stillhouse.records import FinishReason, Message
from stillhouse.serve._ask import Answering, Ask, Piece, RefusedError, TokenScore, no_pieces
from stillhouse.serve._config import ServeConfig
from stillhouse.serve._embeddings import Embedded, Input, no_embeddings
from stillhouse.serve._files import LoadedFiles
from stillhouse.serve._headers import UNKNOWN_VERSION
from stillhouse.serve._seen import call_headers
from stillhouse.serve._tools import tool_schema

_CONNECT_S = 10.0
_KEY_VARIABLE = "STILLHOUSE_API_KEY"  # as for teachers that are given by their address
_LONGEST_TOLD = 300  # characters of an upstream's error
_REASONS: Mapping[str, FinishReason] = {"length": "length", "content_filter": "content_filter"}
_JSON = {"Content-Type": "application/json"}
_CALLERS_FAULT = (400, 404, 413, 422)
_UNKNOWN_PATH = (404, 405, 501)


class UpstreamEngine:
    """A student behind an OpenAI-compatible address; use it within one event loop.

    Of several answers to one request only the sum of their tokens is known: the first has it.

    Args:
        base_url: With the version, such as `http://127.0.0.1:8080/v1`.
        model: What that server calls the model.
        key: What it wants to be shown, if anything.
        name: What the model is called here.
        max_tokens: The most that one answer may have.
        release: Ends what was started for it.
        has_embeddings: Whether to ask it for them; many servers say only then that they have none.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        key: str | None,
        max_tokens: int,
        name: str | None = None,
        release: Callable[[], None] | None = None,
        has_embeddings: bool = True,
    ) -> None:
        self.name = name or model
        self.files: LoadedFiles | None = None
        self.has_embeddings = has_embeddings
        self.num_running = 0
        self.version = UNKNOWN_VERSION
        self._base_url = base_url.rstrip("/")
        self._model = model
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._max_tokens = max_tokens
        self._release = release
        self._session: aiohttp.ClientSession | None = None

    async def open(self, ask: Ask) -> Answering:
        """Begin to answer; see `Engine.open`."""
        path = "chat/completions" if ask.text is None else "completions"
        response = await self._post(path, self._body(ask))
        if response.status != 200:
            raise await _refusal(response, self.name)
        self.num_running += 1
        answering = Answering(0, no_pieces(), stop=_Stop(self, response))
        answering.pieces = _pieces(response, answering, ask, self.name)
        return answering

    async def embed(self, inputs: Sequence[Input], dimensions: int | None) -> Embedded:
        """What the server behind gives; see `Embedder.embed`."""
        body: dict[str, Any] = {"model": self._model, "input": inputs, "encoding_format": "float"}
        if dimensions is not None:
            body["dimensions"] = dimensions
        response = await self._post("embeddings", body)
        if response.status in _UNKNOWN_PATH:
            response.close()
            raise no_embeddings(self.name)
        if response.status != 200:
            raise await _refusal(response, self.name)
        try:
            return _embedded(orjson.loads(await response.read()), len(inputs))
        except (aiohttp.ClientError, TimeoutError, LookupError, TypeError, ValueError) as err:
            raise RefusedError(502, f"The engine of {self.name} gave no embeddings.") from err

    async def count_tokens(self, ask: Ask) -> int:
        """What the server behind says it has read when it answers with one token."""
        ask = replace(ask, max_tokens=1, stop=())
        answering = await self.open(ask)
        try:
            async for _ in answering.pieces:
                continue  # usage comes last
        finally:
            answering.stop()
        return answering.num_prompt_tokens

    async def close(self) -> None:
        """Close the connections, and end what was started."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._release is not None:
            await asyncio.to_thread(self._release)
            self._release = None

    async def _post(self, path: str, body: dict[str, Any]) -> aiohttp.ClientResponse:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S)
            self._session = aiohttp.ClientSession(
                timeout=timeout, connector=aiohttp.TCPConnector(limit=0)
            )
        try:
            return await self._session.post(
                f"{self._base_url}/{path}",
                data=orjson.dumps(body),
                headers={**_JSON, **self._headers, **call_headers(self._model)},
            )
        except (aiohttp.ClientError, TimeoutError) as err:
            raise RefusedError(502, f"The engine of {self.name} is not reached.") from err

    def _body(self, ask: Ask) -> dict[str, Any]:
        wanted = self._max_tokens if ask.max_tokens is None else ask.max_tokens
        body: dict[str, Any] = {
            "model": self._model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "n": ask.num_choices,
            "max_tokens": min(wanted, self._max_tokens),
            "temperature": ask.temperature,
            "top_p": ask.top_p,
        }
        if ask.seed is not None:
            body["seed"] = ask.seed
        if ask.stop:
            body["stop"] = list(ask.stop)
        if ask.text is not None:
            body["prompt"] = ask.text
            if ask.top_logprobs is not None:
                body["logprobs"] = ask.top_logprobs
            return body
        messages, _ = with_tools(ask.messages, ask.tools, False)
        body["messages"] = [_message(message) for message in messages]
        if ask.top_logprobs is not None:
            body |= {"logprobs": True, "top_logprobs": ask.top_logprobs}
        schema = tool_schema(ask) if ask.must_call else ask.schema
        if schema is not None:
            form = {"name": "answer", "schema": orjson.loads(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body


def upstream_at(given: str, config: ServeConfig) -> UpstreamEngine:
    """What runs at an address; its key is read from the environment.

    Raises:
        ConfigError: the address names no model.
    """
    base_url, _, model = given.partition("#")
    if not model:
        raise ConfigError(f"{given} names no model. Give http(s)://HOST/v1#MODEL.")
    key = os.environ.get(_KEY_VARIABLE)
    return UpstreamEngine(base_url, model, key=key, max_tokens=config.max_tokens)


class _Stop:
    """Hangs up, once."""

    def __init__(self, engine: UpstreamEngine, response: aiohttp.ClientResponse) -> None:
        self._engine = engine
        self._response = response
        self._is_over = False

    def __call__(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._engine.num_running -= 1
            self._response.close()


async def _pieces(
    response: aiohttp.ClientResponse, answering: Answering, ask: Ask, name: str
) -> AsyncIterator[Piece]:
    """What the upstream says; ends come last, when it has told what was used."""
    ends: dict[int, FinishReason] = {}
    num_tokens = 0
    async for chunk in _chunks(response, name):
        if isinstance(told := chunk.get("usage"), dict):
            answering.num_prompt_tokens = int(told.get("prompt_tokens") or 0)
            num_tokens = int(told.get("completion_tokens") or 0)
        for choice in chunk.get("choices") or ():
            index = int(choice.get("index") or 0)
            if reason := choice.get("finish_reason"):
                ends[index] = _REASONS.get(reason, "stop")
            text = _text(choice)
            scores = _scores(choice.get("logprobs")) if ask.top_logprobs is not None else ()
            if text or scores:
                yield Piece(index, text, scores)
    if len(ends) < ask.num_choices:
        raise RefusedError(502, f"The engine of {name} broke off.")
    for index, reason in ends.items():
        yield Piece(index, "", (), reason, num_tokens if index == min(ends) else 0)


async def _chunks(response: aiohttp.ClientResponse, name: str) -> AsyncIterator[dict[str, Any]]:
    try:
        async for line in response.content:
            data = line.strip()
            if not data.startswith(b"data:"):
                continue
            data = data[5:].strip()
            if data == b"[DONE]":
                return
            chunk = orjson.loads(data)
            if "error" in chunk:
                raise RefusedError(502, _told(chunk, name))
            yield chunk
    except (aiohttp.ClientError, orjson.JSONDecodeError, TimeoutError, ValueError) as err:
        raise RefusedError(502, f"The engine of {name} broke off.") from err


async def _refusal(response: aiohttp.ClientResponse, name: str) -> RefusedError:
    """What an upstream's error is for the caller: whose fault it was, and no key of ours."""
    status, retry = response.status, response.headers.get("retry-after", "")
    try:
        document = orjson.loads(await response.read())
    except (aiohttp.ClientError, orjson.JSONDecodeError, TimeoutError):
        document = {}
    response.close()
    if status in _CALLERS_FAULT:
        return RefusedError(400, _told(document, name))
    if status in (429, 503):
        wait_s = int(retry) if retry.isdigit() else 1
        return RefusedError(status, f"The engine of {name} is busy.", retry_after_s=wait_s)
    return RefusedError(502, f"The engine of {name} answered with status {status}.")


def _embedded(document: Any, num_inputs: int) -> Embedded:
    """The vectors of a document, which may come in any order.

    Raises:
        LookupError, TypeError, ValueError: it is no answer to `num_inputs` inputs.
    """
    rows = {int(item["index"]): item["embedding"] for item in document["data"]}
    vectors_ND = np.array([rows[index] for index in range(num_inputs)], dtype=np.float32)
    if vectors_ND.ndim != 2 or len(rows) != num_inputs or not np.isfinite(vectors_ND).all():
        raise ValueError("no vector for each input")
    return Embedded(vectors_ND, int(document["usage"]["prompt_tokens"]))


def _told(document: Any, name: str) -> str:
    error = document.get("error") if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    told = message if isinstance(message, str) else "no reason was given"
    return f"The engine of {name} refuses: {' '.join(told.split())[:_LONGEST_TOLD]}"


def _message(message: Message) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    return fields


def _text(choice: dict[str, Any]) -> str:
    delta = choice.get("delta")
    said = delta.get("content") if isinstance(delta, dict) else choice.get("text")
    return said if isinstance(said, str) else ""


def _scores(told: Any) -> tuple[TokenScore, ...]:
    """Log-probabilities in the form of chat completions, which llama.cpp uses for both."""
    content = told.get("content") if isinstance(told, dict) else None
    if not isinstance(content, list):
        return ()
    return tuple(
        _score(item, tuple(_score(top) for top in item.get("top_logprobs") or ()))
        for item in content
    )


def _score(item: dict[str, Any], top: tuple[TokenScore, ...] = ()) -> TokenScore:
    text = str(item.get("token", ""))
    raw = item.get("bytes")
    return TokenScore(
        text, bytes(raw) if isinstance(raw, list) else text.encode(), float(item["logprob"]), top
    )
