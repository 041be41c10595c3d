"""The stage: from a student to files that other programs run, each verified."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    begin_artifact,
    is_up_to_date,
    open_artifact,
)
from stillhouse.errors import ConfigError
from stillhouse.export._config import ExportConfig, FormatName
from stillhouse.export._exporters import EXPORTERS, Exporter
from stillhouse.export._open import open_source
from stillhouse.export._report import (
    REPORT_NAME,
    ExportedFile,
    ExportReport,
    FormatReport,
    refuse_unmet,
)
from stillhouse.records import Usage
from stillhouse.runlog import Listener, Ticker, ignore_progress

_STAGE = "export"
_ADVICE = "Export a finer format, or raise the limit in the settings if you can live with that."


def export(
    student: Path,
    out: Path,
    *,
    config: ExportConfig,
    dataset: Path | None = None,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    exporters: Mapping[str, Mapping[FormatName, Exporter]] = EXPORTERS,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Write a student in formats that other programs run, and hold each one to the student.

    Files are made and measured in a temporary folder beside `out`, so that one format that differs
    from the student leaves nothing behind, and an earlier export as it was.

    Args:
        student: What train or fit made.
        out: Folder of the export; one that the same inputs made is returned as it is.
        config: The formats and the limits.
        dataset: What curate made; the task's metric is measured on its held-out rows too.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        exporters: What makes each format, by the student's kind.
        on_progress: Told after each format.

    Returns:
        An artefact of the kind `export`, with one folder for each format and `export.json`.

    Raises:
        ConfigError: a format does not suit the student, or a path is wrong.
        DataError: the dataset does not suit the student.
        ExportRefusedError: what was exported does not behave as the student does.
        IntegrityError: the student is damaged.
        MissingDependencyError: a format needs a package that is not installed.
    """
    parents = [open_artifact(student)]
    if dataset is not None:
        parents.append(open_artifact(dataset, kind="dataset"))
    known = _known_formats(parents[0], config, exporters)
    resolved = config.model_dump(mode="json")
    if is_up_to_date(out, stage=_STAGE, config=resolved, parents=parents):
        return open_artifact(out)
    _refuse_finished(out, replace=replace)
    source = open_source(parents[0], config, parents[1] if dataset is not None else None)
    ticker = Ticker(on_progress, stage=_STAGE, total=len(config.formats), unit="formats")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as scratch:
        reports = []
        for name in config.formats:
            reports.append(_made(known[name], source, Path(scratch) / name, name))
            ticker.advance()
        writer = begin_artifact(
            out,
            kind="export",
            stage=_STAGE,
            config=resolved,
            config_given=config_given,
            parents=parents,
            replace=replace,
        )
        try:
            return _published(writer, reports, Path(scratch), parents[0])
        finally:
            writer.release()


def _made(exporter: Exporter, source: Any, folder: Path, name: FormatName) -> FormatReport:
    folder.mkdir()
    report = exporter(source, folder, name)
    refuse_unmet(report, advice=_ADVICE)
    files = [
        ExportedFile(name=path.relative_to(folder.parent).as_posix(), bytes=path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return report.model_copy(update={"files": tuple(files)})


def _published(
    writer: ArtifactWriter, reports: Sequence[FormatReport], scratch: Path, student: Artifact
) -> Artifact:
    """Move the files into the artefact, and say in it what was found."""
    for made in reports:
        for file in made.files:
            (scratch / file.name).replace(writer.new_file(file.name))
    report = ExportReport(
        student=student.path.resolve().name,
        kind="classifier" if student.manifest.kind == "classifier" else "student",
        formats=tuple(reports),
    )
    text = report.model_dump_json(indent=2) + "\n"
    writer.new_file(REPORT_NAME).write_text(text, encoding="utf-8")
    manifest = student.manifest
    found = {
        made.format: {"bytes": sum(file.bytes for file in made.files), "verdict": made.verdict}
        for made in reports
    }
    return writer.finish(
        counts=Counts.model_validate({"in": len(reports), "kept": len(reports)}),
        usage=Usage(cost_usd=0.0),
        teacher=manifest.teacher,
        student=manifest.student,
        tokenizer_sha256=manifest.tokenizer.sha256 if manifest.tokenizer else None,
        chat_template_sha256=manifest.chat_template_sha256,
        device="cpu",
        results={"formats": found},
    )


def _known_formats(
    student: Artifact, config: ExportConfig, exporters: Mapping[str, Mapping[FormatName, Exporter]]
) -> Mapping[FormatName, Exporter]:
    kind = student.manifest.kind
    if kind not in exporters:
        raise ConfigError(
            f"{student.path} is a {kind} artefact; export takes {' or '.join(exporters)}. "
            "Give the folder of a student."
        )
    known = exporters[kind]
    if wrong := [name for name in config.formats if name not in known]:
        raise ConfigError(
            f"{student.path} is a {kind}, which has no format {wrong[0]!r}; it has "
            f"{', '.join(known)}. Choose among them."
        )
    if len(set(config.formats)) < len(config.formats):
        raise ConfigError(f"formats are {', '.join(config.formats)}. Give each once.")
    return known


def _refuse_finished(out: Path, *, replace: bool) -> None:
    """Refuse now what `begin_artifact` would refuse after all the work."""
    if not replace and (out / "manifest.json").exists():
        raise ConfigError(
            f"{out} holds a finished artefact that is damaged or made with other inputs. "
            "Give another --out, or --force to replace it."
        )
