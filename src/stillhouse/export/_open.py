"""Open a student for export."""

from typing import TYPE_CHECKING

from stillhouse.artifacts import Artifact
from stillhouse.classifiers import load_classifier
from stillhouse.export._answers import ClassifierSource
from stillhouse.export._config import ExportConfig

if TYPE_CHECKING:
    from stillhouse.export._source import LanguageSource


def open_source(
    student: Artifact, config: ExportConfig, dataset: Artifact | None
) -> "LanguageSource | ClassifierSource":
    """The student in memory.

    Raises:
        IntegrityError: it is damaged.
        MissingDependencyError: it needs a package that is not installed.
    """
    if student.manifest.kind == "classifier":
        return ClassifierSource(student, load_classifier(student.path), config, dataset)
    from stillhouse.export._source import LanguageSource  # these need torch
    from stillhouse.models import load_model

    return LanguageSource(student, load_model(student.path), config, dataset)
