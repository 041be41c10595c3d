"""A container around a student's wheel: texts on stdin, answers on stdout."""

from pathlib import Path

from stillhouse.export._answers import ClassifierSource
from stillhouse.export._config import FormatName
from stillhouse.export._container._dockerfile import dockerfile, pinned
from stillhouse.export._report import FormatReport
from stillhouse.export._wheel import export_wheel, requirements

_NOTE = (
    "The image was not built here. What it installs was: the wheel answered in a process that sees "
    "these packages alone. Run: docker run --rm -i IMAGE < texts.txt"
)


def export_wheel_container(
    source: ClassifierSource, folder: Path, name: FormatName
) -> FormatReport:
    """Write the wheel with a Dockerfile, and measure the wheel as it would run there.

    Raises:
        ConfigError, ExportRefusedError, MissingDependencyError: as for a wheel.
    """
    made = export_wheel(source, folder, name)
    (wheel,) = folder.glob("*.whl")
    text = dockerfile(
        installs=[*pinned(requirements(source.classifier)), f"/app/{wheel.name}"],
        copies=[wheel.name],
        command=["python", "-m", source.config.name],
    )
    (folder / "Dockerfile").write_text(text, encoding="utf-8")
    return made.model_copy(update={"verdict": "not_built", "notes": (_NOTE,)})
