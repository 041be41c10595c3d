"""Log-probabilities as the OpenAI dialects write them, and as older open-weights hosts do."""

import math
from collections.abc import Iterable
from operator import itemgetter
from typing import Any

from stillhouse.records import TokenLogprobs
from stillhouse.teachers._dialects._protocol import MalformedAnswerError

OUTSIDE_TOP_NATS = -9999.0
"""What the protocol says for "outside the top logprobs"; kept as it is for a completion token."""

_pair_in = itemgetter("token", "logprob")
_value_of = itemgetter(1)


def entries_to_logprobs(entries: list[Any], asked: int, place: str) -> TokenLogprobs:
    """From `[{token, logprob, top_logprobs: [{token, logprob}]}]`, at least one entry.

    A token with fewer top entries than the others lowers `top_k` for all of them.
    """
    try:
        return pack(
            tokens=[str(entry["token"]) for entry in entries],
            logprobs=[finite(entry["logprob"]) for entry in entries],
            tops=[
                largest_first(map(_pair_in, entry.get("top_logprobs") or []), asked)
                for entry in entries
            ],
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as err:
        raise MalformedAnswerError(f"{place}: {type(err).__name__} {err}") from err


def columns_to_logprobs(given: dict[str, Any], asked: int, place: str) -> TokenLogprobs | None:
    """From `{tokens: [], token_logprobs: [], top_logprobs: [{token: logprob}]}`, if it is that."""
    tokens, logprobs, tops = (
        given.get(name) for name in ("tokens", "token_logprobs", "top_logprobs")
    )
    if not tokens or not logprobs:
        return None
    try:
        pairs = [(top or {}).items() for top in tops or [{}] * len(tokens)]
        return pack(
            tokens=[str(token) for token in tokens],
            logprobs=[finite(value) for value in logprobs],
            tops=[largest_first(top, asked) for top in pairs],
        )
    except (AttributeError, TypeError, ValueError, OverflowError) as err:
        raise MalformedAnswerError(f"{place}: {type(err).__name__} {err}") from err


def pack(
    *, tokens: list[str], logprobs: list[float], tops: list[list[tuple[str, float]]]
) -> TokenLogprobs:
    """One row per token, `top_k` of them alike.

    Raises:
        ValueError: the lists are of different lengths.
    """
    if len(tops) != len(tokens):
        raise ValueError(f"{len(tops)} top lists for {len(tokens)} tokens")
    top_k = min((len(top) for top in tops), default=0)
    flat = [pair for top in tops for pair in top[:top_k]]
    top_tokens, top_logprobs = zip(*flat, strict=True) if flat else ((), ())
    return TokenLogprobs(
        tokens=tuple(tokens),
        logprobs=tuple(logprobs),
        top_k=top_k,
        top_tokens=top_tokens,
        top_logprobs=top_logprobs,
    )


def largest_first(pairs: Iterable[tuple[Any, Any]], asked: int) -> list[tuple[str, float]]:
    """The largest first; entries marked as outside say nothing and are left out."""
    # `is_inside`, written out: an answer has thousands of them.
    known = [
        (str(token), number)
        for token, value in pairs
        if OUTSIDE_TOP_NATS < (number := float(value)) < math.inf
    ]
    known.sort(key=_value_of, reverse=True)  # equal ones stay in their order
    return known[:asked]


def finite(value: Any) -> float:
    """A log-probability that every store can hold."""
    number = float(value)
    return number if math.isfinite(number) else OUTSIDE_TOP_NATS


def is_inside(value: Any) -> bool:
    """Whether it is a log-probability and not a mark for "outside the top"."""
    return OUTSIDE_TOP_NATS < float(value) < math.inf
