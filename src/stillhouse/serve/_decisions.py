"""Typed decisions: a label and the probability of each, from a student that answers with labels."""

from time import time
from typing import Any

from stillhouse.records import Message
from stillhouse.serve._ask import Answering, Ask, Engine, Piece, RefusedError, no_pieces
from stillhouse.serve._chat import read_ask as read_chat_ask
from stillhouse.serve._fields import texts, wrong
from stillhouse.serve._labels import Decision, LabelEngine, answer_in, confidence_header
from stillhouse.serve._openai_common import new_id
from stillhouse.serve._seen import Seen, note

MAX_OPTIONS = 10_000
"""Of one request."""


def read_input(fields: dict[str, Any]) -> tuple[Ask, tuple[str, ...]]:
    """The text or conversation that is to be decided on, and the options; none for all labels.

    Raises:
        RefusedError: a field is wrong.
    """
    kind = fields.get("kind", "choice")
    if kind != "choice":
        raise wrong("kind", kind, "choice: this student chooses among labels")
    return _ask(fields), texts(fields, "options", MAX_OPTIONS)


def _ask(fields: dict[str, Any]) -> Ask:
    given = fields.get("input")
    if isinstance(given, str):
        return Ask(messages=(Message(role="user", content=given),))
    if not isinstance(given, dict):
        raise wrong("input", given, "a text, or an object with messages")
    return read_chat_ask({"messages": given.get("messages")})


async def decided(fields: dict[str, Any], engine: Engine, seen: Seen) -> dict[str, Any]:
    """The decision.

    Options that the student does not know are refused: it would never choose them. Where only some
    of its labels are options, probabilities are those given that the answer is one of them.

    Raises:
        RefusedError: a field is wrong, or the student does not answer with labels alone.
    """
    if not isinstance(engine, LabelEngine):
        raise RefusedError(
            404, f"{engine.name} decides nothing here. Ask it at /v1/chat/completions."
        )
    ask, options = read_input(fields)
    seen.ask = ask
    unknown = [option for option in options if option not in engine.labels]
    if unknown:
        raise RefusedError(
            400,
            f"{len(unknown)} options are no labels of this student, such as {unknown[0]!r}. Leave "
            "options out for all of its labels.",
            param="options",
        )
    if options and engine.is_multiple:
        raise RefusedError(
            400,
            "This student gives a text any number of labels, each by itself, so that there is "
            "nothing to weigh among options. Leave them out.",
            param="options",
        )
    decision = await engine.decide(engine.text_of(ask))
    shares, confidence = decision.probabilities, decision.confidence
    if options:
        choice, shares = _among(options, decision)
        confidence = shares[choice]
        note(confidence=confidence)
    else:
        choice = answer_in(decision)
    seen.answering = Answering(0, no_pieces(), confidence_header(confidence))
    seen.add(Piece(0, choice, (), "stop", 1))
    return {
        "id": new_id("decision_"),
        "object": "decision",
        "created": int(time()),
        "model": seen.model,
        "choice": choice,
        "probabilities": shares,
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def _among(options: tuple[str, ...], decision: Decision) -> tuple[str, dict[str, float]]:
    """The likeliest option and the probability of each, given that it is one of them."""
    mass = sum(decision.probabilities[option] for option in options)
    if mass <= 0:
        raise RefusedError(400, "The student gives no probability to any option.", param="options")
    shares = {option: decision.probabilities[option] / mass for option in options}
    return max(shares, key=shares.__getitem__), shares
