"""The `keys` command: keys that sign, and whom others are to trust."""

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output, table_text

if TYPE_CHECKING:
    from datetime import datetime

    from stillhouse.signing import KeyStanding, PrivateKey

KeyFolderOption = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Where the keys are.  [default: STILLHOUSE_KEYS, or ~/.config/stillhouse/keys]",
    ),
]


class Action(StrEnum):
    """What is done with keys."""

    create = "create"
    list = "list"
    rotate = "rotate"
    revoke = "revoke"
    trust = "trust"


class Why(StrEnum):
    """Why a key counts no longer."""

    superseded = "superseded"
    compromised = "compromised"


_NAMES = {
    Action.create: (1, "the name of the new key"),
    Action.list: (0, "no name"),
    Action.rotate: (2, "the name of a key and that of its successor"),
    Action.revoke: (1, "the name of a key"),
    Action.trust: (None, "the names of one or more keys"),
}


def keys(
    action: Annotated[Action, typer.Argument(help="What to do.", show_default=False)],
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Of keys.")] = None,
    folder: KeyFolderOption = None,
    days: Annotated[int, typer.Option(min=1, max=36500, help="How long a new key is valid.")] = 730,
    encrypt: Annotated[
        bool,
        typer.Option(
            "--encrypt",
            help="Encrypt the new private key with a passphrase: that of "
            "STILLHOUSE_KEY_PASSPHRASE, or one that is asked for.",
        ),
    ] = False,
    reason: Annotated[
        Why,
        typer.Option(
            help="Of revoke. superseded: what was signed before --since still counts. "
            "compromised: nothing does."
        ),
    ] = Why.superseded,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="DATE", help="Of revoke: 2026-11-29, or with a time in UTC.  [default: now]"
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of revoke: the key that says so.  [default: itself]"),
    ] = None,
    why: Annotated[str, typer.Option(help="Of revoke: for people.")] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of trust: the file to write.")
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make keys of Ed25519, and say whom to trust.

    create makes a key, rotate one that takes the place of another and is signed by it. revoke has
    a key say that it counts no longer. trust writes a file for `verify --trust` with keys, their
    successors and revocations. list shows what there is. All of it is offline (docs/signatures.md).
    """
    from datetime import UTC, datetime

    from stillhouse.errors import ConfigError
    from stillhouse.signing import Keyring, default_key_folder

    output = Output(is_json=json, is_quiet=quiet)
    ring = Keyring(folder or default_key_folder())
    given, now = names or [], datetime.now(UTC)
    wanted, told = _NAMES[action]
    if len(given) != wanted if wanted is not None else not given:
        raise ConfigError(f"keys {action.value} takes {told}; it was given {len(given)}.")
    if (out is not None) != (action is Action.trust):
        raise ConfigError("keys trust takes --out FILE, and no other action does.")
    ask = passphrase_of(given[0] if given else "")
    new = _new_passphrase if encrypt else lambda: None
    if action is Action.list:
        standings = ring.standings()
        output.result({"keys": [_document(one) for one in standings]}, _text(standings))
    elif action is Action.create:
        key = ring.create(given[0], now=now, valid_days=days, passphrase=new())
        output.result(
            key.model_dump(mode="json"),
            f"{key.name} ({key.key_id[:12]}) is in {ring.folder}, valid until "
            f"{key.valid_until_utc:%Y-%m-%d}. Sign with it: stillhouse sign DIR --key {key.name}",
        )
    elif action is Action.rotate:
        key = ring.rotate(*given, now=now, valid_days=days, ask=ask, passphrase=new())
        output.result(
            key.model_dump(mode="json"),
            f"{key.name} ({key.key_id[:12]}) takes the place of {given[0]}. What {given[0]} signed "
            f"until now still counts. Write the trust file again: stillhouse keys trust {given[0]}",
        )
    elif action is Action.revoke:
        revocation = ring.revoke(
            given[0],
            by=by,
            reason=reason.value,
            date=_date(since) or now,
            now=now,
            why=why,
            ask=passphrase_of(by or given[0]),
        )
        output.result(
            revocation.model_dump(mode="json"),
            f"{given[0]} is {reason.value} since {revocation.date_utc:%Y-%m-%d %H:%M} UTC. Write "
            f"the trust file again: stillhouse keys trust",
        )
    else:
        document = ring.trust_document(given)
        _write_trust(out or Path(), document)
        output.result(
            {"path": str(out), "keys": [one["key"]["key_id"] for one in document["keys"]]},
            f"{out} trusts {', '.join(given)}. Check with it: stillhouse verify DIR --trust {out}",
        )


def signing_key(key: str, folder: Path | None) -> "PrivateKey":
    """The private key that `--key` gives: the name of one in the key folder, or a file.

    Raises:
        ConfigError: there is none, or it cannot be used.
    """
    from stillhouse.signing import Keyring, default_key_folder, load_private_key

    if is_key_file(key):
        return load_private_key(Path(key), ask=passphrase_of(key))
    return Keyring(folder or default_key_folder()).private(key, ask=passphrase_of(key))


def is_key_file(key: str) -> bool:
    """Whether `--key` gives a file and not a name."""
    return "/" in key or os.sep in key or key.endswith((".pem", ".key"))


def passphrase_of(name: str) -> Callable[[], str] | None:
    """What asks for a key's passphrase; None where the environment has it, or nobody is there."""
    from stillhouse.signing import PASSPHRASE_VARIABLE

    if os.environ.get(PASSPHRASE_VARIABLE) or not sys.stdin.isatty():
        return None

    def ask() -> str:
        from getpass import getpass

        return getpass(f"Passphrase of {name}: ")

    return ask


