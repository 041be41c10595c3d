"""A folder of keys, with what they say of each other.

FOLDER/
    NAME.key, NAME.key.pub   a private key and its record; of others' keys the record alone
    rotations.jsonl          one envelope a line: which key takes the place of which
    revocations.jsonl        one envelope a line: which key counts no longer
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from stillhouse.artifacts import FolderLock, atomic_write_bytes
from stillhouse.errors import ConfigError, SignatureError
from stillhouse.signing._envelope import MAX_ENVELOPE_BYTES, Envelope, open_envelope
from stillhouse.signing._keys import (
    PrivateKey,
    PublicKey,
    create_key,
    load_private_key,
    load_public_key,
    public_path,
)
from stillhouse.signing._names import check_key_name
from stillhouse.signing._reading import read_regular
from stillhouse.signing._succession import (
    Reason,
    Revocation,
    Rotation,
    revocation_of,
    rotation_of,
    sign_revocation,
    sign_rotation,
)
from stillhouse.signing._trust import TrustedKey

FOLDER_VARIABLE = "STILLHOUSE_KEYS"
_SUFFIX = ".key"
_ROTATIONS, _REVOCATIONS, _LOCK = "rotations.jsonl", "revocations.jsonl", ".lock"


@dataclass(frozen=True)
class KeyStanding:
    """Where a key of a folder stands.

    Attributes:
        key: Its record.
        is_private: Whether the private key is there too.
        rotated_to: Name of the key that took its place.
        revocation: The strictest that there is.
    """

    key: PublicKey
    is_private: bool
    rotated_to: str | None
    revocation: Revocation | None


def default_key_folder() -> Path:
    """`STILLHOUSE_KEYS`, else `stillhouse/keys` under `XDG_CONFIG_HOME` or `~/.config`."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given)
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "stillhouse" / "keys"


