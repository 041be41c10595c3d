"""Typed decisions: a label and the probability of each, from a student that answers with labels."""

from time import time
from typing import Any

from stillhouse.records import Message
from stillhouse.serve._ask import Ask, RefusedError
from stillhouse.serve._chat import read_ask as read_chat_ask
from stillhouse.serve._fields import texts, wrong
from stillhouse.serve._labels import Decision, LabelEngine, answer_in, confidence_header
from stillhouse.serve._openai_common import new_id
from stillhouse.serve._seen import note

_MOST_OPTIONS = 10_000


def read_ask(fields: dict[str, Any]) -> Ask:
    """The text or conversation that is to be decided on.

    Raises:
        RefusedError: a field is wrong.
    """
    given = fields.get("input")
    if isinstance(given, str):
        return Ask(messages=(Message(role="user", content=given),))
    if not isinstance(given, dict):
        raise wrong("input", given, "a text, or an object with messages")
    return read_chat_ask({"messages": given.get("messages")})


async def decided(
    fields: dict[str, Any], engine: LabelEngine, model: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """The decision, and the headers that go with it.

    Options that the student does not know are refused: it would never choose them. Where only some
    of its labels are options, probabilities are those given that the answer is one of them.

    Raises:
        RefusedError: a field is wrong.
    """
    kind = fields.get("kind", "choice")
    if kind != "choice":
        raise wrong("kind", kind, "choice: this student chooses among labels")
    options = texts(fields, "options", _MOST_OPTIONS)
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
    decision = await engine.decide(engine.text_of(read_ask(fields)))
    shares, confidence = decision.probabilities, decision.confidence
    if options:
        choice, shares = _among(options, decision)
        confidence = shares[choice]
        note(confidence=confidence)
    else:
        choice = answer_in(decision)
    document = {
        "id": new_id("decision_"),
        "object": "decision",
        "created": int(time()),
        "model": model,
        "choice": choice,
        "probabilities": shares,
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
    return document, confidence_header(confidence)


def _among(options: tuple[str, ...], decision: Decision) -> tuple[str, dict[str, float]]:
    """The likeliest option and the probability of each, given that it is one of them."""
    mass = sum(decision.probabilities[option] for option in options)
    if mass <= 0:
        raise RefusedError(400, "The student gives no probability to any option.", param="options")
    shares = {option: decision.probabilities[option] / mass for option in options}
    return max(shares, key=shares.__getitem__), shares
