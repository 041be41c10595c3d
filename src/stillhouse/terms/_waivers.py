"""Waivers: an owner's written permission, signed. There is no other way around a clause."""

import hashlib
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from pydantic import Field, ValidationError

from stillhouse.artifacts import atomic_write_bytes
from stillhouse.errors import ConfigError, SignatureError
from stillhouse.records import Record, content_hash
from stillhouse.signing import (
    PrivateKey,
    Statement,
    Subject,
    Trust,
    check,
    read_envelope,
    sign,
    signer_of,
)
from stillhouse.terms._names import check_plain
from stillhouse.terms._records import Role, WaiverUse
from stillhouse.terms._registry import Registry

WAIVER_TYPE = "https://stillhouse.dev/attestation/waiver/v1"


class Permission(Record):
    """What an owner permits, to whom and until when: the predicate of a waiver."""

    owner: str = Field(min_length=1)
    """Who permits, as the signing key is called."""
    source: str = Field(min_length=1)
    """Registry id."""
    clauses: tuple[str, ...] = Field(min_length=1)
    """Ids of the clauses that do not bind."""
    grantee: str = Field(min_length=1)
    """Who is permitted, as the declaration's `licensee`."""
    scope: str = Field(min_length=1)
    """What for, in the owner's words."""
    teacher: str = Field(min_length=1)
    """Pattern of the teachers that it is for, such as `openai:gpt-5*`."""
    valid_until: date


class Waiver(Permission):
    """A permission whose signature was checked."""

    key_id: str
    envelope_sha256: str

    def covers(self, role: Role, name: str, source: str) -> bool:
        """Whether it is for this teacher under this source."""
        return role == "teacher" and source == self.source and fnmatchcase(name, self.teacher)

    def use(self) -> WaiverUse:
        """As the record has it."""
        return WaiverUse(
            owner=self.owner,
            source=self.source,
            clauses=self.clauses,
            grantee=self.grantee,
            scope=self.scope,
            teacher=self.teacher,
            valid_until=self.valid_until.isoformat(),
            key_id=self.key_id,
            envelope_sha256=self.envelope_sha256,
        )


def write_waiver(
    path: Path, permission: Permission, key: PrivateKey, *, registry: Registry, now: datetime
) -> None:
    """Sign `permission` and write the envelope to `path`.

    Raises:
        ConfigError: the registry has no such source or clause, the permission has ended, the key is
            not valid or is called otherwise than the owner, or something is at `path`.
    """
    _check_known(permission, registry, where="The waiver")
    check_plain(permission.teacher, what="The waiver's teacher")
    if permission.valid_until < now.date():
        raise ConfigError(
            f"The waiver would be valid until {permission.valid_until}, which has passed. Give a "
            "day that lies ahead."
        )
    if key.public.name != permission.owner:
        raise ConfigError(
            f"The waiver is by {permission.owner!r}, but the key is called {key.public.name!r}. An "
            "owner permits with a key of their own name."
        )
    if path.exists():
        raise ConfigError(f"{path} exists. Give another --out.")
    statement = Statement(
        subjects=(_subject(permission),),
        predicate_type=WAIVER_TYPE,
        predicate=permission.model_dump(mode="json"),
    )
    atomic_write_bytes(path, sign(statement, key, now=now).to_bytes() + b"\n")


def read_waiver(
    path: Path, trust: Trust, *, registry: Registry, licensee: str, now: datetime
) -> Waiver:
    """The waiver in `path`, if it is sound and counts today for this licensee.

    Raises:
        ConfigError: the file cannot be read, the registry has no such source or clause, it has
            ended, or is for somebody else.
        SignatureError: it was altered, is signed by an untrusted key or by another than its owner.
    """
    where = f"The waiver {path}"
    envelope = read_envelope(path)
    statement = check(
        envelope, trust, predicate_type=WAIVER_TYPE, subject=None, now=now, where=where
    )
    try:
        permission = Permission.model_validate(statement.predicate)
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        raise SignatureError(
            f"{where} is no waiver of version 1: {field}: {first['msg']}."
        ) from err
    signer = signer_of(statement).key
    if signer.name != permission.owner:
        raise SignatureError(
            f"{where} is by {permission.owner!r}, but signed by {signer.name!r}. Only the owner's "
            "own key permits."
        )
    if statement.subjects != (_subject(permission),):
        raise SignatureError(f"{where} was signed for something else than it says. Have it remade.")
    _check_known(permission, registry, where=where)
    if permission.valid_until < now.date():
        raise ConfigError(
            f"{where} ended on {permission.valid_until}. Ask {permission.owner} for a new one, or "
            "take it out of the declaration."
        )
    if permission.grantee != licensee:
        raise ConfigError(
            f"{where} permits {permission.grantee!r}, and the declaration's licensee is "
            f"{licensee!r}. Ask {permission.owner} for one of your own."
        )
    return Waiver(
        **permission.model_dump(),
        key_id=signer.key_id,
        envelope_sha256=hashlib.sha256(envelope.to_bytes()).hexdigest(),
    )


def why_not(waiver: Waiver, teacher: str, source: str) -> str | None:
    """Why a waiver does not help a teacher, as a sentence; None where it is of another source."""
    if waiver.source != source or fnmatchcase(teacher, waiver.teacher):
        return None
    return f"The waiver by {waiver.owner} is for {waiver.teacher!r}, another teacher."


def _check_known(permission: Permission, registry: Registry, *, where: str) -> None:
    source = registry.source(permission.source, where=where)
    known = {clause.id for clause in source.clauses}
    unknown = sorted(set(permission.clauses) - known)
    if unknown:
        raise ConfigError(
            f"{where} names {unknown[0]!r}, which is no clause of {source.id}. See: stillhouse "
            f"terms show {source.id}"
        )


def _subject(permission: Permission) -> Subject:
    content = {"source": permission.source, "clauses": list(permission.clauses)}
    return Subject(name=permission.source, sha256=content_hash(content))
