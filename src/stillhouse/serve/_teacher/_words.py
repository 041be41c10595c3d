"""Between what a client asks and what a teacher is asked, and back."""

import json
import math

from stillhouse.chat import with_tools
from stillhouse.errors import LogprobsUnavailableError
from stillhouse.records import Completion, Prompt, Sampling, TokenLogprobs, content_hash
from stillhouse.serve._ask import Ask, RefusedError, TokenScore
from stillhouse.serve._tools import tool_schema
from stillhouse.teachers import TeacherInfo, check_top_logprobs

_ID_HEX_DIGITS = 16


def asked_of(
    ask: Ask, info: TeacherInfo, *, labels: tuple[str, ...], max_tokens: int
) -> tuple[Prompt, Sampling]:
    """The prompt and how it is to be answered.

    Stop sequences are no part of it: the ledger keeps the answer whole, and the client's ends
    before them. A call that has to be made is asked for as JSON, as of any student.

    Args:
        ask: What the client asks.
        info: Of the teacher.
        labels: Of the task, where the teacher reads them.
        max_tokens: The most that one answer may have.

    Raises:
        RefusedError: the teacher cannot answer such a request.
    """
    if ask.text is not None:
        raise RefusedError(
            400,
            f"{info.id} answers conversations and continues no text. Ask at /v1/chat/completions.",
            param="prompt",
        )
    messages, tools, schema = ask.messages, ask.tools, ask.schema
    if ask.must_call:
        messages, tools = with_tools(ask.messages, ask.tools, False)
        schema = tool_schema(ask)
    prompt = Prompt(
        id="unnamed",
        messages=messages,
        tools=tools,
        output_schema=schema,
        labels=labels if info.reads_labels else (),
    )
    named = content_hash([prompt.model_dump(mode="json")])[:_ID_HEX_DIGITS]
    wanted = max_tokens if ask.max_tokens is None else min(ask.max_tokens, max_tokens)
    sampling = Sampling(
        temperature=ask.temperature,
        top_p=max(ask.top_p, 1e-6),  # 0 keeps the likeliest token, and a record has no 0
        max_tokens=wanted,
        seed=ask.seed or 0,
        top_logprobs=0 if ask.top_logprobs is None else max(ask.top_logprobs, 1),
    )
    try:
        check_top_logprobs(info, sampling)
    except LogprobsUnavailableError as err:
        raise RefusedError(400, str(err), param="top_logprobs") from err
    return prompt.model_copy(update={"id": named}), sampling


def calls_text(completion: Completion) -> str:
    """The calls of an answer as the text that this server reads calls from."""
    return "".join(
        f'<tool_call>\n{{"name": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}\n'
        "</tool_call>"
        for call in completion.tool_calls
    )


def scores_of(logprobs: TokenLogprobs | None, ask: Ask) -> tuple[TokenScore, ...]:
    """The scores of an answer's tokens, where they were asked for and come with their texts."""
    if ask.top_logprobs is None or logprobs is None or logprobs.tokens is None:
        return ()
    k = logprobs.top_k
    scores = []
    for place, (text, value) in enumerate(zip(logprobs.tokens, logprobs.logprobs, strict=True)):
        texts = (logprobs.top_tokens or ())[place * k : (place + 1) * k]
        values = logprobs.top_logprobs[place * k : (place + 1) * k]
        top = tuple(_score(*pair) for pair in zip(texts, values, strict=True) if pair[0])
        scores.append(_score(text, value, top[: ask.top_logprobs]))
    return tuple(scores)


def _score(text: str, value: float, top: tuple[TokenScore, ...] = ()) -> TokenScore:
    # JSON has no -inf; what providers write in its place is kept as it is.
    logprob = value if math.isfinite(value) else -9999.0
    return TokenScore(text, text.encode("utf-8", "replace"), logprob, top)
