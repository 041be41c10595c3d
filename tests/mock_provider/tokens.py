"""Tokens of the mock's texts, their ids and log-probabilities: all computable by a test.

Tokens are cut at bytes, as real byte-level tokenizers do: a character of four bytes is split over
two tokens, so whoever joins texts instead of bytes is found out.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import orjson

_PIECE = re.compile(r" ?\S{1,6}|\s")
_VOCABULARY_SIZE = 50_000
OUTSIDE_TOP = -9999.0
"""What OpenAI says for a token outside the 20 most probable ones."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its bytes, and its place in the text, which its log-probability depends on."""

    raw: bytes
    index: int
    is_outside: bool = False

    @property
    def text(self) -> str:
        r"""As OpenAI shows it: bytes that are no whole character are written `\xf0`."""
        return self.raw.decode("utf-8", "backslashreplace")

    @property
    def id(self) -> int:
        """Its number in the vocabulary."""
        return crc32(self.raw) % _VOCABULARY_SIZE


@lru_cache(maxsize=512)
def tokenize(text: str, *, is_first_outside: bool = False) -> tuple[Token, ...]:
    """The tokens of a text; their bytes joined are the text."""
    raws = [raw for piece in _PIECE.findall(text) for raw in _split(piece.encode())]
    return tuple(
        Token(raw, index, is_first_outside and index == 0) for index, raw in enumerate(raws)
    )


def joined(tokens: tuple[Token, ...]) -> str:
    """The text of tokens; a character that was cut in the middle becomes U+FFFD."""
    return b"".join(token.raw for token in tokens).decode("utf-8", "replace")


def whole_pieces(tokens: tuple[Token, ...]) -> list[tuple[Token, ...]]:
    """Tokens grouped so that each group is whole characters: what a stream sends at once."""
    groups: list[tuple[Token, ...]] = []
    waiting: tuple[Token, ...] = ()
    for token in tokens:
        waiting += (token,)
        if _is_whole(waiting):
            groups.append(waiting)
            waiting = ()
    return [*groups, waiting] if waiting else groups


def top_of(token: Token, num_top: int) -> list[tuple[bytes, float]]:
    """The `num_top` most probable tokens at its place, best first, with their log-probabilities.

    The token itself is first, second or third of them, so with few it may be missing.
    """
    rank = _rank(token)
    return [
        (token.raw if place == rank else b" alt%d" % place, _logprob_at(token, place))
        for place in range(num_top)
    ]


def logprob_of(token: Token) -> float:
    """Its log-probability, in nats."""
    return OUTSIDE_TOP if token.is_outside else _logprob_at(token, _rank(token))


def openai_logprob(token: Token, num_top: int) -> orjson.Fragment:
    """The token's entry of `logprobs.content`, as JSON."""
    return orjson.Fragment(_openai_logprob(token.raw, token.index % 4, token.is_outside, num_top))


def gemini_candidate(raw: bytes, logprob: float) -> dict[str, object]:
    """A candidate of Gemini's `logprobsResult`."""
    text = raw.decode("utf-8", "backslashreplace")
    return {"token": text, "tokenId": crc32(raw) % _VOCABULARY_SIZE, "logProbability": logprob}


def _split(raw: bytes) -> list[bytes]:
    start = next((at for at, byte in enumerate(raw) if byte >= 0xF0), None)
    return [raw] if start is None else [raw[: start + 2], *_split(raw[start + 2 :])]


def _is_whole(tokens: tuple[Token, ...]) -> bool:
    try:
        b"".join(token.raw for token in tokens).decode()
    except UnicodeDecodeError:
        return False
    return True


def _rank(token: Token) -> int:
    if token.is_outside:
        return 1_000
    return (crc32(token.raw) + token.index) % 4 % 3


def _logprob_at(token: Token, place: int) -> float:
    return -0.05 - 0.7 * place - (crc32(token.raw) % 50) / 100


@lru_cache(maxsize=8192)
def _openai_logprob(raw: bytes, index: int, is_outside: bool, num_top: int) -> bytes:
    token = Token(raw, index, is_outside)
    tops = [_openai_entry(other, logprob) for other, logprob in top_of(token, num_top)]
    entry = _openai_entry(raw, logprob_of(token))
    return orjson.dumps({**entry, "top_logprobs": tops})


def _openai_entry(raw: bytes, logprob: float) -> dict[str, object]:
    text = raw.decode("utf-8", "backslashreplace")
    return {"token": text, "logprob": logprob, "bytes": list(raw)}
