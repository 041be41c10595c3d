"""Logged calls of the OpenAI, Anthropic and compatible APIs, and OpenAI's evals.

Shapes: the objects of `GET /v1/chat/completions` with the messages of
`GET /v1/chat/completions/{id}/messages` put under `messages`; OpenPipe's export of request logs,
{"input", "output", "tags"}; pairs of {"request", "response"}; Anthropic's message objects with the
request's fields beside theirs, or its batches' {"params", "result"}; and
`GET /v1/evals/{id}/runs/{id}/output_items`.
"""

from collections.abc import Mapping
from typing import Any

from stillhouse.collect._imports._exchange import (
    BadRowError,
    Exchange,
    NoAnswerError,
    ReadRow,
    chat_body,
    object_at,
    parsed,
)
from stillhouse.collect._imports._messages import read_output_schema, read_prompt, read_tools

_MILLISECONDS = 1e11  # as seconds the year 5138, as milliseconds 1973


def read_call(row: ReadRow) -> list[Exchange]:
    """The exchanges of one logged call: one for each choice.

    Raises:
        NoAnswerError: the call failed.
        BadRowError: the row is no call.
    """
    request, response = _request_and_response(row)
    dialect = dialect_of(response)
    if dialect is None:
        if response.get("error") or not response or response.get("type") in _FAILED_RESULTS:
            raise NoAnswerError("failed_call")
        raise BadRowError("no_answer", "the response is that of no API that is known here")
    messages = read_prompt(request)
    tools, schema = read_tools(request.get("tools")), read_output_schema(request)
    return [
        Exchange(messages=messages, body=body, dialect=dialect, tools=tools, output_schema=schema)
        for body in _one_by_one(response, request.get("model"))
    ]


def read_eval_item(row: ReadRow) -> list[Exchange]:
    """The exchange of one output item of an OpenAI eval run.

    Raises:
        NoAnswerError: the model was not asked, or did not answer.
        BadRowError: the row is no output item.
    """
    sample = object_at(row, "sample")
    if not sample or sample.get("error") or not sample.get("output"):
        raise NoAnswerError("failed_call")
    messages = read_prompt({"messages": sample.get("input")})
    output = sample["output"]
    if not isinstance(output, list) or not isinstance(output[-1], Mapping):
        raise BadRowError("malformed", "sample.output is no list of messages")
    body = chat_body(
        output[-1],
        model=sample.get("model"),
        finish_reason=sample.get("finish_reason"),
        usage=object_at(sample, "usage"),
        created=row.get("created_at"),
    )
    return [Exchange(messages=messages, body=body)]


def dialect_of(body: Mapping[str, Any]) -> str | None:
    """Whose response `body` is, a key of `DIALECTS`; None where it is nobody's."""
    if isinstance(body.get("choices"), list) and body["choices"]:
        return "openai_chat"
    if "stop_reason" in body and isinstance(body.get("content"), list):
        return "anthropic"
    if body.get("object") == "response":
        return "openai_responses"
    if isinstance(body.get("candidates"), list):
        return "gemini"
    return None


_FAILED_RESULTS = ("errored", "canceled", "expired", "error")


def _request_and_response(row: ReadRow) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    for asked, answered in (("input", "output"), ("request", "response"), ("params", "result")):
        request, response = parsed(row.get(asked)), parsed(row.get(answered))
        if isinstance(request, Mapping):
            if asked == "params" and isinstance(response, Mapping):  # of a batch
                response = response.get("message", response)
            if not isinstance(response, Mapping | None):
                raise BadRowError("malformed", f"{answered} is {type(response).__name__}")
            return request, response or {}
    # One object: the response's fields with the request's beside them.
    return row, row


def _one_by_one(response: Mapping[str, Any], model: Any) -> list[dict[str, Any]]:
    body = {**response, "model": response.get("model") or model}
    created = body.get("created")
    if isinstance(created, int | float) and created > _MILLISECONDS:  # OpenPipe's
        body["created"] = created / 1000
    choices = body.get("choices")
    if not isinstance(choices, list):
        return [body]
    # The usage is that of all choices together: it is counted once.
    return [
        {**body, "choices": [choice], "usage": body.get("usage") if index == 0 else None}
        for index, choice in enumerate(choices)
    ]
