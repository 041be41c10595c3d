"""Make the student that a run begins with."""

from collections.abc import Sequence
from dataclasses import dataclass

from stillhouse.chat import EncodedExample
from stillhouse.models import (
    Adapter,
    KeptSizes,
    LanguageModel,
    ModelFolder,
    StudentStart,
    begin_student,
    choose_start,
    load_model,
    output_head,
    random_start,
)
from stillhouse.train._config import TrainConfig


@dataclass(frozen=True)
class Student:
    """What is trained.

    Attributes:
        model: The whole of it.
        start: How it began.
        adapter: What alone is trained; None where all weights are.
    """

    model: LanguageModel
    start: StudentStart
    adapter: Adapter | None


def load_base(base: ModelFolder, config: TrainConfig) -> LanguageModel:
    """What the student is made of: only a shape and a tokenizer if its weights are random."""
    return load_model(base.path, is_blank=config.init == "random")


def base_revision(base: ModelFolder, config: TrainConfig) -> str | None:
    """What identifies as much of the base as the student takes over."""
    return base.shape_revision if config.init == "random" else base.revision


def make_student(
    base: LanguageModel, config: TrainConfig, examples: Sequence[EncodedExample], *, name: str
) -> Student:
    """The student before training.

    Args:
        base: From `load_base`.
        config: What it keeps, and what of it is trained.
        examples: What it will learn; importance is measured on some of them.
        name: What to call it.

    Raises:
        ConfigError: the settings do not fit the base, or the losses cannot use its head.
        MissingDependencyError: LoRA is asked for and peft is not installed.
    """
    output_head(base.network)
    start = _start(base, config, examples)
    model = begin_student(base, start, name=name)
    if config.lora is None:
        return Student(model, start, None)
    adapter = Adapter(
        model.network,
        rank=config.lora.rank,
        alpha=config.lora.alpha,
        targets=config.lora.targets,
        seed=config.seed,
    )
    return Student(model, start, adapter)


def _start(
    base: LanguageModel, config: TrainConfig, examples: Sequence[EncodedExample]
) -> StudentStart:
    prune = config.prune
    sizes = KeptSizes(layers=config.keep_layers)
    if prune is not None:
        sizes = KeptSizes(prune.layers, prune.heads, prune.mlp, prune.hidden)
    if config.init == "random":
        return random_start(base, sizes, seed=config.seed)
    if prune is None:
        return choose_start(base, sizes, ())
    num_texts = min(prune.texts, len(examples))
    # Spread over the dataset, which may be sorted by task.
    texts = [examples[index * len(examples) // num_texts] for index in range(num_texts)]
    return choose_start(base, sizes, texts, layers_by=prune.importance)
