"""Hold an arena: have the models answer and the judge compare, each into a folder of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from stillhouse.artifacts import Artifact
from stillhouse.errors import BudgetExceededError, DataError
from stillhouse.evaluate._arena._answers import Chosen, Entrant, read_entrant
from stillhouse.evaluate._arena._asking import Ask, named_progress
from stillhouse.evaluate._arena._comparisons import Comparison, duels_of, group_of
from stillhouse.evaluate._arena._config import ArenaConfig
from stillhouse.evaluate._arena._gold import Gold, gold_duels
from stillhouse.evaluate._arena._judging import (
    Duel,
    Outcome,
    check_readable,
    judge_prompts,
    read_outcomes,
)
from stillhouse.evaluate._arena._plan import Pairing, plan_pairings
from stillhouse.graders import JudgeTemplate
from stillhouse.records import Prompt
from stillhouse.runlog import Listener

_ANSWERS, _JUDGEMENTS, _LABELLED, _TRIAL = "answers", "judgements", "labelled", "trial"
_MIN_GROUPS = 10  # with fewer no interval is to be believed; that of `compare_paired` as well
_TRIAL_UNREADABLE = 0.5


@dataclass(frozen=True)
class Judge:
    """Who compares, and how it is asked."""

    spec: str
    template: JudgeTemplate


class Labelled(NamedTuple):
    """Pairs that people compared, and what the judge says of them."""

    gold: Gold
    outcomes: Sequence[Outcome]
    artifact: Artifact


@dataclass(frozen=True)
class Held:
    """An arena that was held.

    Attributes:
        chosen: The prompts.
        entrants: The models with their answers.
        specs: What each of them was asked as.
        comparisons: What was judged, in the order of the plan.
        num_possible: Pairs of answers there are.
        judgements: The judge's completions.
        labelled: What the judge was held against.
    """

    chosen: Chosen
    entrants: Sequence[Entrant]
    specs: Sequence[str]
    comparisons: Sequence[Comparison]
    num_possible: int
    judgements: Artifact
    labelled: Labelled | None

    @property
    def artifacts(self) -> dict[str, Artifact]:
        """What it rests on, by what the report calls it."""
        named = {f"answers of {one.name}": one.artifact for one in self.entrants}
        named["judgements"] = self.judgements
        if self.labelled is not None:
            named["judgements of labelled pairs"] = self.labelled.artifact
        return named


@dataclass(frozen=True)
class Holding:
    """How an arena is held: with whose help, and where things go."""

    out: Path
    judge: Judge
    ask: Ask
    config: ArenaConfig
    on_progress: Listener

    def hold(self, chosen: Chosen, models: Mapping[str, str], gold: Gold | None) -> Held:
        """Ask everybody; what was asked before is not asked again.

        Raises:
            TooManyFailuresError: too many requests failed, or verdicts cannot be read.
            BudgetExceededError: the next call could cross the budget.
            DataError: too few prompts, or nothing to judge.
            ConfigError: `max_pairs` does not link the models.
        """
        # The judge first: that it does not answer in form is found out before the rest is paid for.
        labelled = self._labelled(gold) if gold is not None else None
        entrants = [self._entrant(name, spec, chosen.prompts) for name, spec in models.items()]
        pairings = self._plan(chosen.prompts, entrants)
        duels = duels_of(
            pairings, chosen.prompts, entrants, shows_reference=self.config.show_reference
        )
        _check_differ(duels, what="pairs")
        if labelled is None and 0 < self.config.trial_pairs < len(duels):
            self._try(duels)
        outcomes, judgements = self._judged(duels, _JUDGEMENTS, stage="judge")
        return Held(
            chosen=chosen,
            entrants=entrants,
            specs=[*models.values()],
            comparisons=[Comparison(*one) for one in zip(pairings, duels, outcomes, strict=True)],
            num_possible=_num_possible(entrants),
            judgements=judgements,
            labelled=labelled,
        )

    def _labelled(self, gold: Gold) -> Labelled:
        duels = gold_duels(gold.rows, shows_reference=self.config.show_reference)
        _check_differ(duels, what="labelled pairs")
        outcomes, artifact = self._judged(duels, _LABELLED, stage="judge, labelled pairs")
        return Labelled(gold, outcomes, artifact)

    def _entrant(self, name: str, spec: str, prompts: Sequence[Prompt]) -> Entrant:
        artifact = self.ask(
            prompts,
            self.out / _ANSWERS / name,
            teacher=spec,
            sampling=self.config.sampling,
            max_failure_fraction=self.config.max_failure_fraction,
            on_progress=named_progress(self.on_progress, f"answers of {name}", "answers"),
        )
        return read_entrant(name, artifact, prompts)

    def _plan(self, prompts: Sequence[Prompt], entrants: Sequence[Entrant]) -> list[Pairing]:
        pairings = plan_pairings(
            [entrant.answers.keys() for entrant in entrants],
            max_pairs=self.config.max_pairs,
            seed=self.config.seed,
        )
        check_enough([prompts[pairing.prompt] for pairing in pairings])
        return pairings

    def _try(self, duels: Sequence[Duel]) -> None:
        """Refuse a judge without verdicts after a few of the questions."""
        few = [duel for duel in duels if not duel.is_identical][: self.config.trial_pairs]
        limit = max(_TRIAL_UNREADABLE, self.config.max_unreadable_fraction)
        self._judged(few, _TRIAL, stage="judge, first pairs", max_unreadable=limit)

    def _judged(
        self, duels: Sequence[Duel], folder: str, *, stage: str, max_unreadable: float | None = None
    ) -> tuple[list[Outcome], Artifact]:
        template, config = self.judge.template, self.config
        try:
            artifact = self.ask(
                judge_prompts(duels, template),
                self.out / folder,
                teacher=self.judge.spec,
                sampling=config.judge_sampling,
                max_failure_fraction=config.max_failure_fraction,
                on_progress=named_progress(self.on_progress, stage, "verdicts"),
            )
        except BudgetExceededError as err:
            raise BudgetExceededError(
                f"{err} Or have fewer pairs judged (max_pairs): those that were come first."
            ) from err
        outcomes = read_outcomes(duels, template, artifact)
        limit = config.max_unreadable_fraction if max_unreadable is None else max_unreadable
        check_readable(outcomes, self.judge.spec, max_fraction=limit)
        return outcomes, artifact


def check_enough(prompts: Sequence[Prompt]) -> None:
    """Refuse to rank on too few prompts.

    Raises:
        DataError: they are of fewer than 10 groups.
    """
    num_groups = len({group_of(prompt) for prompt in prompts})
    if num_groups < _MIN_GROUPS:
        num_prompts = len({prompt.id for prompt in prompts})
        raise DataError(
            f"{num_prompts} prompts of {num_groups} groups rank no models: an interval over fewer "
            f"than {_MIN_GROUPS} groups means nothing. Give more; hundreds tell most models "
            "apart."
        )


def _check_differ(duels: Sequence[Duel], *, what: str) -> None:
    if all(duel.is_identical for duel in duels):
        raise DataError(
            f"In each of the {len(duels)} {what} both answers are the same text, so there is "
            "nothing to judge. Give answers that differ."
        )


def _num_possible(entrants: Sequence[Entrant]) -> int:
    return sum(
        len(one.answers.keys() & other.answers.keys()) for one, other in combinations(entrants, 2)
    )
