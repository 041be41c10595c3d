"""What a judge said: read strictly from its words, and brought together over both orders."""

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import orjson

Choice = Literal["first", "second", "tie"]
"""Which of two answers was called better, by the place at which it was shown."""

VerdictProblem = Literal["empty", "no_verdict", "several_verdicts"]
"""Why there is no choice in a text: it is blank, names none, or names several that differ."""

Winner = Literal["a", "b", "tie"]
"""Which of two answers won, whatever the order they were shown in."""

OrderEffect = Literal["none", "first", "second", "half"]
"""What swapping the answers did: `none`, the same verdict; `first` or `second`, the answer in that
place won both times; `half`, one order decided and the other called a tie."""

_CHOICES: dict[str, Choice] = {
    "A": "first",
    "B": "second",
    "TIE": "tie",
    "C": "tie",  # MT-bench's word for one
    "A>>B": "first",  # Arena-Hard's five steps
    "A>B": "first",
    "A=B": "tie",
    "B=A": "tie",
    "B>A": "second",
    "B>>A": "second",
}
_BRACKETED = re.compile(r"\[\[([^\[\]\n]{1,12})\]\]")
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_KEYS = ("winner", "verdict")


class ReadVerdict(NamedTuple):
    """A choice, or why there is none; exactly one of the two."""

    choice: Choice | None
    problem: VerdictProblem | None = None


def read_verdict(text: str) -> ReadVerdict:
    """The one verdict in a judge's answer.

    Read are `[[A]]`, `[[B]]` and `[[TIE]]`, as well as the `[[C]]` and `[[A>>B]]` of well-known
    templates, and a JSON object with `winner` or `verdict` that is the whole text, a fenced block
    or a line. All that are found must say the same: a text that weighs `[[A]]` and ends in
    `[[B]]` is read as neither. Words are not interpreted.
    """
    if not text.strip():
        return ReadVerdict(None, "empty")
    found = {*_bracketed(text), *_from_json(text)}
    if len(found) == 1:
        return ReadVerdict(found.pop())
    return ReadVerdict(None, "several_verdicts" if found else "no_verdict")


class SwappedVerdict(NamedTuple):
    """What came of asking about answers `a` and `b` in both orders.

    Attributes:
        winner: Won in both orders, else a tie.
        order_effect: What swapping did.
    """

    winner: Winner
    order_effect: OrderEffect


def swapped_verdict(a_first: Choice, b_first: Choice) -> SwappedVerdict:
    """The verdict on `a` and `b` from the choices made with each of them shown first.

    A win counts only where both orders agree on it; whatever differs is a tie (the conservative
    rule of Zheng et al. 2023, arXiv:2306.05685).
    """
    one, other = _as_winner(a_first), _as_winner(_OTHER_PLACE[b_first])
    if one == other:
        return SwappedVerdict(one, "none")
    if "tie" in (one, other):
        return SwappedVerdict("tie", "half")
    return SwappedVerdict("tie", "first" if a_first == "first" else "second")


_OTHER_PLACE: dict[Choice, Choice] = {"first": "second", "second": "first", "tie": "tie"}


def _as_winner(choice: Choice) -> Winner:
    return "tie" if choice == "tie" else "a" if choice == "first" else "b"


def _bracketed(text: str) -> Iterator[Choice]:
    for written in _BRACKETED.findall(text):
        choice = _choice_of(written)
        if choice is not None:  # else a link or a list, as in [[1, 2]]
            yield choice


def _from_json(text: str) -> Iterator[Choice]:
    candidates = {text, *text.splitlines(), *_FENCED.findall(text)}
    for candidate in candidates:
        for key in _KEYS:
            choice = _choice_of(_object(candidate).get(key))
            if choice is not None:
                yield choice


def _object(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _choice_of(written: Any) -> Choice | None:
    if not isinstance(written, str):
        return None
    return _CHOICES.get("".join(written.split()).upper())
