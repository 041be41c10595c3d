"""Small chains of artefacts with known costs, for the tests of the economics."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stillhouse.artifacts import Artifact, Counts, Kind, TeacherRef, begin_artifact
from stillhouse.records import Completion, Usage

WHEN = datetime(2026, 11, 1, tzinfo=UTC)
PRICES = (0.001, 0.003, 0.002, 0.002)


def calls_of(
    folder: Path,
    costs: Sequence[float | None] = PRICES,
    *,
    provider: str = "openai",
    cost_usd: float | str | None = "sum",
    seconds: float = 5.0,
    first: int = 0,
) -> Artifact:
    """Completions whose calls cost so much and took a second each."""
    writer = begin_artifact(folder, kind="completions", stage="collect", config={"n": len(costs)})
    rows = [
        Completion(
            request_id=f"r{number}",
            prompt_id=f"p{number}",
            text="yes",
            finish_reason="stop",
            model="m",
            created_utc=WHEN,
            usage=Usage(prompt_tokens=10, completion_tokens=3, cost_usd=cost, seconds=1.0),
        )
        for number, cost in enumerate(costs, start=first)
    ]
    writer.write_rows("completions", rows, Completion)
    known = [cost for cost in costs if cost is not None]
    paid = (sum(known) if len(known) == len(costs) else None) if cost_usd == "sum" else cost_usd
    return writer.finish(
        counts=Counts(num_in=len(rows), kept=len(rows)),
        usage=Usage(cost_usd=paid, seconds=seconds),  # type: ignore[arg-type]
        teacher=TeacherRef(id=f"{provider}:m", provider=provider, revision=None),
    )


def stage_of(
    folder: Path,
    parents: Sequence[Artifact],
    *,
    kind: Kind,
    stage: str,
    seconds: float = 3_600.0,
    cost_usd: float | None = 0.0,
    rows: int = 40,
    results: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
) -> Artifact:
    """An artefact that a stage left after so many seconds."""
    writer = begin_artifact(folder, kind=kind, stage=stage, config=config or {}, parents=parents)
    writer.new_file("notes.json").write_bytes(b"{}\n")
    return writer.finish(
        counts=Counts(num_in=rows, kept=rows),
        usage=Usage(cost_usd=cost_usd, seconds=seconds),
        results=results or {},
    )


def student_of(folder: Path, **changes: Any) -> Artifact:
    """Calls, a dataset that took a quarter of an hour, and a student that took an hour."""
    calls = calls_of(folder / "calls", **changes)
    dataset = stage_of(folder / "dataset", [calls], kind="dataset", stage="curate", seconds=900.0)
    return stage_of(folder / "student", [dataset], kind="classifier", stage="fit")


def cascade_of(folder: Path, coverage: dict[str, float] | None) -> Artifact:
    """A student with the rule that sends some requests to its teacher."""
    results = {} if coverage is None else {"coverage": coverage}
    student = student_of(folder)
    return stage_of(
        folder / "cascade", [student], kind="cascade", stage="certify", seconds=36.0,
        results=results,
    )  # fmt: skip
