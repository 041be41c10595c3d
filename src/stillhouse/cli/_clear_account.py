"""`stillhouse clear-account`: an account that was found is answered no more, for a reason."""

from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output


def clear_account(
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="Its pseudonym.")],
    responses: Annotated[
        Path,
        typer.Option(metavar="FILE", help="What watch --responses wrote; serve reads it again."),
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; kept.")],
    days: Annotated[
        float, typer.Option(min=0.01, max=3650.0, help="How long, whatever watch finds.")
    ] = 90.0,
    appeals: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep it in the account's record of watch --appeals."),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Clear an account that watch found, after somebody looked at it.

    A server that runs with this file stops to answer the account differently within a second or
    two, and later runs of watch do not list it, until the days are over. The reason is kept in the
    file, and with --appeals in the account's record.
    """
    from datetime import UTC, datetime

    from stillhouse.traffic import add_clearing, change_responses, read_appeal

    output = Output(is_json=json, is_quiet=quiet)
    now = datetime.now(UTC).replace(microsecond=0)
    if appeals is not None:
        read_appeal(appeals / f"{account}.json")  # before anything is changed
    written = change_responses(
        responses, None, lambda one: one.without(account, reason=reason, now=now, days=days)
    )
    clearing = next(one for one in written.cleared if one.account == account)
    record = None if appeals is None else add_clearing(appeals, clearing)
    before = f"was answered with {clearing.step}" if clearing.step else "was not answered"
    output.result(
        {**clearing.model_dump(mode="json"), "record": None if record is None else str(record)},
        f"{account} {before}, and is cleared until {clearing.until:%Y-%m-%d}",
    )
