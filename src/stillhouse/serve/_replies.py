"""Answers as the protocols tell them: whole, or in changes, with calls of tools taken out."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from stillhouse.records import FinishReason, ToolCall
from stillhouse.serve._ask import Answering, Ask, TokenScore
from stillhouse.serve._stops import TextStream
from stillhouse.serve._tools import OPENING, read_calls


@dataclass(slots=True)
class Reply:
    """One whole answer.

    Attributes:
        index: Which answer.
        text: What it says beside calls.
        calls: Tools that it wants called.
        scores: Of its tokens, where they were asked for.
        finish_reason: Why it ended.
        num_tokens: The end of turn included.
    """

    index: int
    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    scores: list[TokenScore] = field(default_factory=list)
    finish_reason: FinishReason = "stop"
    num_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """What is new in one answer.

    Attributes:
        index: Which answer.
        text: What is added.
        scores: Of the tokens that are added.
        calls: Tools that are to be called, told with the end.
        finish_reason: Why it ends; None while it goes on.
        num_tokens: Of the whole answer so far.
    """

    index: int
    text: str = ""
    scores: tuple[TokenScore, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    num_tokens: int = 0


async def whole(answering: Answering, ask: Ask) -> list[Reply]:
    """All answers to a request, once they have ended."""
    replies = [Reply(index) for index in range(ask.num_choices)]
    async for piece in answering.pieces:
        reply = replies[piece.index]
        reply.text += piece.text
        reply.scores += piece.scores
        reply.num_tokens = piece.num_tokens
        if piece.finish_reason is not None:
            reply.finish_reason = piece.finish_reason
    for reply in replies:
        reply.text, reply.calls = read_calls(reply.text, ask)
        if reply.calls:
            reply.finish_reason = "tool_calls"
    return replies


async def deltas(answering: Answering, ask: Ask) -> AsyncIterator[Delta]:
    """What is new, as it comes; what may be a call waits for the end of its answer."""
    open_texts = {index: _OpenText(ask) for index in range(ask.num_choices)}
    async for piece in answering.pieces:
        text = open_texts[piece.index].add(piece.text)
        calls: tuple[ToolCall, ...] = ()
        reason = piece.finish_reason
        if reason is not None:
            rest, calls = open_texts[piece.index].end()
            text += rest
            reason = "tool_calls" if calls else reason
        if text or piece.scores or reason is not None:
            yield Delta(piece.index, text, piece.scores, calls, reason, piece.num_tokens)


class _OpenText:
    """The text of one answer under way, of which no part of a call is shown."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._shown = TextStream((OPENING,) if ask.tools else ())
        self._all = ""
        self._num_shown = 0

    def add(self, text: str) -> str:
        self._all += text
        return "" if self._ask.must_call else self._count(self._shown.add(text.encode()))

    def end(self) -> tuple[str, tuple[ToolCall, ...]]:
        """What is still to be shown, and the calls."""
        if not self._ask.tools:
            return self._shown.end(), ()
        text, calls = read_calls(self._all, self._ask)
        if calls:
            return "", calls
        return text[self._num_shown :], ()

    def _count(self, text: str) -> str:
        self._num_shown += len(text)
        return text
