"""Rank models on the user's own prompts."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._collection import money_text
from stillhouse.cli._options import (
    ForceOption,
    JsonOption,
    MaxTokensOption,
    OutOption,
    PromptsArgument,
    QuietOption,
    SetOption,
    TaskOption,
)
from stillhouse.cli._output import Output, artifact_document, table_text
from stillhouse.cli._settings import stage_settings
from stillhouse.errors import ConfigError

if TYPE_CHECKING:
    from stillhouse.collect import CollectConfig
    from stillhouse.evaluate import ArenaModel, ArenaResults, Estimate, Standing
    from stillhouse.records import Prompt


def arena(
    prompts: PromptsArgument,
    judge: Annotated[
        str, typer.Option(metavar="SPEC", help="Who compares: any teacher, of another maker.")
    ],
    models: Annotated[
        list[str],
        typer.Option(
            "--model",
            metavar="NAME=SPEC",
            help="Who is ranked: local:FOLDER for a student, PROVIDER:MODEL (docs/providers.md), "
            "replay:DIR for recorded answers. Repeat it for each.",
        ),
    ],
    out: OutOption = Path("arena"),
    task: TaskOption = None,
    gold: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Pairs that people compared: prompt, a, b, winner."),
    ] = None,
    max_prompts: Annotated[int | None, typer.Option(help="Ask the first so many.")] = None,
    max_pairs: Annotated[
        int | None, typer.Option(help="Pairs of answers to judge, evenly chosen.")
    ] = None,
    max_tokens: MaxTokensOption = None,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", help="The most that all calls may cost.")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Record of requests.  [default: in --out]"),
    ] = None,
    title: Annotated[str, typer.Option(help="Of the report.")] = "Arena",
    settings: SetOption = None,
    force: ForceOption = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Rank models on your own prompts, with a model as judge.

    Each pair of answers is judged in both orders. Writes results.json and report.html: ranks and
    differences that hold together with 95 % confidence, as judged and at equal length, and how far
    the judge is to be trusted. A stopped arena goes on where it was, and pays for nothing twice.
    With --task, PROMPTS holds the inputs of the task, and students that fit made can take part.
    """
    from stillhouse.evaluate import ArenaConfig, read_arena_results
    from stillhouse.evaluate import arena as hold
    from stillhouse.pipeline import ledger_asking
    from stillhouse.settings import check_settings

    flags = {
        "sampling.max_tokens": max_tokens,
        "max_prompts": max_prompts,
        "max_pairs": max_pairs,
        "access.budget_usd": budget,
    }
    given = stage_settings(flags, settings)
    asked = {name: value for name, value in given.items() if name != "access"}
    config = check_settings(ArenaConfig, asked, where="settings")
    access = _access(given.get("access", {}))
    entrants = named_models(models)
    rows = _asked(prompts, task)
    options = {"judge": judge, "task": task, "out": out, "gold": gold, "title": title}
    book = ledger or out / "ledger.sqlite"
    _check_prices(rows, (judge, *entrants.values()), access, book)
    output = Output(is_json=json, is_quiet=quiet)
    with output.progress() as listener:
        artifact = hold(
            rows,
            out,
            models=entrants,
            judge=judge,
            ask=ledger_asking(access, book),
            config=config,
            gold=gold,
            title=title,
            command=_command(prompts, models, given, options),
            config_given=given,
            replace=force,
            on_progress=listener,
        )
    results = read_arena_results(artifact.file("results.json"))
    output.result(artifact_document(artifact), arena_text(results))
    output.say(f"next: open {artifact.path / 'report.html'} in a browser")


def named_models(given: Sequence[str]) -> dict[str, str]:
    """Specs by the names that the report calls them.

    Raises:
        ConfigError: one has no name, or two have the same.
    """
    models: dict[str, str] = {}
    for text in given:
        name, equals, spec = text.partition("=")
        if not (equals and name and spec) or ":" in name:  # an option of a spec: fake:?parallel=2
            raise ConfigError(f"--model {text!r} has no name. Give NAME=SPEC, such as base={text}.")
        if name in models:
            raise ConfigError(f"Two models are called {name!r}. Give each a name of its own.")
        models[name] = spec
    return models


def arena_text(results: "ArenaResults") -> str:
    """Verdict, standings and warnings, for a terminal."""
    header = ["model", "rank", "points", "wins", "characters", "cost"]
    has_lengths = any(model.standing_equal_length for model in results.models)
    if has_lengths:
        header[3:3] = ["at equal length"]
    rows = [_row(model, has_lengths=has_lengths) for model in results.models]
    lines = [results.verdict, "", table_text(header, rows), ""]
    lines.append(
        f"{results.num_prompts:,} prompts, {sum(one.num_counted for one in results.pairs):,} pairs "
        f"judged by {results.judge.teacher}; [95 %, all together]"
    )
    lines += [f"note: {warning}" for warning in results.warnings]
    return "\n".join(lines)


def _row(model: "ArenaModel", *, has_lengths: bool) -> list[str]:
    wins = model.win_rate
    cells = [model.name, _rank(model.standing), _points(model.standing.rating)]
    if has_lengths:
        equal = model.standing_equal_length
        cells.append(_points(equal.rating) if equal else "-")
    cells.append(f"{100 * wins.value:.0f} % [{100 * wins.low:.0f}, {100 * wins.high:.0f}]")
    return [*cells, f"{model.answer_chars.value:,.0f}", money_text(model.usage.cost_usd)]


def _rank(standing: "Standing") -> str:
    best, worst = standing.best_rank, standing.worst_rank
    return str(best) if best == worst else f"{best}-{worst}"


def _points(rating: "Estimate") -> str:
    return f"{rating.value:.0f} [{rating.low:.0f}, {rating.high:.0f}]"


def _access(given: Any) -> "CollectConfig":
    from stillhouse.collect import CollectConfig
    from stillhouse.settings import check_settings

    return check_settings(CollectConfig, {"access": given}, where="settings")


def _check_prices(
    prompts: "Sequence[Prompt]", specs: Iterable[str], config: "CollectConfig", ledger: Path
) -> None:
    """Find out before anything is paid that a budget cannot be kept for want of a price."""
    if config.access.budget_usd is None:
        return
    from stillhouse.collect import forecast

    for spec in specs:
        forecast(prompts[:1], teacher=spec, config=config, ledger=ledger)


def _asked(prompts: Path, task: Path | None) -> "list[Prompt]":
    from stillhouse.collect import check_prompts, read_prompts
    from stillhouse.tasks import read_task, read_task_prompts

    if task is None:
        return read_prompts(prompts)
    rows = list(read_task_prompts(prompts, read_task(task)))
    check_prompts(rows, where=str(prompts))
    return rows


def _command(
    prompts: Path,
    models: Sequence[str],
    given: Mapping[str, Any],
    options: Mapping[str, Path | str | None],
) -> str:
    """The command line that reproduces the arena, for its report."""
    words = ["stillhouse", "arena", str(prompts)]
    words += [word for model in models for word in ("--model", model)]
    for name, value in options.items():
        if value is not None:
            words += [f"--{name}", str(value)]
    words += [word for assignment in _assignments(given) for word in ("--set", assignment)]
    return shlex.join(words)


def _assignments(given: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from _assignments(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={value}"
