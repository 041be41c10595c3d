"""The comparisons of an arena: what was planned, what came of it, and the rows that are kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stillhouse.evaluate._arena._answers import Entrant
from stillhouse.evaluate._arena._judging import Basis, Duel, Judgement, Outcome
from stillhouse.evaluate._arena._plan import Pairing
from stillhouse.graders import OrderEffect, Winner
from stillhouse.records import Prompt, Record

_SCORES: Mapping[Winner, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True)
class Comparison:
    """Two models' answers to one prompt, and which of them is better."""

    pairing: Pairing
    duel: Duel
    outcome: Outcome

    @property
    def a_score(self) -> float | None:
        """1 where `a` won, 0.5 for a tie, 0 where `b` won; None where there is no verdict."""
        winner = self.outcome.winner
        return None if winner is None else _SCORES[winner]


class ComparisonRow(Record):
    """A comparison as it is kept: table `comparisons` of the evaluation."""

    prompt_id: str
    group: str
    a: str
    b: str
    winner: Winner | None
    """None where a verdict cannot be read: such a row counts nowhere."""
    basis: Basis
    order_effect: OrderEffect | None
    """What swapping the answers did; None unless both orders were read."""
    a_chars: int
    b_chars: int
    a_first: Judgement | None
    """What the judge said with `a` shown first; None where the answers are identical."""
    b_first: Judgement | None


def duels_of(
    pairings: Sequence[Pairing],
    prompts: Sequence[Prompt],
    entrants: Sequence[Entrant],
    *,
    shows_reference: bool,
) -> list[Duel]:
    """The duels to judge, in the order of the plan."""
    return [
        Duel(
            name=f"{entrants[a].name} and {entrants[b].name} on {prompts[prompt].id}",
            request=prompts[prompt].messages,
            a=entrants[a].answers[prompt].text,
            b=entrants[b].answers[prompt].text,
            group=group_of(prompts[prompt]),
            reference=prompts[prompt].reference if shows_reference else None,
        )
        for prompt, a, b in pairings
    ]


def group_of(prompt: Prompt) -> str:
    """What is drawn as a whole with the prompt: its group, or the prompt alone."""
    return prompt.group or prompt.id


def comparison_row(
    one: Comparison, prompts: Sequence[Prompt], entrants: Sequence[Entrant]
) -> ComparisonRow:
    """The row of a comparison."""
    outcome = one.outcome
    return ComparisonRow(
        prompt_id=prompts[one.pairing.prompt].id,
        group=one.duel.group,
        a=entrants[one.pairing.a].name,
        b=entrants[one.pairing.b].name,
        winner=outcome.winner,
        basis=outcome.basis,
        order_effect=outcome.order_effect,
        a_chars=len(one.duel.a),
        b_chars=len(one.duel.b),
        a_first=outcome.a_first,
        b_first=outcome.b_first,
    )
