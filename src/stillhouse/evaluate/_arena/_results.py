"""What an arena found: the public schema of its `results.json`.

Measured quantities are `Estimate`s, as in an evaluation of students; what was not measured is None.
Ratings are in points: 400 of them are odds of ten to one, and the models' mean is 1000.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import orjson
from pydantic import AwareDatetime, Field, ValidationError, model_validator

from stillhouse.errors import IntegrityError
from stillhouse.evaluate._results import Estimate
from stillhouse.graders import OrderEffect, Winner
from stillhouse.records import Record, Usage

ARENA_SCHEMA_VERSION: Literal[1] = 1
MEAN_POINTS = 1000.0

Verdict = Literal["better", "non_inferior", "inconclusive", "worse"]
"""Of the first of two models against the second."""

Count = Annotated[int, Field(ge=0)]


class Standing(Record):
    """Where one model stands among all."""

    rating: Estimate
    """Points; the intervals of all models hold together with 95 % confidence."""
    rank: int = Field(ge=1)
    best_rank: int = Field(ge=1)
    """One more than the number of models that are better beyond doubt."""
    worst_rank: int = Field(ge=1)
    """The number of models that are not worse beyond doubt, itself among them."""


class ArenaModel(Record):
    """One model of the arena."""

    name: str = Field(min_length=1)
    teacher: str
    """Id of who answered."""
    answered_by: tuple[str, ...] = ()
    """What its answers say wrote them: a dated name, or that of a recorded model."""
    num_answers: Count
    num_missing: Count
    """Prompts that it gave no answer to."""
    num_cut: Count
    """Answers that ended at `max_tokens`."""
    answer_chars: Estimate
    win_rate: Estimate
    """Share of its pairs that it won, ties counted as half."""
    standing: Standing
    standing_equal_length: Standing | None
    """The same if all answers were as long; None where lengths hardly differ, or not at all."""
    usage: Usage
    """What its answers took."""


class Claim(Record):
    """What may be said of one model against another."""

    verdict: Verdict
    num_groups_needed: int | None = Field(default=None, ge=1)
    """Where it is inconclusive: groups of prompts that would settle it, if the difference is what
    it looks like; None where no number within reach would."""


class Contrast(Record):
    """Two models against each other, by the ratings of all."""

    difference: Estimate
    """Points of the first minus those of the second; the intervals of all pairs of models hold
    together with 95 % confidence."""
    claim: Claim
    """Of the first against the second."""
    reverse: Claim
    """Of the second against the first: a small student may be no worse than its teacher."""


class PairResult(Record):
    """Two models and the pairs of answers that were judged of them."""

    a: str
    b: str
    a_wins: Count
    b_wins: Count
    ties: Count
    """Ties called by the judge, verdicts that changed with the order, and identical answers."""
    num_identical: Count
    num_unreadable: Count
    """Pairs that count nowhere, for want of a verdict."""
    a_win_rate: Estimate | None
    """Ties counted as half; None where too few prompts were judged for an interval."""
    contrast: Contrast
    contrast_equal_length: Contrast | None

    @property
    def num_counted(self) -> int:
        """Pairs of answers behind the win rate."""
        return self.a_wins + self.b_wins + self.ties


class OrderEffects(Record):
    """What became of the verdicts when the answers changed places."""

    num_pairs: int = Field(ge=1)
    """Pairs that were judged in both orders."""
    position_bias: Estimate
    """Share in which the place decided: the same one won with either answer in it."""
    first_place: Estimate | None
    """Of these, the share in which it was the first place; None where there are none."""
    half_decided: Estimate
    """Share in which one order decided and the other called a tie."""


class Agreement(Record):
    """The judge's verdicts against others on the same pairs."""

    source: Literal["labels", "references"]
    """Pairs that people compared, or a grader that knows the right answers."""
    name: str
    """The file, or the grader."""
    num_pairs: int = Field(ge=1)
    num_unreadable: Count
    agreement: Estimate
    """Share of pairs with the same verdict, ties included."""
    kappa: Estimate | None
    """Agreement beyond chance (Cohen); None where either side says the same of every pair."""
    decided_agreement: Estimate | None
    """Share of the same winner where both name one; None where they never do."""
    counts: tuple[tuple[Count, Count, Count], ...]
    """Pairs by their verdict (rows: a, tie, b) and the judge's (columns: the same)."""


