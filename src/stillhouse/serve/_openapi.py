"""The OpenAPI document of a server: the paths that its student has, and no others.

The schema of a stream is that of each event, as is the custom in OpenAPI 3.1, which has no words
for streams. An error ends a stream in place of its proper end.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stillhouse import __version__
from stillhouse.serve._ask import Engine
from stillhouse.serve._counting import TokenCounter
from stillhouse.serve._detection import detector_of
from stillhouse.serve._embeddings import Embedder
from stillhouse.serve._figures import reports_of
from stillhouse.serve._labels import LabelEngine
from stillhouse.serve._local import LocalEngine
from stillhouse.serve._schema_answers import ANSWERS
from stillhouse.serve._schema_parts import OBJECT, TEXT, Schema, const, either, ref
from stillhouse.serve._schema_requests import REQUESTS
from stillhouse.serve._switching import SwitchingEngine

_KEYS: dict[str, Any] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_REFUSED = {
    400: "The request cannot be read or answered as it is; the message says what to change.",
    401: "The key is wrong or missing.",
    402: "The budget of the teacher is spent.",
    403: "Without keys only programs of this machine may ask; with them, accounts that have to say "
    "who they are may not.",
    404: "There is no such thing here.",
    408: "The request did not arrive in time.",
    413: "The body is too large.",
    417: "An Expect header that is not known.",
    422: "The student has no answer that its task allows.",
    429: "Too many requests are under way; Retry-After says when to come again.",
    500: "An error of the server, which is logged.",
    502: "The server that runs the student, or the teacher, failed.",
    503: "The server is being stopped, or the one behind it is busy.",
    504: "No answer within the deadline.",
}
_OF_A_BODY = (400, 408, 413, 417, 429, 500, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Post:
    """A path that is posted to.

    Attributes:
        name: Of the operation.
        request: Schema of the body.
        answer: Schema of what comes back.
        event: Schema of the data of a streamed answer's events; None where there are no streams.
        error: Schema of a refusal.
        refused: Statuses beside those that every body may get.
    """

    name: str
    request: str
    answer: str
    event: str | None = None
    error: str = "Error"
    refused: tuple[int, ...] = ()


_TEXTS = {
    "/v1/chat/completions": _Post(
        name="chat", request="ChatRequest", answer="ChatCompletion", event="ChatChunk"
    ),
    "/v1/completions": _Post(
        name="complete", request="CompletionRequest", answer="Completion", event="CompletionChunk"
    ),
    "/v1/responses": _Post(
        name="respond", request="ResponseRequest", answer="Response", event="ResponseEvent"
    ),
    "/v1/messages": _Post(
        name="message",
        request="MessageRequest",
        answer="Message",
        event="MessageEvent",
        error="MessageError",
    ),
}
_COUNT = _Post(name="count", request="CountRequest", answer="Count", error="MessageError")
_DECISIONS = _Post(name="decide", request="DecisionRequest", answer="Decision")
_DETECTION = _Post(name="detect", request="DetectionRequest", answer="Detection")
_EMBEDDINGS = _Post(name="embed", request="EmbeddingRequest", answer="Embeddings", refused=(404,))


def openapi(engine: Engine, *, has_keys: bool, has_responses: bool = False) -> dict[str, Any]:
    """The document of a server.

    Args:
        engine: What answers; of a deployment the version in service counts.
        has_keys: Whether callers have to show a key.
        has_responses: Whether an account may have to say who it is before it is answered.
    """
    stranger = {_stranger(has_keys), *((403,) if has_responses else ())}
    reports = sorted(reports_of(engine))
    if isinstance(engine, SwitchingEngine):
        engine = engine.serving
    paths = {path: {"post": _posted(post, engine, stranger)} for path, post in _posts(engine)}
    components: dict[str, Any] = {"schemas": {**REQUESTS, **ANSWERS}}
    if has_keys:
        components["securitySchemes"] = _KEYS
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{engine.name} behind stillhouse",
            "version": __version__,
            "description": "A student behind the protocols that clients already speak.",
        },
        "paths": {**paths, **_got(has_keys, reports)},
        "components": components,
        "security": [{name: []} for name in _KEYS] if has_keys else [],
    }


def _posts(engine: Engine) -> list[tuple[str, _Post]]:
    posts = [*_TEXTS.items()]
    if isinstance(engine, TokenCounter):
        posts.append(("/v1/messages/count_tokens", _COUNT))
    if isinstance(engine, LabelEngine):
        posts.append(("/v1/decisions", _DECISIONS))
    if isinstance(engine, Embedder) and engine.has_embeddings:
        posts.append(("/v1/embeddings", _EMBEDDINGS))
    if detector_of(engine) is not None:
        posts.append(("/v1/watermark/detect", _DETECTION))
    return posts


def _posted(post: _Post, engine: Engine, stranger: set[int]) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": ref(post.answer)}}
    if post.event is not None:
        content["text/event-stream"] = {"schema": _event(either(ref(post.event), ref(post.error)))}
    refused = {*post.refused, *_OF_A_BODY, *stranger}
    if not isinstance(engine, LocalEngine):  # which has no server behind it, and no task
        refused |= {402, 422, 502}
    return {
        "operationId": post.name,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref(post.request)}},
        },
        "responses": {
            "200": {"description": "The answer.", "content": content},
            **_refusals(refused, post.error),
        },
    }


def _event(data: Schema) -> Schema:
    """An event whose data is JSON text, or the end of OpenAI's older streams."""
    held = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    fields = {"event": TEXT, "data": either(const("[DONE]"), held)}
    return {"type": "object", "properties": fields, "required": ["data"]}


def _got(has_keys: bool, reports: list[str]) -> dict[str, Any]:
    """The paths that are only read."""
    refused = {500, _stranger(has_keys)}
    named = {"name": "model", "in": "path", "required": True, "schema": TEXT}
    model = _get("model", ref("Model"), refused | {404})
    health = _get("health", ref("Health"), {500})
    stopping = {"description": "It is being stopped.", **_json(ref("Health"))}
    told = {
        f"/v1/stillhouse/{name}": {"get": _get(f"report_{name}", OBJECT, refused)}
        for name in reports
    }
    return {
        **told,
        "/v1/models": {"get": _get("models", ref("Models"), refused)},
        "/v1/models/{model}": {"get": {**model, "parameters": [named]}},
        "/metrics": {"get": _get("metrics", TEXT, refused, kind="text/plain")},
        "/openapi.json": {"get": _get("document", OBJECT, refused)},
        "/health": {
            "get": {
                **health,
                "responses": {**health["responses"], "503": stopping},
                "security": [],
            }
        },
    }


def _get(
    name: str, schema: Schema, refused: set[int], *, kind: str = "application/json"
) -> dict[str, Any]:
    answer = {"description": "The answer.", "content": {kind: {"schema": schema}}}
    return {"operationId": name, "responses": {"200": answer, **_refusals(refused, "Error")}}


def _refusals(statuses: set[int], error: str) -> Mapping[str, Any]:
    return {
        str(status): {"description": _REFUSED[status], **_json(ref(error))}
        for status in sorted(statuses)
    }


def _json(schema: Schema) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _stranger(has_keys: bool) -> int:
    return 401 if has_keys else 403
