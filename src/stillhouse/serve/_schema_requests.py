"""What each protocol's requests may hold, as JSON schemas.

The limits are those that the readers of requests hold to. Fields of a protocol that are not here
are ignored.
"""

from stillhouse.serve._chat import ROLES as CHAT_ROLES
from stillhouse.serve._completions import MOST_LOGPROBS
from stillhouse.serve._decisions import MAX_OPTIONS
from stillhouse.serve._embeddings import FORMATS, MAX_ID, MAX_INPUTS, MAX_WIDTH
from stillhouse.serve._fields import MAX_MODEL_CHARS
from stillhouse.serve._local import MAX_TOP_LOGPROBS
from stillhouse.serve._openai_common import MAX_CHOICES, MAX_SEED, MAX_STOPS, MAX_TOKENS
from stillhouse.serve._responses import ROLES as RESPONSE_ROLES
from stillhouse.serve._responses import TEXTS as RESPONSE_TEXTS
from stillhouse.serve._schema_parts import (
    ANYTHING,
    FLAG,
    NOTHING,
    OBJECT,
    SOME_TEXT,
    TEXT,
    Schema,
    const,
    either,
    given,
    listed,
    maybe,
    number,
    one_of,
    ref,
    whole,
)

_MODEL: Schema = {"type": "string", "maxLength": MAX_MODEL_CHARS}
_STOP = either(TEXT, listed(TEXT, most=MAX_STOPS))
_TOKENS = whole(1, MAX_TOKENS)
_SEED = whole(-MAX_SEED, MAX_SEED)
_CHOICE_WORDS = one_of(["auto", "none", "required", "any"])
_STREAMED = {"stream": FLAG, "stream_options": given({}, {"include_usage": FLAG})}
_DRAWN = {"temperature": number(0, 2), "top_p": number(0, 1)}


def _text_part(kinds: tuple[str, ...]) -> Schema:
    """A part of a content that is text; a refusal has its own field."""
    texts = [kind for kind in kinds if kind != "refusal"]
    made = given({"type": one_of(texts), "text": TEXT}, {})
    if len(texts) == len(kinds):
        return made
    return either(made, given({"type": const("refusal"), "refusal": TEXT}, {}))


def _content(kinds: tuple[str, ...]) -> Schema:
    return either(TEXT, listed(_text_part(kinds)))


def _format(inner: Schema) -> Schema:
    """`response_format` and `text.format`; `inner` is what goes with `json_schema`."""
    held = {"type": const("json_schema")}
    return either(
        {"type": "object", "properties": {"type": const("text")}},
        given({"type": const("json_object")}, {}),
        {**inner, "properties": {**held, **inner["properties"]}},
    )


def _function(schema_at: str) -> Schema:
    return given({"name": SOME_TEXT}, {schema_at: OBJECT, "description": ANYTHING})