class JudgeResult(Record):
    """Who judged, and how far that is to be trusted."""

    teacher: str
    template: str
    """Name and version of the words in which it was asked."""
    template_sha256: str
    num_asked: Count
    problems: dict[str, Count]
    """Answers without a verdict, by reason."""
    order: OrderEffects
    agreements: tuple[Agreement, ...]
    """Empty: it was held against nobody."""
    usage: Usage


class ArenaExample(Record):
    """One pair of answers with what the judge said."""

    prompt_id: str
    prompt: str
    """The last user message."""
    a: str
    b: str
    a_text: str
    b_text: str
    winner: Winner | None
    order_effect: OrderEffect | None
    reason: str
    """The judge's words with `a` shown first."""


class ArenaResults(Record):
    """The content of an arena's `results.json`."""

    schema_version: Literal[1] = ARENA_SCHEMA_VERSION
    title: str = Field(min_length=1)
    verdict: str = Field(min_length=1)
    """One or two sentences that a reader can repeat."""
    warnings: tuple[str, ...] = ()
    """What a reader should know before believing the verdict."""
    models: tuple[ArenaModel, ...] = Field(min_length=2)
    """The highest rated first."""
    pairs: tuple[PairResult, ...] = Field(min_length=1)
    judge: JudgeResult
    long_answer_wins: Estimate | None
    """How often an answer wins over an equally good one of half its length; None as with
    `standing_equal_length`."""
    margin: float
    """A model is not inferior when it wins half of the pairs less this."""
    split: str
    """Where the prompts are from: `held_out`, `train` or `all`."""
    num_prompts: int = Field(ge=1)
    num_groups: int = Field(ge=1)
    """Groups that the prompts fall into, the independent pieces of evidence."""
    num_planned: int = Field(ge=1)
    """Pairs of answers that were to be judged."""
    num_possible: int = Field(ge=1)
    """Pairs of answers that there are."""
    examples: tuple[ArenaExample, ...] = ()
    example_rule: str
    created_utc: AwareDatetime
    seconds: float = Field(ge=0.0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        names = [model.name for model in self.models]
        if len(set(names)) != len(names):
            raise ValueError(f"models hold a name twice: {', '.join(sorted(names))}")
        used = {name for pair in self.pairs for name in (pair.a, pair.b)}
        used |= {name for example in self.examples for name in (example.a, example.b)}
        unknown = sorted(used - set(names))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not a model; models are {', '.join(names)}")
        return self

    def pair(self, a: str, b: str) -> PairResult | None:
        """The result of two models, in the order in which it was written."""
        return next((one for one in self.pairs if {one.a, one.b} == {a, b}), None)

    def to_bytes(self) -> bytes:
        """The bytes of `results.json`."""
        options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(self.model_dump(mode="json"), option=options)


def read_arena_results(path: Path) -> ArenaResults:
    """The results in the file `path`.

    Raises:
        IntegrityError: the file is missing, damaged, or of another schema version.
    """
    try:
        raw = path.read_bytes()
    except OSError as err:
        raise IntegrityError(
            f"{path} cannot be read ({err.strerror}). Give the results.json of an arena."
        ) from err
    try:
        return ArenaResults.model_validate_json(raw, strict=True)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "document"
        raise IntegrityError(
            f"{path}: {place}: {first['msg']}. This stillhouse reads schema_version "
            f"{ARENA_SCHEMA_VERSION} of an arena; hold it again."
        ) from err
