"""The stage: a student, and the base that it is compared with, on standard benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    atomic_write_bytes,
    begin_artifact,
    file_sha256,
    is_up_to_date,
    open_artifact,
    read_rows,
    write_table,
)
from stillhouse.errors import ConfigError, DataError
from stillhouse.evaluate._benchmarks._compare import Question, benchmark_result, verdict_sentence
from stillhouse.evaluate._benchmarks._config import BenchmarksConfig
from stillhouse.evaluate._benchmarks._harness import harness_version, run_harness
from stillhouse.evaluate._benchmarks._results import (
    BenchmarkModel,
    BenchmarkResult,
    BenchmarkResults,
    BenchmarkRole,
    BenchmarkRow,
)
from stillhouse.evaluate._benchmarks._rows import MetricFacts, paired_scores
from stillhouse.models import ModelFolder, load_model, locate_model
from stillhouse.records import Record, canonical_json
from stillhouse.runlog import Listener, ignore_progress

_STAGE = "benchmarks"


def benchmarks(
    student: str | Path,
    out: Path,
    *,
    config: BenchmarksConfig,
    base: str | Path | None = None,
    include: Path | None = None,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Run lm-evaluation-harness on `student` and `base`, and compare them item by item.

    A model that was measured before the stage was stopped is not measured again.

    Args:
        student: A folder that train wrote, or any model that `locate_model` finds; `local:` may
            stand in front, and alone is the embedded model.
        out: Folder to write.
        config: Tasks and how to run them.
        base: What to compare with, usually what the student was made from; None for figures
            alone.
        include: Folder with task files of one's own. They may name Python functions, which are
            then run: take only files that you would run.
        config_given: What the user set of `config`.
        replace: Whether a finished artefact in the way is removed.
        on_progress: Told what is done.

    Returns:
        An artefact of kind `evaluation` with `results.json` and the table `items`.

    Raises:
        ConfigError: a model or task is not there, or student and base are one.
        DataError: a task gives no score that can be compared.
        IntegrityError: a model is damaged.
        MissingDependencyError: lm-evaluation-harness is not installed.
    """
    started_s = monotonic()
    harness = harness_version()
    asked = _asked(student, base)
    parents = [open_artifact(Path(one.folder.path)) for one in asked if one.is_artifact]
    resolved: dict[str, Any] = {
        **config.model_dump(mode="json"),
        **{one.role: {"source": one.source, "revision": one.folder.revision} for one in asked},
        "include": _include_record(include),
        "harness": harness,
    }
    if is_up_to_date(out, stage=_STAGE, config=resolved, parents=parents):
        return open_artifact(out)
    writer = begin_artifact(
        out,
        kind="evaluation",
        stage=_STAGE,
        config=resolved,
        config_given=config_given,
        parents=parents,
        replace=replace,
    )
    try:
        run = _Run(
            config=config,
            include=include,
            harness=harness,
            writer=writer,
            on_progress=on_progress,
            started_s=started_s,
        )
        return run.finish([run.measure(one) for one in asked])
    finally:
        writer.release()


@dataclass(frozen=True)
class _Asked:
    """A model that is to be measured."""

    role: BenchmarkRole
    name: str
    source: str
    folder: ModelFolder

    @property
    def is_artifact(self) -> bool:
        return self.folder.is_local and (Path(self.folder.path) / "manifest.json").is_file()


class _Measured(Record):
    """What is known of a model once it has been measured; its rows are in a table beside."""

    model: BenchmarkModel
    facts: tuple[MetricFacts, ...]
    not_scored: tuple[str, ...]


_Answers = tuple[_Measured, list[BenchmarkRow]]


