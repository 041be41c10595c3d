"""Everything a training run needs, checked before anything is written or replaced."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from stillhouse.artifacts import Artifact, open_artifact
from stillhouse.chat import ChatTokenizer, EncodedExample
from stillhouse.errors import ConfigError, DataError
from stillhouse.losses import Objective
from stillhouse.models import ModelFolder
from stillhouse.records import Example
from stillhouse.signal import SignalReader, check_fingerprints
from stillhouse.train._batches import Schedule
from stillhouse.train._config import TrainConfig
from stillhouse.train._guides import CapturedSignal, Guide, own_tokens
from stillhouse.train._sources import Source, TeacherText
from stillhouse.train._student import Student, load_base, make_student


@dataclass(frozen=True)
class Inputs:
    """The artefacts that a student is made from.

    Attributes:
        dataset: The text.
        signal: The teacher's distributions; None for an objective that does not read them.
    """

    dataset: Artifact
    signal: Artifact | None

    @property
    def parents(self) -> list[Artifact]:
        """What the student's manifest names."""
        return [self.dataset, self.signal] if self.signal else [self.dataset]


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


def open_inputs(dataset: Path, signal: Path | None, config: TrainConfig) -> Inputs:
    """Open what the objective reads.

    Raises:
        ConfigError: it needs a signal and none is given, or a folder is of another kind.
        IntegrityError: one is not a sound artefact.
    """
    if config.guide != "signal":
        return Inputs(dataset=open_artifact(dataset, kind="dataset"), signal=None)
    if signal is None:
        raise ConfigError(
            f"objective {config.objective} learns from a captured signal. "
            "Give --signal (what `stillhouse capture` made), or use objective sft."
        )
    return Inputs(
        dataset=open_artifact(dataset, kind="dataset"), signal=open_artifact(signal, kind="signal")
    )


def make_plan(config: TrainConfig, inputs: Inputs, base: ModelFolder, *, name: str) -> Plan:
    """Load the base, make the student of it and encode the examples.

    Raises:
        ConfigError: what the student shall keep does not fit the base, or a parameter the
            objective.
        VocabularyMismatchError: the signal is of another teacher, tokenizer or template.
        IntegrityError: the signal is of another dataset.
        DataError: nothing is left to train on.
    """
    Objective(config.objective, **config.objective_parameters)  # refuses wrong parameters
    model = load_base(base, config)
    guide = _guide(inputs, model.chat)
    encoded = list(_encoded(inputs.dataset, model.chat))
    longest = min(config.max_tokens, model.context_tokens)
    examples = [example for example in encoded if len(example.ids) <= longest]
    if not examples:
        raise DataError(
            f"{inputs.dataset.path} leaves no training example of at most {longest} tokens "
            f"({len(encoded)} given; max_tokens={config.max_tokens}, the model reads "
            f"{model.context_tokens}). Collect shorter completions, or raise max_tokens."
        )
    return Plan(
        config=config,
        inputs=inputs,
        student=make_student(model, config, examples, name=name),
        base=base,
        examples=examples,
        num_given=len(encoded),
        schedule=Schedule(
            lengths=[len(example.ids) for example in examples],
            batch_size=config.batch_size,
            epochs=config.epochs,
            seed=config.seed,
        ),
        source=TeacherText(examples),
        guide=guide,
    )


def _guide(inputs: Inputs, chat: ChatTokenizer) -> Guide:
    if inputs.signal is None:
        return own_tokens
    check_fingerprints(
        inputs.signal,
        dataset=inputs.dataset,
        vocabulary_sha256=chat.vocabulary_sha256,
        template_sha256=chat.template_sha256,
    )
    return CapturedSignal(SignalReader(inputs.signal))


def _encoded(dataset: Artifact, chat: ChatTokenizer) -> Iterator[EncodedExample]:
    """Training examples; the teacher's own tokens count only under its own tokenizer."""
    tokenizer = dataset.manifest.tokenizer
    is_same = tokenizer is not None and tokenizer.sha256 == chat.vocabulary_sha256
    for row in dataset.rows("examples", Example):
        if row.split == "train":
            ids = row.completion_token_ids if is_same else None
            yield chat.encode_example(row.messages, row.completion, ids)
