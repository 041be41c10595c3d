"""How an arena is held."""

from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Record, Sampling


class ArenaConfig(Record):
    """How models are compared by a judge."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    sampling: Sampling = Sampling(max_tokens=1024)
    """How the models answer."""
    split: Literal["auto", "held_out", "train", "all"] = "auto"
    """Which prompts are asked. `auto` takes the held-out ones where any are marked, else all: on
    what it was trained on, a student looks better than it is."""
    max_prompts: int | None = Field(default=None, ge=1)
    """Ask the first so many of them; null asks all."""
    max_pairs: int | None = Field(default=None, ge=1)
    """Judge so many pairs of answers, spread evenly over models and prompts; null judges all. A
    smaller number judges a part of what a larger one does, so nothing is asked again."""
    trial_pairs: int = Field(default=16, ge=0)
    """Pairs that are judged first, where there are no labelled ones, to find out for little that a
    judge gives no verdicts; 0 judges all at once, as a batch API would have it."""
    judge_sampling: Sampling = Sampling(temperature=0.0, max_tokens=1024)
    """How the judge answers; its reasons and its verdict need room."""
    judge_template: str | None = None
    """YAML file with the words in which the judge is asked; null takes those of stillhouse."""
    show_reference: bool = True
    """Whether the judge sees the reference of a prompt that has one."""
    reference_grader: Literal["text", "tokens", "edit", "exact", "numeric"] | None = None
    """Grader that the judge is held against on prompts with a reference: of two answers, it prefers
    the one with the higher score. Null holds it against none."""
    max_failure_fraction: float = Field(default=0.05, ge=0.0, le=1.0)
    """The arena fails when a larger part of a model's or the judge's requests failed."""
    max_unreadable_fraction: float = Field(default=0.05, ge=0.0, le=1.0)
    """The arena fails when a larger part of the judge's answers holds no verdict."""
    margin: float = Field(default=0.05, gt=0.0, lt=0.5)
    """A model is not inferior to another when it wins at least half of the pairs less this."""
    num_resamples: int = Field(default=2_000, ge=100)
    """Bootstrap resamples behind intervals that are bootstrapped."""
    num_examples: int = Field(default=6, ge=0)
    """Pairs of answers that the report shows with the judge's reasons."""
    seed: int = 0
    """Of the order in which pairs are judged, and of the bootstrap."""
