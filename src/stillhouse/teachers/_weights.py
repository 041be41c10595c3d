"""The teacher of a dataset, opened where its distributions over given text are needed."""

from typing import TYPE_CHECKING

from stillhouse.artifacts import Artifact
from stillhouse.errors import LogprobsUnavailableError, VocabularyMismatchError
from stillhouse.teachers._spec import SCHEMES, open_teacher

if TYPE_CHECKING:
    from stillhouse.teachers._local import LocalTeacher


def open_weights(spec: str, *, dataset: Artifact | None) -> "LocalTeacher":
    """The teacher that wrote the text of `dataset`, with its weights on this machine.

    With no dataset, any teacher will do.

    Raises:
        LogprobsUnavailableError: `spec` names a teacher that only answers in text.
        VocabularyMismatchError: another model wrote the text.
        ConfigError: the spec has another form, or no model is there.
    """
    check_has_weights(spec)
    scheme, colon, source = spec.partition(":")
    if scheme != "local" or not colon:
        open_teacher(spec).close()  # raises, and knows best what is wrong with the spec
    from stillhouse.teachers._local import open_local_teacher

    teacher = open_local_teacher(source)
    if dataset is not None:
        _check_wrote(teacher, dataset)
    return teacher


def check_has_weights(spec: str) -> None:
    """Refuse a teacher without weights here, before anything is asked of it or paid for.

    Raises:
        LogprobsUnavailableError: `spec` names a teacher that only answers in text.
    """
    scheme, colon, _ = spec.partition(":")
    if colon and scheme in SCHEMES and scheme != "local":
        raise LogprobsUnavailableError(
            f"teacher {spec!r} gives no distributions over given text. That needs weights on this "
            "machine (local:FOLDER); training on the text alone (objective sft) does not."
        )


def _check_wrote(teacher: "LocalTeacher", dataset: Artifact) -> None:
    wrote, info = dataset.manifest.teacher, teacher.info
    # A hub model has no fingerprint before it is fetched: then its name has to do.
    if wrote is None or (wrote.revision or wrote.id) != (info.revision or info.id):
        raise VocabularyMismatchError(
            f"{dataset.path} was written by {wrote.id if wrote else 'an unknown teacher'}, not by "
            f"{info.id}. Give the teacher that wrote the text."
        )
