"""Whom the reader of signatures trusts: a file that they write themselves.

It holds public keys, what each may say, the rotations and revocations that came since, and which
artefacts must be signed by whom. Nobody signs it: whoever may change it decides whom to trust.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import Field

from stillhouse.errors import ConfigError, SignatureError
from stillhouse.records import Record
from stillhouse.settings import check_settings, parse_yaml
from stillhouse.signing._envelope import Envelope, open_envelope, read_envelope, signer_of
from stillhouse.signing._keys import PublicKey, load_public_key
from stillhouse.signing._reading import canonical_of, read_regular
from stillhouse.signing._statement import Statement
from stillhouse.signing._succession import (
    REVOCATION_TYPE,
    ROTATION_TYPE,
    Revocation,
    revocation_of,
    rotation_of,
)

_MAX_TRUST_BYTES = 1 << 20  # YAML takes seconds for more


class TrustedKey(Record):
    """A key that is trusted, and with what."""

    key: PublicKey
    predicates: tuple[str, ...] | None = None
    """The types of statement that it may sign; any where None. What a key says of itself, and of
    its successor, needs no leave."""
    may_revoke: bool = False
    """Whether it may revoke other keys."""


class RequiredSigner(Record):
    """Which artefacts of a lineage must be signed by whom."""

    kinds: tuple[str, ...] = Field(min_length=1)
    """Kinds of artefact; `*` stands for all."""
    signed_by: tuple[str, ...] = Field(min_length=1)
    """Names or ids of trusted keys, one of which must have signed."""


class _TrustFile(Record):
    schema_version: Literal[1]
    keys: tuple[TrustedKey, ...] = Field(min_length=1)
    rotations: tuple[dict[str, Any], ...] = ()
    revocations: tuple[dict[str, Any], ...] = ()
    require: tuple[RequiredSigner, ...] = ()


@dataclass(frozen=True)
class Trust:
    """Keys by id, those that a rotation brought in included.

    Attributes:
        keys: By their ids.
        revocations: By the id of the key, in no order.
        require: Which artefacts must be signed by whom.
        not_followed: By the id of a key to which a rotation leads that does not count: why not.
    """

    keys: Mapping[str, TrustedKey]
    revocations: Mapping[str, tuple[Revocation, ...]] = field(default_factory=dict)
    require: tuple[RequiredSigner, ...] = ()
    not_followed: Mapping[str, str] = field(default_factory=dict)


def load_trust(path: Path) -> Trust:
    """The trust file in `path`, YAML or JSON.

    An entry of `keys` may give the path of a `.pub` file for `key`, and one of `rotations` and
    `revocations` the path of an envelope; paths start at the folder of the trust file.

    Raises:
        ConfigError: it cannot be read, has an unknown or wrong field, gives a key or a name
            twice, or requires a signer that it does not have.
        SignatureError: a rotation or revocation is damaged, or signed by nobody who may.
    """
    raw = read_regular(path, max_bytes=_MAX_TRUST_BYTES)
    try:
        data = parse_yaml(raw.decode("utf-8-sig"), where=str(path))
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path} is not UTF-8 (byte {err.start}). Save it as UTF-8.") from err
    if not isinstance(data, dict):
        raise ConfigError(f"{path} is no trust file: it must hold schema_version and keys.")
    found = check_settings(_TrustFile, _with_files(data, path.parent), where=str(path))
    return _resolved(found, where=str(path))


def _with_files(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same with the content of the files that it names."""
    with_files = dict(data)
    if isinstance(keys := data.get("keys"), list):
        with_files["keys"] = [
            {**one, "key": load_public_key(folder / one["key"]).model_dump(mode="json")}
            if isinstance(one, dict) and isinstance(one.get("key"), str)
            else one
            for one in keys
        ]
    for name in ("rotations", "revocations"):
        if isinstance(given := data.get(name), list):
            with_files[name] = [
                orjson.loads(read_envelope(folder / one).to_bytes())
                if isinstance(one, str)
                else one
                for one in given
            ]
    return with_files


def _resolved(found: _TrustFile, *, where: str) -> Trust:
    keys = {one.key.key_id: one for one in found.keys}
    if len(keys) != len(found.keys):
        raise ConfigError(f"{where} gives a key twice. Leave one of the entries out.")
    rotations = [
        _opened(data, ROTATION_TYPE, where=f"{where}: rotations {number}")
        for number, data in enumerate(found.rotations)
    ]
    revocations = [
        _opened(data, REVOCATION_TYPE, where=f"{where}: revocations {number}")
        for number, data in enumerate(found.revocations)
    ]
    revoked: dict[str, list[Revocation]] = {}
    successors = {
        rotation_of(one, where=where).key.key_id: signer_of(one).key.key_id for one in rotations
    }
    for statement in revocations:
        revocation = revocation_of(statement, where=where)
        _check_may_revoke(statement, revocation, keys, successors, where=where)
        revoked.setdefault(revocation.key_id, []).append(revocation)
    not_followed = _follow(rotations, keys, revoked, where=where)
    _check_names(keys.values(), where=where)
    _check_required(found.require, keys.values(), where=where)
    by_key = {key: tuple(each) for key, each in revoked.items()}
    return Trust(keys, by_key, found.require, not_followed)


