"""The OpenAI chat-completions protocol as pure functions: body out, completion in.

Only what the protocol itself has is sent. What it lacks (`top_k`, `min_p`, penalties) stays as the
endpoint sets it, unless the endpoint is ours and takes extra fields.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import ValidationError

from stillhouse.errors import LogprobsUnavailableError
from stillhouse.records import Completion, FinishReason, Request, TokenLogprobs, Usage

MAX_TOP_LOGPROBS = 20
OUTSIDE_TOP_NATS = -9999.0
"""What the protocol says for "outside the top logprobs"; kept as it is for a completion token."""

_QUOTED_CHARS = 200
_SEED_MODULUS = 2**31  # servers hold seeds in 32 bits, some of them signed
_FINISH_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}


class MalformedAnswerError(ValueError):
    """The endpoint said 200 and sent something that is not a chat completion."""


@dataclass(frozen=True)
class EndpointError:
    """The error object of the protocol, as far as the endpoint filled it in."""

    code: str
    message: str


def request_body(
    request: Request, *, model: str, max_tokens_field: str, extra: dict[str, Any]
) -> bytes:
    """The JSON body that asks for one completion, not streamed.

    Temperature, `top_p` and seed are always sent: endpoints have defaults of their own.
    """
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": m.role, "content": m.content} for m in request.messages],
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        max_tokens_field: sampling.max_tokens,
        "seed": request.seed % _SEED_MODULUS,
        **extra,
    }
    if sampling.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": sampling.top_logprobs}
    return orjson.dumps(body)


def parse_answer(
    raw: bytes, request: Request, *, cost_usd: float | None, seconds: float
) -> Completion:
    """The completion in an answer with status 200.

    Raises:
        MalformedAnswerError: it is not a chat completion; the text says what is wrong.
        LogprobsUnavailableError: log-probabilities were asked for and there are none.
    """
    data = _json_object(raw)
    choice = _first_choice(data)
    text, finish_reason = _text_and_reason(choice)
    logprobs = None
    if request.sampling.top_logprobs:
        logprobs = _token_logprobs(choice.get("logprobs"), text, request.sampling.top_logprobs)
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    try:
        return Completion(
            request_id=request.id,
            prompt_id=request.prompt_id,
            sample_index=request.sample_index,
            text=text,
            finish_reason=finish_reason,
            model=data.get("model") or "unknown",
            usage=Usage(
                prompt_tokens=usage.get("prompt_tokens") or 0,
                completion_tokens=usage.get("completion_tokens") or 0,
                cost_usd=cost_usd,
                seconds=seconds,
            ),
            created_utc=datetime.now(UTC),
            logprobs=logprobs,
        )
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise MalformedAnswerError(f"{place}: {first['msg']}") from err


def parse_error(raw: bytes) -> EndpointError:
    """What the endpoint says went wrong, on one line and cut at 200 characters."""
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return EndpointError(code="", message=_one_line(raw.decode("utf-8", "replace")))
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return EndpointError(code="", message=_one_line(str(error)))
    message = error.get("message") or error.get("detail") or orjson.dumps(error).decode()
    code = error.get("code") or error.get("type") or ""
    return EndpointError(code=str(code), message=_one_line(str(message)))


def _json_object(raw: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as err:
        raise MalformedAnswerError(f"not JSON ({err}), {len(raw)} bytes") from err
    if not isinstance(data, dict):
        raise MalformedAnswerError(f"a JSON {type(data).__name__}, not an object")
    return data


def _first_choice(data: dict[str, Any]) -> dict[str, Any]:
    choices = data.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        # Gateways report errors under status 200 as well.
        said = f"; it says: {parse_error(orjson.dumps(data)).message}" if "error" in data else ""
        raise MalformedAnswerError(f"no choices{said}")
    return choices[0]


def _text_and_reason(choice: dict[str, Any]) -> tuple[str, FinishReason]:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise MalformedAnswerError("choices[0] has no message")
    content, refusal = message.get("content"), message.get("refusal")
    if not content and isinstance(refusal, str) and refusal:
        return refusal, "content_filter"
    reason = _FINISH_REASONS.get(str(choice.get("finish_reason")))
    if reason is None:
        raise MalformedAnswerError(f"finish_reason {choice.get('finish_reason')!r} is not known")
    if content is None and reason == "content_filter":
        content = ""
    if not isinstance(content, str):
        raise MalformedAnswerError(f"message.content is {type(content).__name__}, not text")
    return content, reason


def _token_logprobs(given: Any, text: str, asked: int) -> TokenLogprobs | None:
    entries = given.get("content") if isinstance(given, dict) else None
    if not entries:
        if not text or (isinstance(given, dict) and given.get("refusal")):
            return None
        raise LogprobsUnavailableError(
            f"top_logprobs={asked} but the endpoint answers without log-probabilities. "
            "Set top_logprobs to 0, or use a teacher that gives them."
        )
    try:
        tops = [_top_entries(entry.get("top_logprobs") or [], asked) for entry in entries]
        top_k = min(len(top) for top in tops)
        flat = [pair for top in tops for pair in top[:top_k]]
        return TokenLogprobs(
            tokens=tuple(str(entry["token"]) for entry in entries),
            logprobs=tuple(_finite(entry["logprob"]) for entry in entries),
            top_k=top_k,
            top_tokens=tuple(token for token, _ in flat),
            top_logprobs=tuple(value for _, value in flat),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise MalformedAnswerError(f"logprobs.content: {type(err).__name__} {err}") from err


def _top_entries(entries: list[Any], asked: int) -> list[tuple[str, float]]:
    """The largest first; entries marked as outside say nothing and are left out."""
    pairs = [(str(entry["token"]), float(entry["logprob"])) for entry in entries]
    known = [pair for pair in pairs if math.isfinite(pair[1]) and pair[1] > OUTSIDE_TOP_NATS]
    return sorted(known, key=lambda pair: -pair[1])[:asked]


def _finite(value: Any) -> float:
    number = float(value)
    return number if math.isfinite(number) else OUTSIDE_TOP_NATS


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED_CHARS else line[: _QUOTED_CHARS - 3] + "..."
