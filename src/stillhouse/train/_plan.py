"""Everything a training run needs, checked before anything is written or replaced."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError, DataError
from stillhouse.models import ModelFolder, output_head
from stillhouse.train._assemble import (
    make_guide,
    make_match,
    make_source,
    open_teachers,
    shared_ids,
)
from stillhouse.train._batches import Schedule
from stillhouse.train._black_box import weigh_prompts_alike
from stillhouse.train._config import TrainConfig
from stillhouse.train._diagnose import Diagnosis, make_diagnosis
from stillhouse.train._guides import Guide
from stillhouse.train._lessons import Lesson
from stillhouse.train._match import HiddenMatch
from stillhouse.train._preflight import run_checks
from stillhouse.train._rows import TrainingRow, training_rows
from stillhouse.train._sources import Companion, Source
from stillhouse.train._step import per_token_objective
from stillhouse.train._student import Student, load_base, make_student


@dataclass(frozen=True)
class Inputs:
    """The artefacts that a student is made from.

    Attributes:
        dataset: The text.
        signal: The teacher's distributions; None for an objective that does not read them.
        start: The student that this one goes on from; None where the base is no student of ours.
    """

    dataset: Artifact
    signal: Artifact | None
    start: Artifact | None = None

    @property
    def parents(self) -> list[Artifact]:
        """What the student's manifest names."""
        return [one for one in (self.dataset, self.signal, self.start) if one is not None]


@dataclass(frozen=True)
class Plan:
    """A run that can begin.

    Attributes:
        config: The settings.
        inputs: What it reads.
        student: What is trained, as it is before the first step.
        base: Where the student comes from.
        examples: What is learnt.
        num_given: Training examples, those that are too long included.
        schedule: Their order.
        source: Whose texts are learnt from.
        guide: What the student should predict on them.
        preflight: What was measured before the first step.
        num_ids: Ids that are learnt, where teachers that are live know fewer than the student.
        diagnosis: Measures the student while it learns; None for not.
        match: Brings its hidden states to a teacher's; None for not.
    """

    config: TrainConfig
    inputs: Inputs
    student: Student
    base: ModelFolder
    examples: list[EncodedExample]
    num_given: int
    schedule: Schedule
    source: Source
    guide: Guide
    preflight: dict[str, float]
    num_ids: int | None
    diagnosis: Diagnosis | None
    match: HiddenMatch | None

    @property
    def companions(self) -> tuple[Companion, ...]:
        """What goes on from step to step beside the student."""
        return tuple(
            one for one in (self.source, self.guide, self.match) if isinstance(one, Companion)
        )


def open_inputs(dataset: Path, signal: Path | None, config: TrainConfig) -> Inputs:
    """Open what the objective reads.

    Raises:
        ConfigError: it needs a signal and none is given, or a folder is of another kind.
        IntegrityError: one is not a sound artefact.
    """
    text, start = open_artifact(dataset, kind="dataset"), _earlier_student(config.base)
    if config.guide != "signal":
        return Inputs(dataset=text, signal=None, start=start)
    if signal is None:
        raise ConfigError(
            f"objective {config.objective} learns from a captured signal. "
            "Give --signal (what `stillhouse capture` made), or use objective sft."
        )
    return Inputs(dataset=text, signal=open_artifact(signal, kind="signal"), start=start)


def make_plan(config: TrainConfig, inputs: Inputs, base: ModelFolder, *, name: str) -> Plan:
    """Load the base, make the student of it and encode the examples.

    Raises:
        ConfigError: the settings do not fit the base, the objective or the length of the run.
        VocabularyMismatchError: the signal is of another teacher, tokenizer or template.
        IntegrityError: the signal is of another dataset.
        DataError: nothing is left to train on.
        PreflightError: what would be learnt is not what was asked for.
    """
    per_token_objective(config)  # refuses wrong parameters
    model = load_base(base, config)
    teachers = open_teachers(
        config, model.chat, num_student_ids=output_head(model.network).shape[0]
    )
    rows = list(training_rows(inputs.dataset, model.chat))
    readers = (model, *(teacher.model for teacher in teachers.values()))
    longest = min(config.max_tokens, *(reader.context_tokens for reader in readers))
    texts = _short_enough(rows, longest, config, inputs)
    if config.equal_prompts:
        texts = weigh_prompts_alike(texts)
    guide = make_guide(
        config,
        teachers,
        model.chat,
        dataset=inputs.dataset,
        signal=inputs.signal,
        groups=[text.group for text in texts],
        rows=rows,
    )
    checked = run_checks(config, inputs.dataset, inputs.signal, model, rows)
    checked.require()
    examples = [text.example for text in texts]
    student = make_student(model, config, examples, name=name)
    schedule = Schedule(
        lengths=[len(example.ids) for example in examples],
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=config.seed,
        batch_tokens=config.batch_tokens,
    )
    return Plan(
        config=config,
        inputs=inputs,
        student=student,
        base=base,
        examples=examples,
        num_given=len(rows),
        schedule=schedule,
        source=make_source(config, texts, student, teachers, schedule=schedule, longest=longest),
        guide=guide,
        preflight=checked.measured,
        num_ids=shared_ids(config, teachers),
        diagnosis=make_diagnosis(
            config,
            examples,
            student.model,
            {} if config.objective == "uld" else teachers,  # it reads in other tokens
            longest=longest,
        ),
        match=make_match(config, student, teachers),
    )


def _short_enough(
    rows: Sequence[TrainingRow], longest: int, config: TrainConfig, inputs: Inputs
) -> list[Lesson]:
    texts = [
        Lesson(row.encoded, group=row.example.group)
        for row in rows
        if len(row.encoded.ids) <= longest
    ]
    if not texts:
        raise DataError(
            f"{inputs.dataset.path} leaves no training example of at most {longest} tokens "
            f"({len(rows)} given; max_tokens={config.max_tokens}, the models read {longest} or "
            "more). Collect shorter completions, or raise max_tokens."
        )
    return texts


def _earlier_student(base: str) -> Artifact | None:
    """The artefact that a base is, if it is a student of ours."""
    folder = Path(base.removeprefix("local:"))
    if base == "local:" or not (folder / "manifest.json").is_file():
        return None
    artifact = open_artifact(folder)
    return artifact if artifact.manifest.kind == "student" else None
