"""Student artefacts, and the models that they came from, as systems that answer.

A system is opened when its turn comes and let go after it: two language models need not fit into
memory together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from stillhouse.answers import ClassifierAnswerer, language_model_answerer, require_same_labels
from stillhouse.artifacts import Artifact
from stillhouse.classifiers import load_classifier
from stillhouse.errors import ConfigError, DataError
from stillhouse.evaluate._task._config import TaskEvaluateConfig
from stillhouse.evaluate._task._records import SystemRole, Validation
from stillhouse.evaluate._task._systems._answers import System, SystemFacts
from stillhouse.evaluate._task._systems._base import nearest_name, untuned_model
from stillhouse.models import LanguageModel, load_model
from stillhouse.provenance import lineage
from stillhouse.tasks import Task

UNTUNED = "untuned base"

_NOT_WEIGHTS = ("metrics.jsonl", "adapter/")
_MAX_TOKENS = 256


@dataclass(frozen=True)
class Workshop:
    """Opens systems of one task.

    Attributes:
        task: The task.
        dataset: What students were fitted on.
        config: How they are judged.
    """

    task: Task
    dataset: Artifact
    config: TaskEvaluateConfig

    def student(self, name: str, artifact: Artifact) -> System:
        """A student.

        Raises:
            ConfigError: it was fitted for other labels.
            IntegrityError: its files are damaged.
            MissingDependencyError: it needs a package that is not installed.
        """
        opened = self._classifier if is_classifier(artifact) else self._language_model
        return opened(name, artifact)

    def base(self, name: str, artifact: Artifact) -> System | None:
        """What `artifact` was before its training; None where it was nothing.

        Raises:
            IntegrityError: the model that it was made from has changed.
        """
        if is_classifier(artifact):
            return self._untuned_encoder(name, artifact)
        model = untuned_model(artifact)
        return None if model is None else self._of_model(name, "base", model)

    def _classifier(self, name: str, artifact: Artifact) -> System:
        classifier = load_classifier(artifact.path)
        require_same_labels(name, classifier, self.task)
        facts = SystemFacts(
            name=name,
            role="student",
            answered_by="classifier",
            kind=classifier.kind,
            num_threads=1,  # whatever its kind: a message is too short to share out
            num_parameters=classifier.num_parameters,
            num_bytes=_num_bytes(artifact),
            training_seconds=artifact.manifest.usage.seconds,
            validation=_validation(artifact.manifest.results),
        )
        return System(facts, ClassifierAnswerer(self.task, classifier))

    def _language_model(self, name: str, artifact: Artifact) -> System:
        system = self._of_model(name, "student", load_model(artifact.path))
        facts = replace(
            system.facts,
            num_bytes=_num_bytes(artifact),
            training_seconds=artifact.manifest.usage.seconds,
            validation=_validation(artifact.manifest.results),
        )
        return System(facts, system.answerer)

    def _untuned_encoder(self, name: str, artifact: Artifact) -> System | None:
        classifier = load_classifier(artifact.path)
        if classifier.kind == "ngram" or self.task.multiple:
            return None
        embed, num_parameters = _open_encoder(self.task, base_of(artifact))
        facts = SystemFacts(
            name=name,
            role="base",
            answered_by="names",
            kind="embedding",
            num_parameters=num_parameters,
            is_timed=False,
        )
        return System(facts, nearest_name(self.task, embed))

    def _of_model(self, name: str, role: SystemRole, model: LanguageModel) -> System:
        answerer, answered_by = language_model_answerer(
            self.task,
            model,
            max_tokens=self._max_tokens,
            is_held=self.config.constrain,
            is_trained=role == "student",
        )
        facts = SystemFacts(
            name=name,
            role=role,
            answered_by=answered_by,
            kind="language model",
            num_threads=_torch_threads(),
            num_parameters=model.num_parameters,
            is_probability=self.task.kind != "text",
            is_timed=role == "student",
        )
        return System(facts, answerer)

    @property
    def _max_tokens(self) -> int:
        sampling = self.dataset.manifest.sampling
        return self.config.max_tokens or (sampling.max_tokens if sampling else _MAX_TOKENS)


def is_classifier(artifact: Artifact) -> bool:
    """Whether a student answers with labels by a head, not by writing."""
    return artifact.manifest.kind == "classifier"


def base_of(artifact: Artifact) -> str:
    """What names the model that a student began from; equal where two began from one."""
    config = artifact.manifest.config
    if not is_classifier(artifact):
        return f"{config['base']}"
    return f"{config.get(config['student'], {}).get('base', '')}"


def require_students(students: Mapping[str, Artifact], dataset: Artifact, task: Task) -> None:
    """Refuse artefacts that cannot be judged on this dataset.

    Raises:
        ConfigError: there is none, one is no student, or one cannot answer this kind of task.
        DataError: one was made from another dataset.
    """
    if not students:
        raise ConfigError("There is no student to judge. Give at least one, as NAME=FOLDER.")
    for name, artifact in students.items():
        kind = artifact.manifest.kind
        if kind not in ("classifier", "student"):
            raise ConfigError(
                f"{artifact.path} is a {kind} artefact. Give a student that fit or train made."
            )
        if is_classifier(artifact) and task.kind != "classification":
            raise ConfigError(
                f"The student {name!r} answers with labels, and task {task.name!r} is of kind "
                f"{task.kind!r}. Give a student that stillhouse train made."
            )
        nodes = lineage(artifact.path).nodes
        if all(node.manifest_sha256 != dataset.manifest_sha256 for node in nodes):
            made_from = [node.path for node in nodes if node.manifest.kind == "dataset"]
            shown = ", ".join(str(path) for path in made_from) or "none"
            raise DataError(
                f"The student {name!r} was not fitted on {dataset.path} but on {shown}: what is "
                "held out here may have been in its training. Give the dataset that it was fitted "
                "on, or fit it on this one."
            )


def _open_encoder(task: Task, base: str) -> tuple[Any, int]:
    """An untrained encoder's states of texts, and its size."""
    import numpy as np

    from stillhouse.classifiers import EmbeddingConfig, fit_embedding

    # A classifier is how an encoder is opened; its head, of the names alone, is not used.
    config = EmbeddingConfig(base=base, precision="float32", l2=1.0)
    opened = fit_embedding(task.labels, np.eye(len(task.labels)), labels=task.labels, config=config)
    return opened.encoder.states, opened.encoder.num_parameters


def _validation(results: Mapping[str, Any]) -> Validation | None:
    """What the manifest of a fitted student says of rows that it did not learn from."""
    found = results.get("validation")
    if found is None:
        return None
    return Validation(
        agreement=found["agreement"], low=found["low"], high=found["high"], n=found["rows"]
    )


def _num_bytes(artifact: Artifact) -> int:
    return sum(
        entry.bytes
        for entry in artifact.manifest.files
        if entry.rows is None and not entry.name.startswith(_NOT_WEIGHTS)
    )


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()
