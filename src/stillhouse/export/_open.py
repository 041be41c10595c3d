"""Open a student for export."""

from stillhouse.artifacts import Artifact
from stillhouse.export._config import ExportConfig
from stillhouse.export._source import LanguageSource
from stillhouse.models import load_model


def open_source(
    student: Artifact, config: ExportConfig, dataset: Artifact | None
) -> LanguageSource:
    """The student in memory.

    Raises:
        IntegrityError: it is damaged.
        MissingDependencyError: it needs a package that is not installed.
    """
    return LanguageSource(student, load_model(student.path), config, dataset)
