"""What the mock's model answers: a function of the request, whatever its dialect.

Words in double square brackets in the prompt tell it to do something unusual:

    [[tokens=240]]    a text of exactly so many tokens
    [[reason=30]]     think for so many tokens first (`[[reason]]`: 12)
    [[refuse]]        refuse, in the provider's way of refusing
    [[filter]]        be stopped by the content filter in the middle of the text
    [[block]]         Gemini: have the prompt blocked; elsewhere like `[[refuse]]`
    [[text]]          answer in text although there are tools
    [[calls=2]]       call so many tools at once
    [[cached=100]]    count so many prompt tokens as read from a cache
    [[written=100]]   count so many as written to it
    [[audio=10]]      count so many tokens, prompt and completion, as audio
    [[outside]]       give the first token a log-probability of "outside the top"
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from zlib import crc32

import orjson

from tests.mock_provider.schemas import value_of
from tests.mock_provider.tokens import Token, joined, tokenize

_DIRECTIVE = re.compile(r"\[\[(\w+)(?:=([^\]]*))?\]\]\s*")
_SENTENCE = (
    "a new day in town as rain and wind come from west so all who can stay home do; many roads "
    "are shut"
)
_WORDS = _SENTENCE.split()
_REFUSAL = "I cannot help with that."
_THOUGHT = "The user wants a headline, so I look for what matters in it and leave out the rest."
_BYTES_PER_TOKEN = 4
_TOKENS_PER_MESSAGE = 4


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the request offers."""

    name: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request for a completion, in no provider's words.

    Attributes:
        text: The last message's text, directives included.
        is_tool_result: Whether the last message is what a tool said.
        prompt_bytes: UTF-8 length of all texts, which `prompt_tokens` are counted from.
        top_logprobs: None where no log-probabilities are wanted.
        tool_choice: `auto`, `none`, `required` or a tool's name.
        schema: What the answer must fit, if anything.
        stream_usage: Whether a stream is to end with usage.
    """

    model: str
    text: str
    prompt_bytes: int
    num_messages: int = 1
    is_tool_result: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    num_choices: int = 1
    top_logprobs: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    schema: dict[str, Any] | None = None
    wants_reasoning: bool = False
    seed: int | None = None
    is_stream: bool = False
    stream_usage: bool = False

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the whole prompt: 4 a message and one for each 4 bytes begun."""
        return _TOKENS_PER_MESSAGE * self.num_messages + -(-self.prompt_bytes // _BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` is JSON, cut where the token limit cut it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens; `completion` includes `reasoning`, `prompt` includes `cached` and `written`."""

    prompt: int
    completion: int
    reasoning: int = 0
    cached: int = 0
    written: int = 0
    audio: int = 0

    @property
    def total(self) -> int:
        """Both sides."""
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Reply:
    """One choice: `finish` is stop, stop_sequence, length, tool_calls, filter, refusal, block."""

    text: str
    tokens: tuple[Token, ...]
    finish: str
    counts: Counts
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    stopped_by: str | None = None


def plain(text: str) -> str:
    """The prompt's text without its directives."""
    return _DIRECTIVE.sub("", text) if "[[" in text else text


def directives(text: str) -> dict[str, str]:
    """The directives of a prompt with their values, empty where none is given."""
    return {name: value or "" for name, value in _DIRECTIVE.findall(text)} if "[[" in text else {}


def headline(text: str, *, sample: int = 0, seed: int | None = None) -> str:
    """The answer to a prompt: its first 3 to 8 words with capitals.

    Another sample index or a seed adds a number, so answers to one prompt differ.
    """
    words = plain(text).split()
    number = crc32(plain(text).encode("utf-8", "surrogatepass"))
    title = " ".join(word[:1].upper() + word[1:] for word in words[: 3 + number % 6]) or "Untitled"
    if sample == 0 and seed is None:
        return title
    return f"{title} ({crc32(f'{number} {sample} {seed}'.encode()) % 10_000})"


def text_of(num_tokens: int, prompt: str = "") -> str:
    """A text of exactly `num_tokens` tokens."""
    start = crc32(prompt.encode("utf-8", "surrogatepass")) % len(_WORDS)
    return _sentences(num_tokens, start)


@lru_cache(maxsize=512)
def _sentences(num_tokens: int, start: int) -> str:
    return "".join(f" {_WORDS[(start + at) % len(_WORDS)]}" for at in range(num_tokens))


def replies_to(
    ask: Ask,
    script: Sequence[tuple[str, str]] = (),
    num_tokens: tuple[int, int] | None = None,
) -> list[Reply]:
    """One reply for each choice asked for.

    Args:
        script: Substrings of the prompt and the text that each brings; the first match counts.
        num_tokens: Least and most tokens of a text, chosen by a hash of the prompt; None gives
            headlines.
    """
    orders = directives(ask.text)
    if num_tokens and "tokens" not in orders:
        least, most = num_tokens
        orders["tokens"] = str(least + crc32(ask.text.encode()) % (most - least + 1))
    scripted = next((text for words, text in script if words in ask.text), None)
    return [_reply(ask, orders, scripted, sample) for sample in range(ask.num_choices)]


def _reply(ask: Ask, orders: dict[str, str], scripted: str | None, sample: int) -> Reply:
    reasoning = _reasoning(ask, orders)
    left = None if ask.max_tokens is None else max(0, ask.max_tokens - len(reasoning))
    if _calls_tools(ask, orders):
        reply = _with_calls(ask, orders, left)
    else:
        reply = _with_text(ask, orders, scripted or _text(ask, orders, sample), left)
    if ask.max_tokens is not None and len(reasoning) > ask.max_tokens:
        reasoning = reasoning[: ask.max_tokens]
        reply = replace(reply, finish="length")
    counts = replace(
        _counted(ask, orders),
        completion=reply.counts.completion + len(reasoning),
        reasoning=len(reasoning),
    )
    return replace(reply, reasoning=joined(reasoning), counts=counts)


def _reasoning(ask: Ask, orders: dict[str, str]) -> tuple[Token, ...]:
    if not (ask.wants_reasoning or "reason" in orders):
        return ()
    wanted = int(orders.get("reason") or 12)
    return tokenize((_THOUGHT + " ") * (1 + wanted // 10))[:wanted]


def _counted(ask: Ask, orders: dict[str, str]) -> Counts:
    cached, written, audio = (int(orders.get(name) or 0) for name in ("cached", "written", "audio"))
    prompt = max(ask.prompt_tokens, cached + written)
    return Counts(prompt, 0, cached=cached, written=written, audio=audio)


def _calls_tools(ask: Ask, orders: dict[str, str]) -> bool:
    if not ask.tools or ask.tool_choice == "none":
        return False
    return ask.tool_choice != "auto" or not (ask.is_tool_result or "text" in orders)


def _with_calls(ask: Ask, orders: dict[str, str], left: int | None) -> Reply:
    named = [tool for tool in ask.tools if tool.name == ask.tool_choice] or list(ask.tools)
    calls, num_tokens = [], 0
    for at in range(int(orders.get("calls") or 1)):
        tool = named[at % len(named)]
        written = orjson.dumps(value_of(tool.parameters, headline(ask.text))).decode()
        tokens = tokenize(written)
        if left is not None:
            tokens = tokens[: max(0, left - num_tokens)]
        num_tokens += len(tokens)
        number = crc32(f"{ask.text} {at}".encode("utf-8", "surrogatepass"))
        calls.append(Call(f"call_{number:08x}", tool.name, joined(tokens)))
        if len(joined(tokens)) < len(written):
            return Reply("", (), "length", Counts(0, num_tokens), calls=tuple(calls))
    return Reply("", (), "tool_calls", Counts(0, num_tokens), calls=tuple(calls))


def _text(ask: Ask, orders: dict[str, str], sample: int) -> str:
    if "refuse" in orders or "block" in orders:
        return _REFUSAL
    title = headline(ask.text, sample=sample, seed=ask.seed)
    if ask.schema is not None:
        return orjson.dumps(value_of(ask.schema, title)).decode()
    if "tokens" in orders:
        return text_of(int(orders["tokens"]), ask.text)
    return title


def _with_text(ask: Ask, orders: dict[str, str], text: str, left: int | None) -> Reply:
    finish = next((to for name, to in _ENDINGS if name in orders), "stop")
    stopped_by = next((stop for stop in ask.stop if stop in text), None)
    if stopped_by is not None:
        text, finish = text[: text.index(stopped_by)], "stop_sequence"
    tokens = tokenize(text, is_first_outside="outside" in orders)
    if finish == "filter":
        tokens = tokens[: (len(tokens) + 1) // 2]
    if left is not None and len(tokens) > left:
        tokens, finish, stopped_by = tokens[:left], "length", None
    return Reply(joined(tokens), tokens, finish, Counts(0, len(tokens)), stopped_by=stopped_by)


_ENDINGS = (("refuse", "refusal"), ("block", "block"), ("filter", "filter"))
