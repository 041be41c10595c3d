"""The endpoints that answer at once: completions, models, and what was stored of them."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from tests.mock_provider.answers import Ask, replies_to
from tests.mock_provider.dialects import (
    anthropic,
    decisions,
    gemini,
    openai_chat,
    openai_responses,
    reading,
)
from tests.mock_provider.errors import ApiError
from tests.mock_provider.exchange import Incoming, Made, Outgoing
from tests.mock_provider.world import World

MODELS = ("mock-small", "mock-large", "mock-reasoner")
_PREFIX = re.compile(r"^/(?:[\w-]+/)*?(?=v1/)")
_GOOGLE_V1 = re.compile(r":\w*[cC]ontent$")
_GEMINI_CALL = re.compile(r"^/v1beta/(?:models|tunedModels)/([^:/]+):(\w+)$")


def api_path(path: str, headers: Mapping[str, str]) -> str:
    """A path as the provider itself has it: hosts put `/openai`, `/api` and more before it.

    Google's is always `v1beta` here; `v1` is the same to the mock, and its SDK's default.
    """
    if path.startswith(("/v1/", "/upload/v1/", "/download/v1/")):
        is_google = path[1] != "v" or _GOOGLE_V1.search(path) or _has_google_key_only(headers)
        return path.replace("/v1/", "/v1beta/", 1) if is_google else path
    if path.startswith(("/v1beta/", "/upload/", "/download/")):
        return path
    if path.startswith("/chat/"):
        return f"/v1{path}"
    return _PREFIX.sub("/", path)


def _has_google_key_only(headers: Mapping[str, str]) -> bool:
    return "x-goog-api-key" in headers and not (
        "authorization" in headers or "x-api-key" in headers
    )


def family_of(path: str, headers: Mapping[str, str]) -> str:
    """Whose API a request is for."""
    if path.startswith(("/v1beta/", "/upload/v1beta/", "/download/v1beta/")):
        return "gemini"
    if path.startswith("/v1/messages") or "anthropic-version" in headers:
        return "anthropic"
    return "openai"


def check_key(incoming: Incoming) -> None:
    """Refuse a request without a key, or with `bad-key`."""
    names = {"openai": ("authorization", "api-key"), "anthropic": ("x-api-key", "authorization"),
             "gemini": ("x-goog-api-key",)}[incoming.family]  # fmt: skip
    given = next((incoming.headers[name] for name in names if incoming.headers.get(name)), None)
    key = (given or incoming.query.get("key", "")).removeprefix("Bearer ").strip()
    if not key and incoming.family == "gemini":
        message = "Method doesn't allow unregistered callers. Please use API Key."
        raise ApiError("permission", message)
    if not key or key == "bad-key":
        raise ApiError("key", "API key not valid. Please pass a valid API key.")
    if incoming.family == "anthropic" and "anthropic-version" not in incoming.headers:
        raise ApiError("invalid", "anthropic-version: header is required")


def make_chat(world: World, body: dict[str, Any]) -> Made:
    """A chat completion."""
    ask = openai_chat.read(body)
    replies = _replies(world, ask)
    shown = world.settings.reasoning_field
    return Made(
        ask,
        replies,
        lambda: openai_chat.answer(ask, replies, shown),
        lambda: openai_chat.events(ask, replies, shown),
    )


def make_response(world: World, body: dict[str, Any]) -> Made:
    """A response."""
    ask = openai_responses.read(body)
    replies = _replies(world, ask)
    return Made(
        ask,
        replies,
        lambda: openai_responses.answer(ask, replies, body),
        lambda: openai_responses.events(ask, replies, body),
    )


def make_message(world: World, body: dict[str, Any]) -> Made:
    """A message."""
    ask = anthropic.read(body)
    replies = _replies(world, ask)
    return Made(
        ask,
        replies,
        lambda: anthropic.answer(ask, replies),
        lambda: anthropic.events(ask, replies),
    )


def make_content(world: World, body: dict[str, Any], model: str, *, is_stream: bool) -> Made:
    """Generated content."""
    body = gemini.camel(body)
    ask = gemini.read(body, model, is_stream=is_stream)
    replies = _replies(world, ask)
    return Made(
        ask,
        replies,
        lambda: gemini.answer(ask, replies, body),
        lambda: gemini.events(ask, replies, body),
    )


def chat(world: World, incoming: Incoming) -> Outgoing:
    """`POST /v1/chat/completions`."""
    body = _body(world, incoming)
    made = make_chat(world, body)
    outgoing = _served(world, incoming.family, made)
    if body.get("store"):
        metadata = body.get("metadata") or {}
        whole = {**made.whole(), "id": world.new_id("chatcmpl-"), "metadata": metadata}
        if outgoing.events is None:
            outgoing.body = orjson.dumps(whole)
        world.chats[whole["id"]] = {"completion": whole, "messages": body["messages"]}
    return outgoing


def responses(world: World, incoming: Incoming) -> Outgoing:
    """`POST /v1/responses`."""
    body = _body(world, incoming)
    made = make_response(world, body)
    outgoing = _served(world, incoming.family, made)
    if not body.get("store", True):
        return outgoing
    whole = {**made.whole(), "id": world.new_id("resp_")}
    world.responses[whole["id"]] = {"response": whole, "polls": 0}
    if body.get("background"):
        queued = {**openai_responses.envelope(made.ask, body), "id": whole["id"]}
        return Outgoing.of({**queued, "status": "queued"})
    if outgoing.events is None:
        outgoing.body = orjson.dumps(whole)
    return outgoing


def messages(world: World, incoming: Incoming) -> Outgoing:
    """`POST /v1/messages`."""
    return _served(world, incoming.family, make_message(world, _body(world, incoming)))


def content(world: World, incoming: Incoming) -> Outgoing:
    """`POST /v1beta/models/{model}:generateContent`, or `:streamGenerateContent`."""
    found = _GEMINI_CALL.match(incoming.path)
    if found is None:
        raise ApiError("missing", f"Not found: {incoming.path}")
    is_stream = found[2] == "streamGenerateContent"
    body = _body(world, incoming)
    made = make_content(world, body, found[1], is_stream=is_stream)
    outgoing = _served(world, incoming.family, made)
    if is_stream and incoming.query.get("alt") != "sse":
        # Without `alt=sse` Google sends the chunks as one JSON array.
        chunks = [event[6:].strip() for event in outgoing.events or ()]
        return Outgoing(b"[" + b",\r\n".join(chunks) + b"]", headers=outgoing.headers)
    return outgoing


def decision(world: World, incoming: Incoming) -> Outgoing:
    """`POST /v1/decisions`."""
    body = _body(world, incoming)
    ask = decisions.read(body)
    reply = decisions.reply_to(ask, body["options"])
    made = Made(
        ask, [reply], lambda: decisions.answer(ask, reply, body["options"]), lambda: iter(())
    )
    return _served(world, incoming.family, made)


def models(world: World, incoming: Incoming) -> Outgoing:
    """`GET /v1/models` and `/v1/models/{name}`."""
    name = incoming.path.removeprefix("/v1/models").strip("/")
    write = _anthropic_model if incoming.family == "anthropic" else _openai_model
    if name:
        return Outgoing.of(write(reading.known_model(name)))
    listed: dict[str, Any] = {"data": [write(model) for model in MODELS]}
    if incoming.family == "anthropic":
        listed |= {"has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]}
    return Outgoing.of({"object": "list", **listed})


def gemini_models(world: World, incoming: Incoming) -> Outgoing:
    """`GET /v1beta/models`."""
    listed = [{"name": f"models/{model}", "displayName": model, "version": "1"} for model in MODELS]
    return Outgoing.of({"models": listed})


def stored_chats(world: World, incoming: Incoming) -> Outgoing:
    """`GET /v1/chat/completions`, of one model and some metadata, page by page."""
    wanted = {
        name[len("metadata[") : -1]: value
        for name, value in incoming.query.items()
        if name.startswith("metadata[")
    }
    found = [each["completion"] for each in world.chats.values()]
    found = [each for each in found if wanted.items() <= each["metadata"].items()]
    if model := incoming.query.get("model"):
        found = [each for each in found if each["model"] == openai_chat.dated(model)]
    return Outgoing.of(page(found, incoming.query))


def stored_chat(world: World, incoming: Incoming) -> Outgoing:
    """`GET /v1/chat/completions/{id}` and its `/messages`."""
    name, _, rest = incoming.path.removeprefix("/v1/chat/completions/").partition("/")
    if name not in world.chats:
        raise ApiError("missing", f"No chat completion found with id '{name}'.")
    if rest != "messages":
        return Outgoing.of(world.chats[name]["completion"])
    written = [
        {"id": f"{name}-{at}", "name": None, **message}
        for at, message in enumerate(world.chats[name]["messages"])
    ]
    return Outgoing.of(page(written, incoming.query))


def stored_response(world: World, incoming: Incoming) -> Outgoing:
    """`GET /v1/responses/{id}`: queued, then in progress, then there; and its `/cancel`."""
    name, _, rest = incoming.path.removeprefix("/v1/responses/").partition("/")
    if name not in world.responses:
        raise ApiError("missing", f"Response with id '{name}' not found.")
    kept = world.responses[name]
    if rest == "cancel":
        kept["response"] = {**kept["response"], "status": "cancelled", "output": []}
        return Outgoing.of(kept["response"])
    kept["polls"] += 1
    if kept["response"]["background"] and kept["polls"] <= world.settings.background_polls:
        waiting = {**kept["response"], "status": "in_progress", "output": [], "usage": None}
        return Outgoing.of(waiting)
    return Outgoing.of(kept["response"])


def page(rows: list[dict[str, Any]], query: Any) -> dict[str, Any]:
    """A page of a list, as OpenAI and Anthropic page: `after` or `after_id`, `limit`, `order`."""
    if query.get("order") == "desc":
        rows = rows[::-1]
    after = query.get("after") or query.get("after_id")
    start = next((at + 1 for at, row in enumerate(rows) if row["id"] == after), 0)
    shown = rows[start : start + int(query.get("limit", 20))]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": start + len(shown) < len(rows),
    }


def _body(world: World, incoming: Incoming) -> dict[str, Any]:
    body = reading.json_object(incoming.body)
    for name in world.settings.refused_fields:
        if name in body:
            raise ApiError("invalid", f"Unsupported parameter: '{name}'.", param=name,
                           code="unsupported_parameter")  # fmt: skip
    return body


def _replies(world: World, ask: Ask) -> Any:
    if ask.top_logprobs is not None and not world.settings.has_logprobs:
        raise ApiError("invalid", f"Logprobs is not enabled for {ask.model}.", param="logprobs")
    return replies_to(ask, world.settings.script, world.settings.num_tokens)


def _served(world: World, family: str, made: Made) -> Outgoing:
    """Take the request's needs from the account, and write the answer."""
    limits, account = world.settings.limits, world.accounts[family]
    counts, completion = made.replies[0].counts, made.completion_tokens
    prompt = counts.prompt - (counts.cached if family == "anthropic" else 0)
    reserved = completion
    if limits.reserves_max_tokens and made.ask.max_tokens:
        reserved = max(completion, made.ask.max_tokens)
    headers = account.admit(limits, prompt, reserved)
    outgoing = Outgoing(headers=headers, prompt_tokens=counts.prompt, completion_tokens=completion)
    outgoing.unused_tokens = reserved - completion
    if made.ask.is_stream:
        outgoing.events = made.events()
        outgoing.content_type = "text/event-stream"
    else:
        outgoing.body = orjson.dumps(made.whole())
    return outgoing


def _openai_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": openai_chat.CREATED, "owned_by": "mock"}


def _anthropic_model(name: str) -> dict[str, Any]:
    date = "2026-01-02T00:00:00Z"
    return {"id": name, "type": "model", "display_name": name, "created_at": date,
            "lifecycle": "active"}  # fmt: skip


Endpoint = Callable[[World, Incoming], Outgoing]
