"""Pairs of answers to the judge, in both orders, and its verdicts back."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from stillhouse.artifacts import Artifact
from stillhouse.errors import TooManyFailuresError
from stillhouse.evaluate._arena._answers import completions_by_identity
from stillhouse.graders import (
    Choice,
    JudgeTemplate,
    OrderEffect,
    Winner,
    judge_messages,
    read_verdict,
    swapped_verdict,
)
from stillhouse.records import Completion, Message, Prompt, Record, messages_identity

NO_ANSWER = "no_answer"
_SHOWN_CHARS = 80
# Why an answer that ended so has no verdict, which says more than that it has none.
_BY_FINISH = {"length": "cut_off", "content_filter": "refused"}

Basis = Literal["judged", "identical", "unreadable"]
"""What an outcome rests on: verdicts in both orders, two answers that are one text, or nothing."""


@dataclass(frozen=True)
class Duel:
    """Two answers to one request.

    Attributes:
        name: Unique among the duels that are judged together.
        request: The conversation that both answer.
        a: One answer.
        b: The other.
        group: What the prompt belongs to; the bootstrap draws these as wholes.
        reference: An answer that is known to be right, for the judge to see.
    """

    name: str
    request: tuple[Message, ...]
    a: str
    b: str
    group: str
    reference: str | None = None

    @property
    def is_identical(self) -> bool:
        """Whether both say the same: a tie that no judge is asked about."""
        return self.a.strip() == self.b.strip()


class Judgement(Record):
    """What the judge said about two answers in one order."""

    request_id: str | None
    """The call in the ledger; None where no answer came."""
    choice: Choice | None
    problem: str | None
    """Why there is no choice."""
    text: str


class Outcome(NamedTuple):
    """How a duel ended.

    Attributes:
        basis: What that rests on.
        winner: None where a verdict is unreadable.
        order_effect: What swapping the answers did; None unless both orders were read.
        a_first: What the judge said with `a` shown first; None where it was not asked.
        b_first: The same with `b` shown first.
    """

    basis: Basis
    winner: Winner | None
    order_effect: OrderEffect | None = None
    a_first: Judgement | None = None
    b_first: Judgement | None = None

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        """Those of both orders; none where the judge was not asked."""
        return tuple(one for one in (self.a_first, self.b_first) if one is not None)


def judge_prompts(duels: Sequence[Duel], template: JudgeTemplate) -> list[Prompt]:
    """What to ask the judge: every duel in both orders, but for identical answers."""
    return [
        Prompt(id=f"{duel.name}, {order} first", messages=messages, group=duel.group)
        for duel in duels
        if not duel.is_identical
        for order, messages in zip("ab", _both_orders(duel, template), strict=True)
    ]


def read_outcomes(
    duels: Sequence[Duel], template: JudgeTemplate, judgements: Artifact
) -> list[Outcome]:
    """How each duel ended, from the completions to `judge_prompts`."""
    # By what was asked: pairs that look the same to the judge were asked about once.
    said = completions_by_identity(judgements)
    return [_outcome(duel, template, said) for duel in duels]


def count_problems(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Judgements without a choice, by reason."""
    problems = Counter(one.problem for one in _judgements(outcomes) if one.problem is not None)
    return dict(sorted(problems.items()))


def check_readable(outcomes: Sequence[Outcome], judge: str, *, max_fraction: float) -> None:
    """Refuse a judge that too often gives no verdict.

    Answers that never came do not count here: asking has a limit of its own for them.

    Raises:
        TooManyFailuresError: it does so in more than `max_fraction` of its answers.
    """
    answers = [one for one in _judgements(outcomes) if one.problem != NO_ANSWER]
    unread = [one for one in answers if one.problem is not None]
    if len(unread) <= max_fraction * len(answers):
        return
    kind, times = Counter(one.problem for one in unread).most_common(1)[0]
    example = next(one.text for one in unread if one.problem == kind)
    advice = "Raise judge_sampling.max_tokens" if kind == "cut_off" else "Give another judge"
    raise TooManyFailuresError(
        f"{len(unread)} of {len(answers)} answers of the judge {judge!r} hold no verdict that can "
        f"be read ({len(unread) / len(answers):.1%}, allowed are {max_fraction:.1%}), {times} of "
        f"them as {kind!r}, such as {_shown(example)}. {advice}, or a judge_template that it "
        "follows: a verdict is [[A]], [[B]] or [[TIE]]. What was answered is kept."
    )


def _both_orders(duel: Duel, template: JudgeTemplate) -> Iterator[tuple[Message, ...]]:
    for first, second in ((duel.a, duel.b), (duel.b, duel.a)):
        yield judge_messages(template, duel.request, first, second, reference=duel.reference)


def _outcome(duel: Duel, template: JudgeTemplate, said: Mapping[str, Completion]) -> Outcome:
    if duel.is_identical:
        return Outcome("identical", "tie")
    a_first, b_first = (
        _judgement(said.get(messages_identity(messages)))
        for messages in _both_orders(duel, template)
    )
    if a_first.choice is None or b_first.choice is None:
        return Outcome("unreadable", None, None, a_first, b_first)
    winner, order_effect = swapped_verdict(a_first.choice, b_first.choice)
    return Outcome("judged", winner, order_effect, a_first, b_first)


def _judgement(completion: Completion | None) -> Judgement:
    if completion is None:
        return Judgement(request_id=None, choice=None, problem=NO_ANSWER, text="")
    choice, problem = read_verdict(completion.text)
    return Judgement(
        request_id=completion.request_id,
        choice=choice,
        problem=problem and _BY_FINISH.get(completion.finish_reason, problem),
        text=completion.text,
    )


def _judgements(outcomes: Sequence[Outcome]) -> Iterator[Judgement]:
    for outcome in outcomes:
        yield from outcome.judgements


def _shown(text: str) -> str:
    words = " ".join(text.split())
    return repr(words if len(words) <= _SHOWN_CHARS else f"{words[:_SHOWN_CHARS]}...")
