"""What each protocol's answers hold, as JSON schemas: these fields and no others."""

from stillhouse.serve._schema_parts import (
    COUNT,
    FLAG,
    NOTHING,
    NUMBER,
    OBJECT,
    TEXT,
    Schema,
    const,
    either,
    listed,
    maybe,
    number,
    one_of,
    ref,
    told,
)

_REASONS = ["stop", "length", "tool_calls", "content_filter"]
_TOKEN = {"token": TEXT, "logprob": NUMBER, "bytes": listed(COUNT)}
_SCORES = maybe(
    told(
        {
            "content": listed(told({**_TOKEN, "top_logprobs": listed(told(_TOKEN))})),
            "refusal": NOTHING,
        }
    )
)
_USAGE = told({"prompt_tokens": COUNT, "completion_tokens": COUNT, "total_tokens": COUNT})
_CALL = {
    "id": TEXT,
    "type": const("function"),
    "function": told({"name": TEXT, "arguments": TEXT}),
}


def _headed(
    kind: str, more: dict[str, Schema], optional: dict[str, Schema] | None = None
) -> Schema:
    """An object of OpenAI's with its id, kind, time and model."""
    head = {"id": TEXT, "object": const(kind), "created": COUNT, "model": TEXT}
    return told({**head, **more}, optional)


def _choice(name: str, value: Schema, logprobs: Schema, reason: Schema) -> Schema:
    return told({"index": COUNT, name: value, "logprobs": logprobs, "finish_reason": reason})


_CHAT_MESSAGE = told(
    {"role": const("assistant"), "content": maybe(TEXT), "refusal": NOTHING},
    {"tool_calls": listed(told(_CALL), least=1)},
)
_DELTA = told(
    {},
    {
        "role": const("assistant"),
        "content": TEXT,
        "refusal": NOTHING,
        "tool_calls": listed(told({"index": COUNT, **_CALL}), least=1),
    },
)
_OPEN_REASON = one_of([*_REASONS, None])
_TEXT_SCORES = maybe(
    told(
        {
            "tokens": listed(TEXT),
            "token_logprobs": listed(NUMBER),
            "top_logprobs": listed({"type": "object", "additionalProperties": NUMBER}),
            "text_offset": listed(COUNT),
        }
    )
)
_CHUNK_USAGE = {"usage": maybe(_USAGE)}

_OUTPUT_TEXT = told(
    {
        "type": const("output_text"),
        "text": TEXT,
        "annotations": listed(OBJECT, most=0),
        "logprobs": listed(OBJECT, most=0),
    }
)
_MESSAGE_ITEM = told(
    {
        "id": TEXT,
        "type": const("message"),
        "role": const("assistant"),
        "status": one_of(["in_progress", "completed"]),
        "content": listed(_OUTPUT_TEXT),
    }
)
_CALL_ITEM = told(
    {
        "id": TEXT,
        "type": const("function_call"),
        "status": const("completed"),
        "call_id": TEXT,
        "name": TEXT,
        "arguments": TEXT,
    }
)
_OUTPUT = either(_MESSAGE_ITEM, _CALL_ITEM)
_RESPONSE_USAGE = told(
    {
        "input_tokens": COUNT,
        "input_tokens_details": told({"cached_tokens": COUNT, "cache_write_tokens": COUNT}),
        "output_tokens": COUNT,
        "output_tokens_details": told({"reasoning_tokens": COUNT}),
        "total_tokens": COUNT,
    }
)
_RESPONSE_TOOL = told(
    {
        "type": const("function"),
        "name": TEXT,
        "description": TEXT,
        "parameters": OBJECT,
        "strict": FLAG,
    }
)
_RESPONSE = told(
    {
        "id": TEXT,
        "object": const("response"),
        "created_at": COUNT,
        "status": one_of(["in_progress", "completed", "incomplete"]),
        "error": NOTHING,
        "incomplete_details": maybe(told({"reason": const("max_output_tokens")})),
        "instructions": NOTHING,
        "metadata": told({}),
        "model": TEXT,
        "output": listed(_OUTPUT),
        "parallel_tool_calls": FLAG,
        "temperature": NUMBER,
        "top_p": NUMBER,
        "max_output_tokens": maybe(COUNT),
        "tool_choice": one_of(["required", "auto"]),
        "tools": listed(_RESPONSE_TOOL),
        "usage": maybe(_RESPONSE_USAGE),
    }
)


def _response_event(kinds: list[str], **fields: Schema) -> Schema:
    names = [f"response.{kind}" for kind in kinds]
    return told({"type": one_of(names), "sequence_number": COUNT, **fields})


