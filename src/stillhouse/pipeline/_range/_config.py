"""The settings of a range: fields, what owners do, what copiers do."""

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stillhouse.records import Record
from stillhouse.traffic import look_share
from stillhouse.train import TrainConfig
from stillhouse.watermark import Profile, SchemeName

_NO_HASH = "0" * 64


class MarkConfig(Record):
    """A watermark in all answers; the key is made for the range."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    scheme: SchemeName = "gumbel"
    """What marks; docs/watermark.md."""
    context_width: int = Field(default=2, ge=1, le=64)
    """How many tokens before a token choose its numbers: the fewer, the more a student takes over,
    and the sooner somebody who asks much could learn the rule."""
    parameters: dict[str, float] = Field(default_factory=dict)
    """Of the scheme, such as `delta`; those left out have their defaults."""

    @model_validator(mode="after")
    def _there_is_such_a_profile(self) -> Self:
        try:
            self.profile(tokenizer_sha256=_NO_HASH, key_id=_NO_HASH)
        except ValidationError as err:
            reason = err.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"there is no such mark: {reason}") from err
        return self

    def profile(self, *, tokenizer_sha256: str, key_id: str) -> Profile:
        """What it marks with."""
        return Profile.model_validate(
            {**self.model_dump(), "tokenizer_sha256": tokenizer_sha256, "key_id": key_id}
        )


class LimitConfig(Record):
    """So many requests a day, and perhaps a monitor that cuts off who asks as extraction does."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    per_day: int = Field(default=20, ge=1)
    """Requests of an account in a day of UTC; further ones are refused."""
    days: int = Field(default=7, ge=1, le=14)
    """How long the copier has. Honest accounts are simulated over 14 days."""
    watch: bool = False
    """Whether the traffic is watched (docs/traffic.md), and an account that is flagged is cut off
    for good."""
    level: float = Field(default=0.01, gt=0.0, lt=1.0)
    """Chance that a benign account is ever flagged. It takes a reference of more than 5.6 / level
    accounts to flag anybody."""


class DefenceConfig(Record):
    """What the owner does, one thing or several; nothing set is no defence."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    mark: MarkConfig | None = None
    """Mark all answers; null does not."""
    hide_logprobs: bool = False
    """Show no log-probabilities to anybody."""
    hide_reasoning: bool = False
    """Show of an answer only what comes after the field's separator, and no log-probabilities."""
    limit: LimitConfig | None = None
    """Answer only so many requests; null sets no limit."""


class AttackConfig(Record):
    """What the copier does."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    reads: Literal["text", "logprobs"] = "text"
    """What the student learns from: answers (objective sft), or the log-probabilities that are
    shown with them (forward KL). Where these are hidden it learns from the answers."""
    mixing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of the lessons that the field's `editor`, a model without a mark, answered instead."""
    paraphrase: bool = False
    """Whether the `editor` rewrites every answer before the student reads it."""
    accounts: int = Field(default=1, ge=1, le=1_000)
    """Over which the requests are spread."""

    @model_validator(mode="after")
    def _has_logprobs_of_what_it_reads(self) -> Self:
        if self.reads == "logprobs" and (self.mixing or self.paraphrase):
            raise ValueError(
                "rewritten or mixed answers have no log-probabilities of the teacher; set reads to "
                "text, or leave mixing and paraphrase out"
            )
        return self


class AdditionsConfig(Record):
    """Sums of two numbers, worked out digit by digit: a task with steps that are right or wrong.

    The teacher is made here: the student's base learns worked sums, and then has something to sell.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    digits: int = Field(default=3, ge=1, le=12)
    """Of both numbers."""
    examples: int = Field(default=1_200, ge=1)
    """Worked sums that the teacher learns; no copier sees them."""
    train: TrainConfig = TrainConfig(objective="sft", epochs=1.0, learning_rate=2e-4)
    """How it learns."""


class FieldConfig(Record):
    """A kind of work that a teacher sells: prompts, who answers, and what a copier starts from."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    prompts: str | None = None
    """File of prompts (JSONL, CSV, Parquet or a YAML recipe) with both splits, relative to the
    config. Where held-out prompts have a `reference`, students are judged by right answers, else
    by closeness to the teacher. Null takes the prompts that come with the package."""
    additions: AdditionsConfig | None = None
    """Sums instead of prompts, for a teacher that is made here; null takes the prompts."""
    teacher: str = "local:"
    """Whose answers are copied: `local:` is the embedded model, `local:FOLDER` any. Not used with
    `additions`."""
    editor: str = "local:"
    """The model without a mark that the copier has for paraphrasing and mixing."""
    num_prompts: int = Field(default=300, ge=2)
    """That a copier without limits asks."""
    num_held_out: int = Field(default=60, ge=2)
    """That students are measured on."""
    max_tokens: int = Field(default=64, ge=2)
    """Of an answer."""
    temperature: float = Field(default=1.0, ge=0.0, le=5.0)
    """Of answers. At 0 most marks do nothing."""
    top_logprobs: int = Field(default=20, ge=1, le=4_096)
    """Log-probabilities that are shown with each token."""
    separator: str | None = None
    """What comes before the final answer; what is before it is the reasoning. Null where answers
    have none. With `additions` it is `Answer: `."""
    train: TrainConfig = TrainConfig(objective="sft")
    """How students are made; the objective follows from what is read."""
    defences: tuple[str, ...] | None = None
    """Names of defences to try here; null tries all that apply."""
    attacks: tuple[str, ...] | None = None
    """Names of attacks to try here; null tries all."""

    @model_validator(mode="after")
    def _is_one_kind_of_work(self) -> Self:
        if self.additions is not None and self.prompts is not None:
            raise ValueError("additions and prompts are both given; leave one out")
        if self.additions is not None and self.separator is not None:
            raise ValueError("additions have a separator of their own; leave separator out")
        return self


