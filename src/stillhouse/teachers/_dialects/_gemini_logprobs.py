"""Gemini's log-probabilities, the only hosted ones that come with token ids."""

from typing import Any

from stillhouse.records import TokenLogprobs
from stillhouse.teachers._dialects._json import objects_in
from stillhouse.teachers._dialects._logprobs import finite, is_inside
from stillhouse.teachers._dialects._protocol import MalformedAnswerError


def read_logprobs(given: dict[str, Any], asked: int) -> TokenLogprobs | None:
    """From `logprobsResult`; the chosen token need not be among the top ones.

    A token with fewer top entries than the others lowers `top_k` for all of them. Ids are kept
    where every entry has one. None where nothing is given.
    """
    place = "logprobsResult"
    chosen = objects_in(given.get("chosenCandidates"), f"{place}.chosenCandidates")
    if not chosen:
        return None
    tops = objects_in(given.get("topCandidates"), f"{place}.topCandidates")
    try:
        rows = [_largest_first(top, asked) for top in tops]
        if rows and len(rows) != len(chosen):
            raise ValueError(f"{len(rows)} top lists for {len(chosen)} tokens")
        top_k = min((len(row) for row in rows), default=0)
        flat = [entry for row in rows for entry in row[:top_k]]
        return TokenLogprobs(
            token_ids=_ids(chosen),
            tokens=tuple(str(entry["token"]) for entry in chosen),
            logprobs=tuple(finite(entry["logProbability"]) for entry in chosen),
            top_k=top_k,
            top_ids=_ids(flat),
            top_tokens=tuple(str(entry["token"]) for entry in flat),
            top_logprobs=tuple(float(entry["logProbability"]) for entry in flat),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as err:
        raise MalformedAnswerError(f"{place}: {type(err).__name__} {err}") from err


def _largest_first(top: dict[str, Any], asked: int) -> list[dict[str, Any]]:
    entries = objects_in(top.get("candidates"), "topCandidates[].candidates")
    known = [entry for entry in entries if is_inside(entry["logProbability"])]
    return sorted(known, key=lambda entry: -float(entry["logProbability"]))[:asked]


def _ids(entries: list[dict[str, Any]]) -> tuple[int, ...] | None:
    ids = tuple(entry.get("tokenId") for entry in entries)
    whole = tuple(number for number in ids if type(number) is int)
    return whole if len(whole) == len(ids) else None