_AT_ITEM = {"item_id": TEXT, "output_index": COUNT}
_AT_PART = {**_AT_ITEM, "content_index": COUNT}
_NO_SCORES = {"logprobs": listed(OBJECT, most=0)}
_RESPONSE_EVENT = either(
    _response_event(
        ["created", "in_progress", "completed", "incomplete"], response=ref("Response")
    ),
    _response_event(["output_item.added", "output_item.done"], output_index=COUNT, item=_OUTPUT),
    _response_event(["content_part.added", "content_part.done"], **_AT_PART, part=_OUTPUT_TEXT),
    _response_event(["output_text.delta"], **_AT_PART, **_NO_SCORES, delta=TEXT),
    _response_event(["output_text.done"], **_AT_PART, **_NO_SCORES, text=TEXT),
    _response_event(["function_call_arguments.delta"], **_AT_ITEM, delta=TEXT),
    _response_event(["function_call_arguments.done"], **_AT_ITEM, name=TEXT, arguments=TEXT),
)

_STOPS = ["end_turn", "max_tokens", "tool_use"]
_TEXT_BLOCK = told({"type": const("text"), "text": TEXT, "citations": NOTHING})
_USE_BLOCK = told({"type": const("tool_use"), "id": TEXT, "name": TEXT, "input": OBJECT})
_BLOCK = either(_TEXT_BLOCK, _USE_BLOCK)
_MESSAGE_USAGE = told({"input_tokens": COUNT, "output_tokens": COUNT})


def _message(content: Schema, reason: Schema) -> Schema:
    return told(
        {
            "id": TEXT,
            "type": const("message"),
            "role": const("assistant"),
            "model": TEXT,
            "stop_sequence": NOTHING,
            "usage": _MESSAGE_USAGE,
            "content": content,
            "stop_reason": reason,
        }
    )


def _message_event(kind: str, **fields: Schema) -> Schema:
    return told({"type": const(kind), **fields})


_MESSAGE_EVENT = either(
    _message_event("message_start", message=_message(listed(_BLOCK, most=0), NOTHING)),
    _message_event("content_block_start", index=COUNT, content_block=_BLOCK),
    _message_event(
        "content_block_delta",
        index=COUNT,
        delta=either(
            told({"type": const("text_delta"), "text": TEXT}),
            told({"type": const("input_json_delta"), "partial_json": TEXT}),
        ),
    ),
    _message_event("content_block_stop", index=COUNT),
    _message_event(
        "message_delta",
        delta=told({"stop_reason": one_of(_STOPS), "stop_sequence": NOTHING}),
        usage=_MESSAGE_USAGE,
    ),
    _message_event("message_stop"),
)

ANSWERS: dict[str, Schema] = {
    "Error": told(
        {"error": told({"message": TEXT, "type": TEXT, "param": maybe(TEXT), "code": maybe(TEXT)})}
    ),
    "MessageError": told({"type": const("error"), "error": told({"type": TEXT, "message": TEXT})}),
    "ChatCompletion": _headed(
        "chat.completion",
        {
            "choices": listed(_choice("message", _CHAT_MESSAGE, _SCORES, one_of(_REASONS))),
            "usage": _USAGE,
        },
    ),
    "ChatChunk": _headed(
        "chat.completion.chunk",
        {"choices": listed(_choice("delta", _DELTA, _SCORES, _OPEN_REASON))},
        _CHUNK_USAGE,
    ),
    "Completion": _headed(
        "text_completion",
        {
            "choices": listed(_choice("text", TEXT, _TEXT_SCORES, one_of(_REASONS))),
            "usage": _USAGE,
        },
    ),
    "CompletionChunk": _headed(
        "text_completion",
        {"choices": listed(_choice("text", TEXT, _TEXT_SCORES, _OPEN_REASON))},
        _CHUNK_USAGE,
    ),
    "Response": _RESPONSE,
    "ResponseEvent": _RESPONSE_EVENT,
    "Message": _message(listed(_BLOCK, least=1), one_of(_STOPS)),
    "MessageEvent": _MESSAGE_EVENT,
    "Count": told({"input_tokens": COUNT}),
    "Decision": _headed(
        "decision",
        {
            "choice": TEXT,
            "probabilities": {"type": "object", "additionalProperties": number(0, 1)},
            "usage": _USAGE,
        },
    ),
    "Detection": told(
        {
            "object": const("watermark.detection"),
            "profile_id": TEXT,
            "p_value_at_most": number(0, 1),
        }
    ),
    "Embeddings": told(
        {
            "object": const("list"),
            "data": listed(
                told(
                    {
                        "object": const("embedding"),
                        "index": COUNT,
                        "embedding": either(listed(NUMBER, least=1), TEXT),
                    }
                ),
                least=1,
            ),
            "model": TEXT,
            "usage": told({"prompt_tokens": COUNT, "total_tokens": COUNT}),
        }
    ),
    "Model": told(
        {
            "id": TEXT,
            "object": const("model"),
            "created": COUNT,
            "owned_by": const("stillhouse"),
            "stillhouse": told({"version": TEXT, "watermark": maybe(TEXT)}),
        }
    ),
    "Models": told({"object": const("list"), "data": listed(ref("Model"), least=1, most=1)}),
    "Health": told(
        {"status": one_of(["ok", "stopping"])},
        {
            "files": one_of(["as loaded", "changed"]),
            "log": told({"state": one_of(["writing", "failing"]), "dropped": COUNT}),
            "responses": told({"state": one_of(["current", "stale"])}),
        },
    ),
}