class RangeConfig(BaseModel):
    """Attacks against defences."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    title: str = Field(default="The range", min_length=1)
    """What the page is called."""
    fields: dict[str, FieldConfig] = Field(min_length=1)
    """Kinds of work, by name."""
    defences: dict[str, DefenceConfig] = Field(min_length=1)
    """What owners do, by name. One that sets nothing must be among those of each field: its student
    that learnt text is the owner's reference, as the owner could make it."""
    attacks: dict[str, AttackConfig] = Field(min_length=1)
    """What copiers do, by name; one must read plain text."""
    honest_accounts: int = Field(default=400, ge=10)
    """Simulated accounts that pay the price of a limit."""
    reference_accounts: int = Field(default=800, ge=50)
    """Simulated accounts that tell the monitor what is usual."""
    reference_requests: int = Field(default=100, ge=20)
    """Of each of those."""
    max_contexts: int = Field(default=8_000, ge=1)
    """Contexts of marked text that a suspect is tested on."""
    decoys: int = Field(default=50, ge=0, le=10_000)
    """Keys that nobody used, under which each test must find nothing."""
    level: float = Field(default=1e-3, gt=0.0, lt=1.0)
    """P-value from which on a copy counts as found."""
    seed: int = 0
    """Of everything but the keys, which are random."""
    terms: str | None = Field(default=None, exclude=True)
    """File that declares what the students are for (docs/terms.md), relative to the config; null
    takes the one that the environment variable STILLHOUSE_TERMS names. The default range brings its
    own."""

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        for name, field in self.fields.items():
            _check_name(name)
            for kind, given, known in (
                ("defence", field.defences, self.defences),
                ("attack", field.attacks, self.attacks),
            ):
                if strange := [one for one in given or () if one not in known]:
                    raise ValueError(
                        f"field {name!r} names the {kind} {strange[0]!r}; there are "
                        f"{', '.join(list(known)[:10])}"
                    )
        return self

    @model_validator(mode="after")
    def _monitors_can_flag(self) -> Self:
        for name, defence in self.defences.items():
            limit = defence.limit
            if limit is None or not limit.watch:
                continue
            needed = math.ceil(1 / (look_share(1) * limit.level)) - 1
            if self.reference_accounts < needed:
                raise ValueError(
                    f"the monitor of {name!r} flags nobody at level {limit.level:g} beside "
                    f"{self.reference_accounts} reference_accounts; take {needed} or more, or a "
                    "higher level"
                )
        return self

    @model_validator(mode="after")
    def _has_something_to_compare_with(self) -> Self:
        for name in self.fields:
            if not any(one == DefenceConfig() for one in self.defences_of(name).values()):
                raise ValueError(
                    f"field {name!r} has no defence that does nothing, and nothing to compare "
                    "others with; add one such as 'none: {}'"
                )
            if AttackConfig() not in self.attacks_of(name).values():
                raise ValueError(
                    f"field {name!r} has no attack that reads plain text; add one such as "
                    "'text: {}'"
                )
        return self

    def defences_of(self, field: str) -> dict[str, DefenceConfig]:
        """Those that are tried in a field: named there, or all that make sense."""
        settings = self.fields[field]
        has_steps = settings.separator is not None or settings.additions is not None
        chosen = settings.defences or tuple(
            name for name, one in self.defences.items() if has_steps or not one.hide_reasoning
        )
        return {name: one for name, one in self.defences.items() if name in chosen}

    def attacks_of(self, field: str) -> dict[str, AttackConfig]:
        """Those that are tried in a field."""
        chosen = self.fields[field].attacks or tuple(self.attacks)
        return {name: one for name, one in self.attacks.items() if name in chosen}

    def pairs(self, field: str) -> list[tuple[str, str]]:
        """Defence and attack, where the attack's countermeasure has something to counter."""
        return [
            (defence, attack)
            for defence, ours in self.defences_of(field).items()
            for attack, theirs in self.attacks_of(field).items()
            if _counters(theirs, ours)
        ]


def _counters(attack: AttackConfig, defence: DefenceConfig) -> bool:
    """Rewriting counters marks, and many accounts counter limits; elsewhere they only cost."""
    if (attack.mixing or attack.paraphrase) and defence.mark is None:
        return False
    return attack.accounts == 1 or defence.limit is not None


def _check_name(name: str) -> None:
    # It becomes a folder.
    if not name or len(name) > 40 or not all(char.isalnum() or char in "_-" for char in name):
        raise ValueError(f"a field cannot be called {name!r}; take letters, digits, '_' and '-'")