class Keyring:
    """The keys in a folder; several processes may use it.

    Args:
        folder: Made by the first `create`, for its owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def create(
        self,
        name: str,
        *,
        now: datetime,
        valid_days: int,
        passphrase: str | None = None,
        replaces: str | None = None,
    ) -> PublicKey:
        """Make a key that is valid from now on.

        Raises:
            ConfigError: the name or the passphrase will not do, or is taken.
        """
        check_key_name(name)
        if folded := [one for one in self._names() if one.casefold() == name.casefold()]:
            raise ConfigError(
                f"{self.folder} has a key called {folded[0]}; a key is never replaced. Choose "
                "another name."
            )
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return create_key(
            self._path(name),
            name=name,
            valid_from=now,
            valid_until=now + timedelta(days=valid_days),
            now=now,
            replaces=replaces,
            passphrase=passphrase,
        )

    def private(self, name: str, *, ask: Callable[[], str] | None = None) -> PrivateKey:
        """The private key of that name.

        Raises:
            ConfigError: there is none, or it cannot be used.
        """
        self.public(name)
        if not self._path(name).exists():
            raise ConfigError(
                f"{self.folder} has only the public record of {name}. Sign where its private key "
                "is, or take another key."
            )
        return load_private_key(self._path(name), ask=ask)

    def public(self, name: str) -> PublicKey:
        """The record of the key of that name.

        Raises:
            ConfigError: there is none.
        """
        names = self._names()
        if name not in names:
            known = ", ".join(names[:10]) or "none"
            raise ConfigError(
                f"{self.folder} has no key called {name!r:.80} (it has: {known}). Correct the "
                "name, or make the key: stillhouse keys create NAME"
            )
        key = load_public_key(public_path(self._path(name)))
        if key.name != name:
            raise ConfigError(
                f"{public_path(self._path(name))} is the record of the key {key.name}. Give the "
                "file the name of its key."
            )
        return key

    def rotate(
        self,
        name: str,
        new_name: str,
        *,
        now: datetime,
        valid_days: int,
        ask: Callable[[], str] | None = None,
        passphrase: str | None = None,
    ) -> PublicKey:
        """Make a key that takes the place of another, which says so and counts no longer.

        Raises:
            ConfigError: the old key is not there, not valid or was rotated or revoked before.
        """
        old = self.private(name, ask=ask)
        standing = self._standing(old.public)
        if standing.rotated_to or standing.revocation:
            how = f"rotated to {standing.rotated_to}" if standing.rotated_to else "revoked"
            raise ConfigError(
                f"{name} was {how}; it can have no other successor. Rotate that one, or make a "
                "key that others have to trust by itself: stillhouse keys create NAME"
            )
        # Before the new key is written: one that may not sign now must leave nothing behind.
        if not old.public.valid_from_utc <= now <= old.public.valid_until_utc:
            raise ConfigError(
                f"{name} is valid from {old.public.valid_from_utc:%Y-%m-%d} until "
                f"{old.public.valid_until_utc:%Y-%m-%d}, and it is {now:%Y-%m-%d}: it can name no "
                "successor. Make a key that others have to trust by itself: stillhouse keys create"
            )
        new = self.create(
            new_name,
            now=now,
            valid_days=valid_days,
            passphrase=passphrase,
            replaces=old.key_id,
        )
        self._append(_ROTATIONS, sign_rotation(old, new, now=now))
        return new

    def revoke(
        self,
        name: str,
        *,
        by: str | None,
        reason: Reason,
        date: datetime,
        now: datetime,
        why: str = "",
        ask: Callable[[], str] | None = None,
    ) -> Revocation:
        """Have a key, or `by`, say that it counts no longer.

        Raises:
            ConfigError: a key is not there, the signer is not valid now, or the date would undo
                the rotation of the key.
        """
        revoked = self.public(name)
        ends = [each for one, each in self._rotations() if one.key_id == revoked.key_id]
        if reason == "superseded" and ends and date < ends[0].superseded_utc:
            raise ConfigError(
                f"{name} named {ends[0].key.name} its successor on "
                f"{ends[0].superseded_utc:%Y-%m-%d %H:%M} UTC, which a revocation from "
                f"{date:%Y-%m-%d %H:%M} on would undo. Give a later date; a rotated key needs none."
            )
        signer = self.private(by or name, ask=ask)
        envelope = sign_revocation(revoked, signer, reason=reason, date=date, now=now, why=why)
        self._append(_REVOCATIONS, envelope)
        return revocation_of(open_envelope(envelope), where="The revocation")

    def standings(self) -> tuple[KeyStanding, ...]:
        """Every key, by name."""
        return tuple(self._standing(self.public(name)) for name in self._names())

    def trust_document(self, names: Sequence[str]) -> dict[str, Any]:
        """A trust file that holds these keys, those they were rotated to, and all revocations.

        Raises:
            ConfigError: a key is not there, is compromised, or was revoked by one that is not
                among these.
        """
        keys = [self.public(name) for name in names]
        for standing in map(self._standing, keys):
            if standing.revocation and standing.revocation.reason == "compromised":
                successor = standing.rotated_to or "NAME"
                raise ConfigError(
                    f"{standing.key.name} is compromised: nothing that it signed counts, and no "
                    f"key that it named. Trust its successor by itself: stillhouse keys trust "
                    f"{successor}"
                )
        revocations = self._revocations()
        known = {key.key_id for key in keys}
        rotations: list[tuple[Envelope, Rotation]] = []
        waiting = self._rotations()
        while found := [pair for pair in waiting if pair[0].key_id in known]:
            waiting = [pair for pair in waiting if pair not in found]
            rotations += found
            known |= {rotation.key.key_id for _, rotation in found}
        revoked = [pair for pair in revocations if pair[1].key_id in known]
        # A key and its successor may by themselves; others are let by whoever trusts them.
        lines = {(one.key_id, rotation.key.key_id) for one, rotation in rotations}
        others = {
            one.key_id
            for one, each in revoked
            if one.key_id != each.key_id and (each.key_id, one.key_id) not in lines
        }
        self._check_named(others - {key.key_id for key in keys})
        return {
            "schema_version": 1,
            "keys": [
                TrustedKey(key=key, may_revoke=key.key_id in others).model_dump(mode="json")
                for key in keys
            ],
            "rotations": [orjson.loads(one.to_bytes()) for one, _ in rotations],
            "revocations": [orjson.loads(one.to_bytes()) for one, _ in revoked],
            "require": [],
        }

    def _check_named(self, missing: set[str]) -> None:
        names = sorted(key.name for key in map(self.public, self._names()) if key.key_id in missing)
        if names:
            raise ConfigError(
                f"Some of these keys were revoked by {', '.join(names)}, which others have to "
                f"trust for that. Name it too: stillhouse keys trust ... {names[0]}"
            )

    def _standing(self, key: PublicKey) -> KeyStanding:
        rotated = [each for one, each in self._rotations() if one.key_id == key.key_id]
        revoked = [each for _, each in self._revocations() if each.key_id == key.key_id]
        return KeyStanding(
            key=key,
            is_private=self._path(key.name).exists(),
            rotated_to=rotated[0].key.name if rotated else None,
            revocation=min(revoked, key=lambda each: (each.reason, each.date_utc), default=None),
        )

    def _names(self) -> list[str]:
        suffix = f"{_SUFFIX}.pub"
        return sorted(path.name.removesuffix(suffix) for path in self.folder.glob(f"*{suffix}"))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{_SUFFIX}"

    def _rotations(self) -> list[tuple[Envelope, Rotation]]:
        where = str(self.folder / _ROTATIONS)
        return [
            (one, rotation_of(open_envelope(one, where=where), where=where))
            for one in self._read(_ROTATIONS)
        ]

    def _revocations(self) -> list[tuple[Envelope, Revocation]]:
        where = str(self.folder / _REVOCATIONS)
        return [
            (one, revocation_of(open_envelope(one, where=where), where=where))
            for one in self._read(_REVOCATIONS)
        ]

    def _read(self, name: str) -> list[Envelope]:
        path = self.folder / name
        if not path.exists():
            return []
        raw = read_regular(path, max_bytes=16 * MAX_ENVELOPE_BYTES)
        if not raw.endswith(b"\n"):
            raise SignatureError(f"{path} is empty or cut off. Restore it.")
        lines = raw[:-1].split(b"\n")
        return [
            Envelope.parse(line, where=f"{path}, line {number}")
            for number, line in enumerate(lines, start=1)
        ]

    def _append(self, name: str, envelope: Envelope) -> None:
        lock = FolderLock(self.folder / _LOCK, owner=self.folder)
        try:
            lines = [*self._read(name), envelope]
            atomic_write_bytes(
                self.folder / name, b"".join(one.to_bytes() + b"\n" for one in lines)
            )
        finally:
            lock.remove()