def _opened(data: dict[str, Any], kind: str, *, where: str) -> Statement:
    statement = open_envelope(
        Envelope.parse(canonical_of(data, where=where), where=where), where=where
    )
    if statement.predicate_type != kind:
        raise SignatureError(
            f"{where} is a statement of the type {statement.predicate_type!r:.100}; {kind} is "
            "needed there. Move it."
        )
    return statement


def _check_may_revoke(
    statement: Statement,
    revocation: Revocation,
    keys: Mapping[str, TrustedKey],
    successors: Mapping[str, str],
    *,
    where: str,
) -> None:
    """Refuse a revocation by another than the key itself, its successor, or one that may."""
    signer = signer_of(statement).key.key_id
    by_right = signer in keys and keys[signer].may_revoke
    if signer != revocation.key_id and successors.get(signer) != revocation.key_id and not by_right:
        raise SignatureError(
            f"{where}: the revocation of {statement.subjects[0].name} is signed by "
            f"{signer_of(statement).key.name}, which is neither that key nor its successor, and "
            "has no may_revoke. Take it out, or let its signer revoke."
        )


def _follow(
    rotations: Iterable[Statement],
    keys: dict[str, TrustedKey],
    revoked: dict[str, list[Revocation]],
    *,
    where: str,
) -> dict[str, str]:
    """Trust the keys that trusted ones were rotated to, in the order of the rotations' times.

    A rotation that does not count, such as one by a key that was stolen, is not followed.

    Returns:
        By the ids of the keys to which those lead: why they were not followed.
    """
    not_followed: dict[str, str] = {}
    waiting = sorted(rotations, key=lambda one: signer_of(one).signed_utc)
    while waiting:
        # Those by trusted keys first: a key may be reached by two rotations, one of which counts.
        statement = _by_any(waiting, keys) or _by_any(waiting, not_followed)
        if statement is None:
            names = ", ".join(sorted(signer_of(one).key.name for one in waiting)[:10])
            raise SignatureError(
                f"{where}: rotations are signed by keys that are not trusted ({names}). Trust "
                "those, or take the rotations out."
            )
        waiting.remove(statement)
        rotation, signer = rotation_of(statement, where=where), signer_of(statement)
        old, new = signer.key.key_id, rotation.key.key_id
        problem = (
            time_problem(keys[old], revoked.get(old, ()), signer.signed_utc)
            if old in keys
            else not_followed[old]
        )
        if problem:
            not_followed[new] = problem
            continue
        keys.setdefault(new, keys[old].model_copy(update={"key": rotation.key}))
        superseded = Revocation(
            key_id=old,
            reason="superseded",
            date_utc=rotation.superseded_utc,
            why=f"rotated to {rotation.key.name}",
        )
        revoked.setdefault(old, []).append(superseded)
    return {key: reason for key, reason in not_followed.items() if key not in keys}


def _by_any(rotations: Iterable[Statement], keys: Mapping[str, object]) -> Statement | None:
    """The first that one of these keys signed."""
    return next((one for one in rotations if signer_of(one).key.key_id in keys), None)


def time_problem(
    trusted: TrustedKey, revocations: Iterable[Revocation], signed_utc: datetime
) -> str | None:
    """Why what a key signed at `signed_utc` does not count; None where it does."""
    key = trusted.key
    if signed_utc < key.valid_from_utc:
        return (
            f"the key {key.name} was not yet valid when it signed ({signed_utc:%Y-%m-%d %H:%M} "
            f"UTC; valid from {key.valid_from_utc:%Y-%m-%d})"
        )
    if signed_utc > key.valid_until_utc:
        return (
            f"the key {key.name} had expired when it signed ({signed_utc:%Y-%m-%d %H:%M} UTC; "
            f"valid until {key.valid_until_utc:%Y-%m-%d})"
        )
    for one in sorted(revocations, key=lambda each: (each.reason, each.date_utc)):
        if one.reason == "compromised" or signed_utc > one.date_utc:
            why = f": {one.why}" if one.why else ""
            scope = "nothing that it signed counts" if one.reason == "compromised" else "later"
            when = f"({scope}; it signed on {signed_utc:%Y-%m-%d %H:%M} UTC)"
            return (
                f"the key {key.name} was revoked as {one.reason} on {one.date_utc:%Y-%m-%d}{why} "
                f"{when}"
            )
    return None


def _check_names(keys: Iterable[TrustedKey], *, where: str) -> None:
    seen: dict[str, str] = {}
    for one in keys:
        folded = one.key.name.casefold()
        if folded in seen:
            raise ConfigError(
                f"{where}: two keys are called {one.key.name!r} ({seen[folded][:12]}, "
                f"{one.key.key_id[:12]}), so that nobody can tell them apart. Trust one of them, "
                "or have the other one made under another name."
            )
        seen[folded] = one.key.key_id


def _check_required(
    required: Iterable[RequiredSigner], keys: Iterable[TrustedKey], *, where: str
) -> None:
    known = {name for one in keys for name in (one.key.name, one.key.key_id)}
    for rule in required:
        for name in rule.signed_by:
            if name not in known:
                raise ConfigError(
                    f"{where}: require asks for the signer {name!r:.80}, which is not among its "
                    "keys. Add the key, or correct the name."
                )