def _new_passphrase() -> str:
    from getpass import getpass

    from stillhouse.errors import ConfigError
    from stillhouse.signing import PASSPHRASE_VARIABLE

    if given := os.environ.get(PASSPHRASE_VARIABLE):
        return given
    if not sys.stdin.isatty():
        raise ConfigError(
            f"--encrypt asks for a passphrase, and this is no terminal. Set {PASSPHRASE_VARIABLE}."
        )
    first = getpass("Passphrase of the new key: ")
    if getpass("Again: ") != first:
        raise ConfigError("The two passphrases differ. Try again.")
    return first


def _date(text: str | None) -> "datetime | None":
    from datetime import UTC, datetime

    from stillhouse.errors import ConfigError

    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as err:
        raise ConfigError(
            f"--since {text!r:.40} is no date. Give one such as 2026-11-29 or 2026-11-29T12:00."
        ) from err
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _write_trust(path: Path, document: dict[str, Any]) -> None:
    """Write a trust file; one that is there keeps what a person wrote into it."""
    import json

    from stillhouse.artifacts import atomic_write_bytes
    from stillhouse.signing import load_trust

    if path.exists():
        before = load_trust(path)
        document["require"] = [rule.model_dump(mode="json") for rule in before.require]
        for entry in document["keys"]:
            if known := before.keys.get(entry["key"]["key_id"]):
                entry["predicates"] = known.predicates
                entry["may_revoke"] |= known.may_revoke
    # Not in ASCII: YAML, as which it is read, has no pairs of surrogates.
    atomic_write_bytes(path, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())


def _document(standing: "KeyStanding") -> dict[str, Any]:
    revocation = standing.revocation
    return {
        **standing.key.model_dump(mode="json"),
        "is_private": standing.is_private,
        "rotated_to": standing.rotated_to,
        "revocation": revocation.model_dump(mode="json") if revocation else None,
    }


def _text(standings: "tuple[KeyStanding, ...]") -> str:
    if not standings:
        return "no keys yet; make one: stillhouse keys create NAME"
    rows = [
        [
            one.key.name,
            one.key.key_id[:12],
            f"{one.key.valid_from_utc:%Y-%m-%d}",
            f"{one.key.valid_until_utc:%Y-%m-%d}",
            "private" if one.is_private else "public",
            _state(one),
        ]
        for one in standings
    ]
    return table_text(["name", "key", "from", "until", "kind", ""], rows)


def _state(standing: "KeyStanding") -> str:
    parts = [f"rotated to {standing.rotated_to}"] if standing.rotated_to else []
    if revoked := standing.revocation:
        parts.append(f"{revoked.reason} since {revoked.date_utc:%Y-%m-%d}")
    return ", ".join(parts)