@dataclass(frozen=True)
class _Run:
    config: BenchmarksConfig
    include: Path | None
    harness: str
    writer: ArtifactWriter
    on_progress: Listener
    started_s: float

    def measure(self, asked: _Asked) -> _Answers:
        """Ask a model everything, unless it was asked before the stage was stopped."""
        document = self.writer.work_dir / f"{asked.role}.json"
        table = self.writer.work_dir / f"{asked.role}.parquet"
        if document.is_file():
            found = _Measured.model_validate_json(document.read_bytes())
            return found, list(read_rows(table, BenchmarkRow))
        measured, rows = self._ask(asked)
        write_table(table, rows, BenchmarkRow)
        atomic_write_bytes(document, canonical_json(measured))  # last: it says the table is whole
        return measured, rows

    def _ask(self, asked: _Asked) -> _Answers:
        from stillhouse.evaluate._benchmarks._adapter import HarnessModel

        model = load_model(_place(asked.source))
        adapter = HarnessModel(model, seed=self.config.seed, on_progress=self.on_progress)
        logged = run_harness(adapter, name=asked.name, config=self.config, include=self.include)
        record = BenchmarkModel(
            name=asked.name,
            role=asked.role,
            source=asked.source,
            revision=asked.folder.revision,
            num_parameters=model.num_parameters,
            num_requests=adapter.num_requests,
            num_truncated=adapter.num_truncated,
        )
        measured = _Measured(model=record, facts=logged.facts, not_scored=logged.not_scored)
        return measured, logged.rows

    def finish(self, measured: Sequence[_Answers]) -> Artifact:
        """Compare, and write rows, results and manifest."""
        results = self._results(measured)
        rows = [row for _, of_model in measured for row in of_model]
        self.writer.write_rows("items", rows, BenchmarkRow)
        self.writer.new_file("results.json").write_bytes(results.to_bytes())
        num_items = len({(row.task, row.item) for row in rows})
        verdicts = [
            one.comparison.verdict for one in results.tasks if one.is_main and one.comparison
        ]
        return self.writer.finish(
            counts=Counts.model_validate({"in": num_items, "kept": num_items}),
            seeds={"fewshot": self.config.seed},
            device="cpu",
            results={
                "verdict": results.verdict,
                "tasks": sum(one.is_main for one in results.tasks),
                **{verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))},
            },
        )

    def _results(self, measured: Sequence[_Answers]) -> BenchmarkResults:
        (student, ours), *others = measured
        names = [one.model.name for one, _ in measured]
        theirs = others[0][1] if others else None
        question = Question(margin=self.config.margin, seed=self.config.seed)
        tasks: list[BenchmarkResult] = []
        without = list(student.not_scored)
        for facts in student.facts:
            try:
                scores = paired_scores(facts, ours, theirs)
                tasks.append(benchmark_result(scores, question, names=names))
            except DataError as err:  # too few items, say: the other tasks still hold
                without.append(f"{facts.task}: {facts.metric} ({err})")
        if not any(task.is_main for task in tasks):
            raise DataError(
                f"No task gives a score that bears an interval: {'; '.join(without)[:500]}. "
                "Choose tasks that score single items, and more than a few of them."
            )
        return BenchmarkResults(
            verdict=verdict_sentence(tasks, names=names),
            models=tuple(one.model for one, _ in measured),
            tasks=tuple(tasks),
            not_scored=tuple(without),
            harness=self.harness,
            is_chat=self.config.is_chat,
            created_utc=datetime.now(UTC),
            seconds=monotonic() - self.started_s,
        )


def _asked(student: str | Path, base: str | Path | None) -> list[_Asked]:
    folder = locate_model(_place(student))
    asked = [_Asked("student", folder.name, str(student), folder)]
    if base is None:
        return asked
    other = locate_model(_place(base))
    if other.path == folder.path or Path(other.path).resolve() == Path(folder.path).resolve():
        raise ConfigError(
            f"Student and base are one model, {folder.path}. Give what the student was made from."
        )
    name = other.name if other.name != folder.name else f"{other.name} (base)"
    return [*asked, _Asked("base", name, str(base), other)]


def _place(source: str | Path) -> str:
    return str(source).removeprefix("local:")


def _include_record(include: Path | None) -> dict[str, str] | None:
    """The files of a folder by name, but for caches, so that a changed task is measured anew."""
    if include is None:
        return None
    if not include.is_dir():
        raise ConfigError(f"{include} is no folder. Give --include a folder with task files.")
    files = {path.relative_to(include): path for path in include.rglob("*") if path.is_file()}
    return {
        name.as_posix(): file_sha256(path)
        for name, path in sorted(files.items())
        if not any(part.startswith((".", "__pycache__")) for part in name.parts)
    }
