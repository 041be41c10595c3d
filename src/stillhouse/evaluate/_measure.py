"""Teacher and students, each scored, asked and timed on the same held-out prompts."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from stillhouse.artifacts import Artifact
from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.evaluate._config import EvaluateConfig
from stillhouse.evaluate._estimates import Measured
from stillhouse.evaluate._results import ModelRole, OwnTextKl
from stillhouse.evaluate._score import TeacherScorer
from stillhouse.evaluate._speed import measure_speed
from stillhouse.evaluate._texts import write_texts
from stillhouse.models import (
    LanguageModel,
    StudentStart,
    begin_student,
    load_model,
    locate_model,
)
from stillhouse.records import Example, Sampling
from stillhouse.runlog import Ticker

TEACHER = "teacher"
UNTRAINED = "student untrained"
_UNTRAINED_TEXTS = 24  # an untrained student never ends a turn: few of its texts tell enough


@dataclass(frozen=True)
class HeldOut:
    """The prompts that everything is measured on.

    Attributes:
        examples: In the order of the prompts file.
        groups: What each belongs to; the bootstrap draws these as wholes.
    """

    examples: list[Example]
    groups: list[str]

    @classmethod
    def of(cls, dataset: Artifact, max_prompts: int | None) -> "HeldOut":
        """The held-out rows of a dataset.

        Raises:
            ConfigError: they are of fewer than two groups, which no interval can come from.
        """
        rows = dataset.rows("examples", Example)
        examples = [row for row in rows if row.split == "held_out"][:max_prompts]
        groups = [example.group or example.prompt_id for example in examples]
        if len(set(groups)) < 2:
            raise ConfigError(
                f"{dataset.path} holds {len(examples)} held-out examples of fewer than two "
                "groups. Mark prompts with split: held_out (a recipe does it with num_held_out)."
            )
        return cls(examples, groups)

    def spread(self, wanted: int) -> list[int]:
        """Indices of `wanted` examples (or all), each group's first before any group's second."""
        seen: Counter[str] = Counter()
        ranks = []
        for group in self.groups:
            ranks.append(seen[group])
            seen[group] += 1
        order = sorted(range(len(ranks)), key=lambda index: (ranks[index], index))
        return sorted(order[:wanted])


class _Contestant(NamedTuple):
    name: str
    role: ModelRole
    objective: str | None
    num_steps: int | None
    model: LanguageModel
    own_text_kl: OwnTextKl | None = None


def measure(
    teacher: LanguageModel,
    students: Mapping[str, Artifact],
    held_out: HeldOut,
    *,
    sampling: Sampling,
    config: EvaluateConfig,
    ticker: Ticker,
) -> list[Measured]:
    """The teacher, then the students in order, then the first of them before training.

    Raises:
        VocabularyMismatchError: a student has another tokenizer or template.
        IntegrityError: the model that the first student was made from has changed.
    """
    encoded = [
        teacher.chat.encode_example(row.messages, row.completion, row.completion_token_ids)
        for row in held_out.examples
    ]
    scorer = TeacherScorer(teacher, encoded)
    # The teacher's texts are the dataset itself: it was asked under the same sampling.
    texts = [example.completion for example in held_out.examples]
    scores = scorer.score(teacher)
    measured = [Measured(TEACHER, "teacher", None, None, teacher, scores, texts, 0, None)]
    ticker.advance()
    for contestant in _contestants(teacher, students):
        measured.append(_measure_one(contestant, scorer, held_out, sampling))
        ticker.advance()
    measured = _with_speed(measured, encoded, config)
    ticker.advance()
    return measured


def _measure_one(
    contestant: _Contestant, scorer: TeacherScorer, held_out: HeldOut, sampling: Sampling
) -> Measured:
    name, role, objective, num_steps, model, own_text_kl = contestant
    scores = scorer.score(model)
    num_asked = _UNTRAINED_TEXTS if role == "untrained" else len(held_out.examples)
    asked = held_out.spread(num_asked)
    written = write_texts(model, [held_out.examples[index] for index in asked], sampling)
    texts: list[str | None] = [None] * len(held_out.examples)
    for index, text in zip(asked, written.texts, strict=True):
        texts[index] = text
    return Measured(
        name,
        role,
        objective,
        num_steps,
        model,
        scores,
        texts,
        written.num_tokens,
        speed=None,
        own_text_kl=own_text_kl,
    )


def _contestants(teacher: LanguageModel, students: Mapping[str, Artifact]) -> Iterator[_Contestant]:
    for name, artifact in students.items():
        objective = str(artifact.manifest.config["objective"])
        num_steps = int(artifact.manifest.results["steps"])
        model = load_model(artifact.path)
        own_text_kl = _own_text_kl(artifact.manifest.results)
        yield _Contestant(name, "student", objective, num_steps, model, own_text_kl)
    first = next(iter(students.values()))
    yield _Contestant(UNTRAINED, "untrained", None, None, _before_training(teacher, first))


def _own_text_kl(results: Mapping[str, Any]) -> OwnTextKl | None:
    """What a training with `diagnose` left in its manifest."""
    if "diagnosis_after" not in results:
        return None
    name = "rollout_forward_kl_nats"
    return OwnTextKl(
        before_nats=results["diagnosis_before"][name], after_nats=results["diagnosis_after"][name]
    )


def _before_training(teacher: LanguageModel, student: Artifact) -> LanguageModel:
    config = student.manifest.config
    start = StudentStart.read(student.path)
    is_random = start.random_seed is not None
    if not is_random and config["base_revision"] == teacher.revision:
        return begin_student(teacher, start, name=UNTRAINED)
    folder = locate_model(config["base"].removeprefix("local:"))
    if config["base_revision"] != (folder.shape_revision if is_random else folder.revision):
        raise IntegrityError(
            f"{student.path} was made from {config['base']!r}, whose "
            f"{'shape has' if is_random else 'weights have'} changed since: "
            "the untrained student cannot be measured. Restore them, or train again."
        )
    base = load_model(folder.path, is_blank=is_random)
    return begin_student(base, start, name=UNTRAINED)


def _with_speed(
    measured: list[Measured], encoded: Sequence[EncodedExample], config: EvaluateConfig
) -> list[Measured]:
    if not config.speed_prompts:
        return measured
    # Students of one run share an architecture: the first stands for all.
    timed = measured[:2]
    prompts = [row.ids[: row.num_prompt] for row in encoded[: config.speed_prompts]]
    left = min(one.model.context_tokens for one in timed) - max(len(prompt) for prompt in prompts)
    speeds = measure_speed([one.model for one in timed], prompts, min(config.speed_tokens, left))
    with_speed = [replace(one, speed=speed) for one, speed in zip(timed, speeds, strict=True)]
    return [*with_speed, *measured[2:]]
