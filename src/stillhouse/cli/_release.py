"""The `release` command: versions of what is served, and which one is in service."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output

if TYPE_CHECKING:
    from stillhouse.releases import Change, Deployment


class Action(StrEnum):
    """What is done to a deployment."""

    add = "add"
    promote = "promote"
    rollback = "rollback"
    list = "list"


def release(
    action: Annotated[Action, typer.Argument(help="What to do.", show_default=False)],
    deployment: Annotated[
        Path, typer.Argument(metavar="DEPLOYMENT", help="Folder of versions; made by add.")
    ],
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[FOLDER|VERSION]",
            help="What to add: a folder that train, fit or certify wrote. What to promote: a "
            "version, or its first characters.",
        ),
    ] = None,
    why: Annotated[str, typer.Option(help="Kept in the history.")] = "",
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Keep versions of what is served, and say which one is in service.

    add copies a student or cascade under the hash of its manifest. promote puts a version into
    service, rollback the one that was promoted before it; both are one replaced file, which a
    running `stillhouse serve DEPLOYMENT` notices. list shows where it stands and what happened.
    """
    from stillhouse.errors import ConfigError
    from stillhouse.releases import Deployment

    output = Output(is_json=json, is_quiet=quiet)
    found = Deployment(deployment)
    needs = action in (Action.add, Action.promote)
    if needs != (what is not None):
        wanted = {Action.add: "the folder to add", Action.promote: "the version to promote"}
        told = wanted.get(action)
        raise ConfigError(
            f"release {action.value} takes {told}."
            if told
            else f"release {action.value} takes a deployment alone. Leave {what!r} out."
        )
    if action is Action.list:
        output.result(_document(found), _text(found))
    elif action is Action.add:
        version = found.add(Path(what or ""), why=why)
        output.result(
            {"version": version.id, "kind": version.kind},
            f"{version.id[:12]} is in {deployment}; put it into service: stillhouse release "
            f"promote {deployment} {version.id[:12]}",
        )
    else:
        change = (
            found.promote(what or "", why=why)
            if action is Action.promote
            else found.rollback(why=why)
        )
        before = f", after {change.previous[:12]}" if change.previous else ""
        output.result(
            change.model_dump(mode="json"), f"{change.version[:12]} is in service{before}"
        )


def _document(deployment: "Deployment") -> dict[str, Any]:
    standing = deployment.standing()
    return {
        "current": standing.current,
        "versions": deployment.versions(),
        "history": [change.model_dump(mode="json") for change in standing.history],
        "torn_lines": standing.num_torn,
    }


def _text(deployment: "Deployment") -> str:
    standing = deployment.standing()
    lines = [
        f"{version[:12]}{'  in service' if version == standing.current else ''}"
        for version in deployment.versions()
    ]
    lines += ["", *map(_line, standing.history)]
    if standing.num_torn:
        lines.append(f"{standing.num_torn} lines of the history were cut while they were written")
    return "\n".join(lines)


def _line(change: "Change") -> str:
    why = f": {change.why}" if change.why else ""
    return f"{change.utc}  {change.action:8}  {change.version[:12]}  {change.who}{why}"
