"""`stillhouse watch`: is somebody extracting the model?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, QuietOption, SetOption
from stillhouse.cli._output import Output, table_text

if TYPE_CHECKING:
    from stillhouse.traffic import AccessLog, Table, TrafficKey, WatchResults

_SHOWN = 20


def watch(
    log: Annotated[
        Path,
        typer.Argument(
            metavar="ACCESS_LOG", help="JSON lines of requests (docs/traffic.md), or their folder."
        ),
    ],
    key: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Key that requests are hashed under; made if missing."),
    ],
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What is usual, as --fit wrote it."),
    ] = None,
    fit: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take this log for benign, and write what is usual."),
    ] = None,
    appeals: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the record of each account that is found."),
    ] = None,
    responses: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write who is answered how, for serve --responses (renewed)."
        ),
    ] = None,
    settings: SetOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find accounts, and groups of accounts, that extract a model.

    First --fit a log that is mostly benign, then watch others with --reference. Every account and
    every group of accounts that send the same frames is ranked among benign ones; what is said is
    said at a false discovery rate over all accounts. No prompt is kept, accounts have pseudonyms,
    and nobody is banned: it advises to log, to give a key of their own, to throttle or to verify.
    """
    from stillhouse.cli._settings import stage_settings
    from stillhouse.errors import ConfigError
    from stillhouse.settings import check_settings
    from stillhouse.traffic import TrafficConfig, check_key, load_reference, open_traffic_key

    output = Output(is_json=json, is_quiet=quiet)
    if (reference is None) == (fit is None):
        raise ConfigError("watch takes --reference FILE, or --fit FILE to make one. Give one.")
    if appeals is not None and fit is not None:
        raise ConfigError("--fit finds nobody, so that there is no record. Leave --appeals out.")
    if responses is not None and fit is not None:
        raise ConfigError("--fit finds nobody to answer. Leave --responses out.")
    config = check_settings(TrafficConfig, stage_settings({}, settings), where="settings")
    secret = open_traffic_key(key)
    if fit is not None:
        _fit(output, log, secret, fit, config.max_malformed_fraction)
        return
    assert reference is not None
    usual = load_reference(reference)
    check_key(usual, secret)
    table, read = _read(log, secret, config.max_malformed_fraction)
    from stillhouse.traffic import watch_table, write_appeals

    results = watch_table(table, usual, config=config, log=read)
    if appeals is not None:
        write_appeals(results, appeals)
    document, text = results.model_dump(mode="json"), watch_text(results)
    if responses is not None:
        written = _respond(responses, results)
        document["responses"] = written
        text += "\n" + _responses_text(responses, written)
    output.result(document, text)


def _respond(path: Path, results: "WatchResults") -> dict[str, Any]:
    """Write who is answered how, and count them by step."""
    from datetime import UTC, datetime

    from stillhouse.traffic import RESPONSES, change_responses

    now = datetime.now(UTC).replace(microsecond=0)
    written = change_responses(path, results.key, lambda one: one.renewed(results, now=now))
    steps = [one.step for one in written.accounts]
    return {
        "file": str(path),
        "num_accounts": {step: steps.count(step) for step in RESPONSES},
        "num_cleared": len(written.cleared),
    }


def _responses_text(path: Path, written: dict[str, Any]) -> str:
    told = ", ".join(f"{step} {count:,}" for step, count in written["num_accounts"].items())
    cleared = f"; {written['num_cleared']:,} cleared" if written["num_cleared"] else ""
    return f"{path}: {told}{cleared}"


def _read(
    log: Path, secret: "TrafficKey", max_malformed_fraction: float
) -> "tuple[Table, AccessLog]":
    from stillhouse.traffic import Featuriser, open_access_log, read_table

    rows = open_access_log(log)
    table = read_table(rows, Featuriser(secret))
    rows.check(max_malformed_fraction)
    return table, rows


def _fit(
    output: Output, log: Path, secret: "TrafficKey", out: Path, max_malformed_fraction: float
) -> None:
    from stillhouse.traffic import Reference

    table, read = _read(log, secret, max_malformed_fraction)
    fitted = Reference.fit(table, secret.key_id)
    sha256 = fitted.save(out)
    windows = {str(n): len(ranks.score_R) for n, ranks in fitted.windows.items()}
    document = {
        "reference": str(out),
        "sha256": sha256,
        "num_accounts": fitted.num_accounts,
        "num_requests": fitted.num_requests,
        "num_malformed": read.num_malformed,
        "num_repeated": read.num_repeated,
        "windows": windows,
    }
    lengths = ", ".join(f"{count:,} of {length}" for length, count in windows.items())
    output.result(
        document,
        f"{out}: {fitted.num_accounts:,} accounts, {fitted.num_requests:,} requests; windows: "
        f"{lengths or 'none'}{_counts(read.num_malformed, read.num_repeated)}",
    )


def watch_text(results: "WatchResults") -> str:
    """What was found, for people."""
    lines = [
        f"{results.num_requests:,} requests of {results.num_accounts:,} accounts, "
        f"{results.first:%Y-%m-%d} to {results.last:%Y-%m-%d}"
        f"{_counts(results.num_malformed, results.num_repeated)}"
    ]
    if results.num_too_old:
        lines.append(f"{results.num_too_old:,} requests are past retention")
    rows = [
        [step.step, f"{step.rate:g}", str(step.num_accounts), f"{step.expected_benign:.1f}"]
        for step in results.steps
    ]
    header = ["response", "rate", "accounts", "of them benign, at most"]
    lines += ["", table_text(header, rows)]
    if results.accounts:
        found = [
            [
                one.account,
                f"{one.num_requests:,}",
                one.step,
                f"{one.p_value:.2g}",
                f"{one.adjusted:.2g}",
                "-" if one.cluster is None else f"{len(results.clusters[one.cluster])} accounts",
            ]
            for one in results.accounts[:_SHOWN]
        ]
        head = ["account", "requests", "response", "p-value", "adjusted", "cluster"]
        lines += ["", table_text(head, found)]
        if len(results.accounts) > _SHOWN:
            lines.append(f"and {len(results.accounts) - _SHOWN:,} more (--json)")
    lines += [f"note: {note}" for note in results.notes]
    return "\n".join(lines)


def _counts(num_malformed: int, num_repeated: int) -> str:
    text = f"; {num_malformed:,} lines were no requests" if num_malformed else ""
    return text + (f"; {num_repeated:,} repeated an id" if num_repeated else "")
