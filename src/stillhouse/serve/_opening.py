"""From a certified cascade's folder to what answers: its student, its teacher and its shadow."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.artifacts import open_artifact
from stillhouse.cascade import Cascade, CascadeRule, WatchStatus, open_cascade
from stillhouse.errors import ConfigError
from stillhouse.graders import Grader, agreement_grader
from stillhouse.serve._ask import Engine
from stillhouse.serve._config import ServeConfig
from stillhouse.serve._drafts import Student
from stillhouse.serve._files import LoadedFiles
from stillhouse.serve._teacher import TeacherEngine, TeacherSource, open_source
from stillhouse.serve._teacher_config import CascadeConfig, TeacherConfig
from stillhouse.tasks import task_of

if TYPE_CHECKING:
    from stillhouse.serve._shadow import Shadow

_MAX_TOKENS = 256  # of a written answer, as certify has it where nothing says otherwise
_STAND_IN_FRACTION = 0.8  # of the deadline; the rest is for the student's answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a cascade lies that is a copy, as a release is.

    Attributes:
        name: What its model is called.
        student: Where its student lies; None for where it was certified.
        on_fallen: Told when its watch falls back.
        source: The teacher, where others use it too; they close it.
    """

    name: str | None = None
    student: Path | None = None
    on_fallen: Callable[[WatchStatus], None] | None = None
    source: TeacherSource | None = None


def open_cascade_engine(
    folder: Path, config: ServeConfig, how: CascadeConfig, placed: Placed | None = None
) -> Engine:
    """What answers for a cascade.

    Raises:
        ConfigError: the teacher cannot be asked, or the shadow is of another task.
        IntegrityError: the files are damaged, or the student is another one.
        MissingDependencyError: torch or an encoder's packages are not installed.
    """
    from stillhouse.serve._cascade import CascadeEngine

    placed = placed or Placed()
    cascade = open_cascade(folder, student=placed.student)
    files = LoadedFiles.of(folder, cascade.student.path)
    grader = agreement_grader(cascade.task)  # before anything is loaded
    name = placed.name or cascade.student.path.resolve().name
    student = _student(cascade, name)
    shadow = None
    if how.shadow is not None:
        shadow = _shadow(how.shadow, cascade, grader, lambda: student.num_running > 0)
    engine = CascadeEngine(
        cascade,
        student,
        _teacher(folder, cascade, config, how.teacher, placed.source),
        memory=how.memory or beside(folder, "watch.json"),
        stand_in_s=config.deadline_s * _STAND_IN_FRACTION if how.stands_in else None,
        shadow=shadow,
        on_fallen=placed.on_fallen,
    )
    engine.files = files
    return engine


def beside(folder: Path, ending: str) -> Path:
    """A file beside a folder that is named after it."""
    return folder.with_name(f"{folder.resolve().name}.{ending}")


def _teacher(
    folder: Path,
    cascade: Cascade,
    config: ServeConfig,
    teacher: TeacherConfig,
    source: TeacherSource | None,
) -> Engine:
    if teacher.is_direct:
        from stillhouse.serve._upstream import upstream_at

        return upstream_at(teacher.spec, config)
    is_owner = source is None
    if source is None:
        ledger = beside(folder, "ledger.sqlite")
        source = open_source(teacher, ledger=ledger, deadline_s=config.deadline_s)
    return TeacherEngine(
        source,
        labels=cascade.task.labels,
        max_tokens=config.max_tokens,
        reuses=teacher.reuses,
        is_owner=is_owner,
    )


def _student(cascade: Cascade, name: str) -> Student:
    if cascade.student.manifest.kind == "classifier":
        from stillhouse.classifiers import load_classifier
        from stillhouse.serve._labels import LabelEngine

        return LabelEngine(
            load_classifier(cascade.student.path), cascade.task, name=name, novelty=cascade.novelty
        )
    return _writing(cascade, name)


def _writing(cascade: Cascade, name: str) -> Student:
    """A language model that answers as certify had it answer."""
    from stillhouse.answers import language_model_answerer
    from stillhouse.models import load_owned_model
    from stillhouse.serve._writing import WritingStudent

    made, sampling = cascade.artifact.manifest.config, cascade.artifact.manifest.sampling
    if made.get("grades_sha256") is not None:
        raise ConfigError(
            f"{cascade.artifact.path} was certified by grades of a student that somebody else ran, "
            "so that its confidence is not known here. Certify it without --grades, or route with "
            "stillhouse.cascade in your own program."
        )
    model = load_owned_model(cascade.student.path)
    answerer, held = language_model_answerer(
        cascade.task,
        model,
        max_tokens=made["max_tokens"] or (sampling.max_tokens if sampling else _MAX_TOKENS),
        is_held=made["constrain"],
    )
    return WritingStudent(
        answerer,
        cascade.task,
        name=name,
        novelty=cascade.novelty,
        count_tokens=lambda text: len(model.chat.encode_pieces([text])[0]),
        writes_json=held == "json",
    )


def _shadow(
    folder: Path, live: Cascade, grader: Grader, is_live_busy: Callable[[], bool]
) -> "Shadow":
    from stillhouse.serve._shadow import Shadow

    artifact = open_artifact(folder)
    rule: CascadeRule | None = None
    if artifact.manifest.kind == "cascade":
        cascade = open_cascade(folder)
        candidate, rule, task = _student(cascade, folder.resolve().name), cascade.rule, cascade.task
    elif artifact.manifest.kind == "classifier":
        from stillhouse.serve._labels import label_engine

        candidate, task = label_engine(artifact), task_of(artifact.manifest.results)
    else:
        raise ConfigError(
            f"The shadow {folder} is a {artifact.manifest.kind} artefact. Give a folder that fit "
            "or certify wrote; a student that writes text has to be certified first."
        )
    if (task.kind, task.labels, task.multiple) != (
        live.task.kind,
        live.task.labels,
        live.task.multiple,
    ):
        raise ConfigError(
            f"The shadow {folder} was made for task {task.name!r}, and {live.artifact.path} for "
            f"{live.task.name!r}: their answers are not alike. Give a student of the same task."
        )
    return Shadow(
        candidate,
        grader,
        is_live_busy=is_live_busy,
        rule=rule,
        version=artifact.manifest_sha256[:12],
    )