_NAMED = given({"name": TEXT}, {})
_CALL = given({"id": TEXT, "function": given({"name": TEXT, "arguments": TEXT}, {})}, {})
_CHAT_MESSAGE = given(
    {"role": one_of(CHAT_ROLES)},
    {"content": _content(("text", "refusal")), "tool_calls": listed(_CALL)},
)
_FORMAT = _format(
    {
        "type": "object",
        "properties": {"json_schema": given({"schema": OBJECT}, {})},
        "required": ["type", "json_schema"],
    }
)
_CHAT = given(
    {"messages": listed(ref("ChatMessage"), least=1)},
    {
        **_STREAMED,
        **_DRAWN,
        "model": _MODEL,
        "max_tokens": _TOKENS,
        "max_completion_tokens": _TOKENS,
        "n": whole(1, MAX_CHOICES),
        "seed": _SEED,
        "stop": _STOP,
        "logprobs": FLAG,
        "top_logprobs": whole(0, MAX_TOP_LOGPROBS),
        "response_format": _FORMAT,
        "tools": listed(given({"function": _function("parameters")}, {})),
        "tool_choice": either(_CHOICE_WORDS, given({"function": _NAMED}, {})),
    },
)
_COMPLETION = given(
    {"prompt": either(TEXT, listed(TEXT, least=1, most=1))},
    {
        **_STREAMED,
        **_DRAWN,
        "model": _MODEL,
        "max_tokens": _TOKENS,
        "n": whole(1, MAX_CHOICES),
        "seed": _SEED,
        "stop": _STOP,
        "logprobs": whole(0, MOST_LOGPROBS),
        "echo": const(False),
        "suffix": const(""),
    },
)
_RESPONSE_CONTENT = maybe(_content(RESPONSE_TEXTS))
_ITEM = either(
    {
        **given({"role": one_of(RESPONSE_ROLES)}, {}),
        "properties": {
            "type": const("message"),
            "role": one_of(RESPONSE_ROLES),
            "content": _RESPONSE_CONTENT,
        },
    },
    given({"type": const("function_call"), "call_id": TEXT, "name": TEXT, "arguments": TEXT}, {}),
    given(
        {"type": const("function_call_output"), "call_id": TEXT},
        {"output": _content(RESPONSE_TEXTS)},
    ),
)
_RESPONSE_FORMAT = _format(
    {"type": "object", "properties": {"schema": OBJECT}, "required": ["type", "schema"]}
)
_RESPONSE_TOOL = either(
    {
        "type": "object",
        "properties": {
            "type": const("function"),
            "name": SOME_TEXT,
            "parameters": maybe(OBJECT),
        },
        "required": ["type", "name"],
    },
    {"type": "object", "properties": {"type": {"not": const("function")}}},
)
_RESPONSE = given(
    {"input": either(SOME_TEXT, listed(ref("ResponseItem"), least=1))},
    {
        **_DRAWN,
        "stream": FLAG,
        "model": _MODEL,
        "instructions": TEXT,
        "max_output_tokens": _TOKENS,
        "text": given({}, {"format": _RESPONSE_FORMAT}),
        "tools": listed(_RESPONSE_TOOL),
        "tool_choice": either(_CHOICE_WORDS, _NAMED),
        "background": const(False),
        "previous_response_id": NOTHING,
        "conversation": NOTHING,
        "prompt": NOTHING,
    },
)
_TEXT_BLOCK = _text_part(("text",))
_BLOCK = either(
    _TEXT_BLOCK,
    given({"type": const("tool_use"), "id": TEXT, "name": TEXT}, {"input": ANYTHING}),
    given({"type": const("tool_result"), "tool_use_id": TEXT}, {"content": _content(("text",))}),
)
_TURN = given({"role": one_of(["user", "assistant"])}, {"content": either(TEXT, listed(_BLOCK))})
_TO_COUNT = {
    "model": _MODEL,
    "temperature": number(0, 1),
    "top_p": number(0, 1),
    "system": _content(("text",)),
    "stop_sequences": _STOP,
    "tools": listed(_function("input_schema")),
    "tool_choice": either(
        _CHOICE_WORDS, given({"type": one_of(["auto", "any", "none"])}, {}), _NAMED
    ),
}
_TURNS = {"messages": listed(ref("Turn"), least=1)}
_IDS = listed(whole(0, MAX_ID), least=1)

REQUESTS: dict[str, Schema] = {
    "ChatMessage": _CHAT_MESSAGE,
    "ChatRequest": _CHAT,
    "CompletionRequest": _COMPLETION,
    "ResponseItem": _ITEM,
    "ResponseRequest": _RESPONSE,
    "Turn": _TURN,
    "MessageRequest": given({**_TURNS, "max_tokens": _TOKENS}, {**_TO_COUNT, "stream": FLAG}),
    "CountRequest": given(_TURNS, _TO_COUNT),
    "DecisionRequest": given(
        {"input": either(TEXT, given({"messages": listed(ref("ChatMessage"), least=1)}, {}))},
        {"model": _MODEL, "options": either(TEXT, listed(TEXT, most=MAX_OPTIONS))},
    ),
    "DetectionRequest": given({"text": TEXT}, {"model": _MODEL}),
    "EmbeddingRequest": given(
        {"input": either(SOME_TEXT, _IDS, listed(either(SOME_TEXT, _IDS), 1, MAX_INPUTS))},
        {
            "model": _MODEL,
            "dimensions": whole(1, MAX_WIDTH),
            "encoding_format": one_of(FORMATS),
        },
    ),
}
REQUESTS["DecisionRequest"]["properties"]["kind"] = const("choice")
