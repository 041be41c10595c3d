"""`stillhouse demo` and `stillhouse run`: every stage in order."""

import json as jsonlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, OutOption, QuietOption, TermsOption
from stillhouse.cli._output import Output, artifact_document, artifact_text
from stillhouse.cli._progress import duration_text
from stillhouse.errors import ConfigError

if TYPE_CHECKING:
    from stillhouse.evaluate import EvaluationResults, TaskResults
    from stillhouse.pipeline import RunConfig, RunOutcome, StageEnd


def demo(
    quick: Annotated[
        bool, typer.Option("--quick", help="The same with smaller numbers, in about a minute.")
    ] = False,
    out: OutOption = Path("stillhouse-demo"),
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Distil a real model here: no key, no account, minutes."""
    from stillhouse.pipeline import DEMO_DIR, demo_config

    output = Output(is_json=json, is_quiet=quiet)
    command = f"stillhouse demo{' --quick' if quick else ''} --out {shlex.quote(str(out))}"
    config = demo_config(quick=quick)
    outcome = _run(config, out, DEMO_DIR, command, output)
    output.say("\nnow try:")
    for line in _next_commands(config, outcome):
        output.say(f"  {line}")


def run(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="YAML file that init wrote.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder to write.  [default: CONFIG's name-run]"),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a config and stop.")
    ] = False,
    from_serve_log: Annotated[
        Path | None,
        typer.Option(
            "--from-serve-log",
            metavar="DIR",
            help="Log of serve; CONFIG then is that of a next round (docs/serve.md).",
        ),
    ] = None,
    terms: TermsOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run every stage of a config, from prompts to report.

    Stages whose inputs have not changed are skipped, and a stopped run goes on where it was. With
    the log of a server, what teachers answered while a student served makes the next student.
    """
    from stillhouse.pipeline import config_schema, read_config

    if schema:
        print(jsonlib.dumps(config_schema(), indent=2))
        return
    if config is None:
        raise ConfigError("No config given. Run: stillhouse run CONFIG.yaml (init writes one).")
    out = out or Path(f"{config.stem}-run")
    command = f"stillhouse run {shlex.quote(str(config))} --out {shlex.quote(str(out))}"
    if from_serve_log is not None:
        from stillhouse.cli._round import run_round

        command += f" --from-serve-log {shlex.quote(str(from_serve_log))}"
        run_round(config, from_serve_log, out, command, Output(is_json=json, is_quiet=quiet))
        return
    settings = read_config(config)
    if terms is not None:
        settings = settings.model_copy(update={"terms": str(terms.resolve())})
        command += f" --terms {shlex.quote(str(terms))}"
    _run(settings, out, config.parent, command, Output(is_json=json, is_quiet=quiet))


def _run(
    config: "RunConfig", out: Path, config_dir: Path, command: str, output: Output
) -> "RunOutcome":
    from stillhouse.evaluate import read_results
    from stillhouse.pipeline import run as run_stages

    def tell(end: "StageEnd") -> None:
        if end.is_skipped:
            output.say(f"{end.name}: unchanged, skipped")
        else:
            output.say(f"{end.name}: {artifact_text(end.artifact)}")

    with output.progress() as listener:
        outcome = run_stages(
            config,
            out,
            config_dir=config_dir,
            command=command,
            on_progress=listener,
            on_stage=tell,
        )
    results = read_results(outcome.results_path)
    output.result(run_document(outcome, results), _text(outcome, results))
    return outcome


def run_document(
    outcome: "RunOutcome", results: "EvaluationResults | TaskResults"
) -> dict[str, Any]:
    """What a run is as JSON."""
    return {
        "artifacts": {
            name: artifact_document(artifact) for name, artifact in outcome.artifacts.items()
        },
        "skipped": list(outcome.skipped),
        "seconds": round(outcome.seconds, 3),
        "report": str(outcome.report_path),
        "results": results.model_dump(mode="json"),
    }


def _text(outcome: "RunOutcome", results: "EvaluationResults") -> str:
    from stillhouse.cli._comparison import comparison_text

    lines = ["", comparison_text(results), "", results.verdict, ""]
    earlier = f" ({len(outcome.skipped)} stages were complete)" if outcome.skipped else ""
    lines += [f"time    {duration_text(outcome.seconds)}{earlier}"]
    lines += [f"report  {outcome.report_path}"]
    return "\n".join(lines)


def _next_commands(config: "RunConfig", outcome: "RunOutcome") -> list[str]:
    """What a newcomer may do next, as commands that work as they are."""
    from stillhouse.records import Prompt

    prompts = outcome.artifacts["collect"].rows("prompts", Prompt)
    prompt = next(prompt for prompt in prompts if prompt.split == "held_out")
    texts = {message.role: message.content for message in prompt.messages}
    student = outcome.artifacts[f"train {next(iter(config.students))}"].path
    words = ["stillhouse", "chat", str(student), "--beside", config.teacher]
    if "system" in texts:
        words += ["--system", texts["system"]]
    words += ["--prompt", texts["user"]]
    return [
        shlex.join(words),
        shlex.join(["stillhouse", "verify", str(outcome.artifacts["evaluate"].path)]),
        "stillhouse init",
    ]
