"""`stillhouse run --from-serve-log`: the next student, from what was answered in service."""

from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.cli._bakeoff import systems_text
from stillhouse.cli._output import Output, artifact_text
from stillhouse.cli._progress import duration_text
from stillhouse.cli._runs import run_document

if TYPE_CHECKING:
    from stillhouse.evaluate import TaskResults
    from stillhouse.pipeline import RunOutcome, StageEnd


def run_round(config: Path, log: Path, out: Path, command: str, output: Output) -> None:
    """Run a round, and say what came of it."""
    from stillhouse.evaluate import read_task_results
    from stillhouse.pipeline import next_round, read_round

    def tell(end: "StageEnd") -> None:
        unchanged = "unchanged, skipped" if end.is_skipped else artifact_text(end.artifact)
        output.say(f"{end.name}: {unchanged}")

    with output.progress() as listener:
        outcome = next_round(
            log,
            out,
            config=read_round(config),
            config_dir=config.parent,
            command=command,
            on_progress=listener,
            on_stage=tell,
        )
    results = read_task_results(outcome.results_path)
    output.result(run_document(outcome, results), _text(outcome, results))
    output.say(f"next: stillhouse certify {out / 'student'} {out / 'dataset'}")


def _text(outcome: "RunOutcome", results: "TaskResults") -> str:
    counts: dict[str, int] = dict(outcome.artifacts["import"].manifest.counts.dropped)
    left_out = ", ".join(f"{reason} {number:,}" for reason, number in counts.items()) or "nothing"
    lines = ["", systems_text(results), ""]
    lines += [f"of the log, left out: {left_out}"]
    earlier = f" ({len(outcome.skipped)} stages were complete)" if outcome.skipped else ""
    lines += [f"time    {duration_text(outcome.seconds)}{earlier}"]
    lines += [f"report  {outcome.report_path}"]
    return "\n".join(lines)
