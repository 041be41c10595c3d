"""Statements about keys: one takes the place of another, one counts no longer."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from stillhouse.errors import SignatureError
from stillhouse.records import Record
from stillhouse.signing._envelope import Envelope, sign
from stillhouse.signing._keys import SHA256, PrivateKey, PublicKey
from stillhouse.signing._reading import Moment, check_predicate, to_second
from stillhouse.signing._statement import Statement, Subject

ROTATION_TYPE = "https://stillhouse.dev/attestation/key-rotation/v1"
REVOCATION_TYPE = "https://stillhouse.dev/attestation/key-revocation/v1"

Reason = Literal["superseded", "compromised"]


class Rotation(Record):
    """What a key says of the one that takes its place."""

    key: PublicKey
    superseded_utc: Moment
    """From here on the old key counts no longer."""


class Revocation(Record):
    """A key counts no longer: from `date_utc` on, or where it is compromised never."""

    key_id: str = Field(pattern=SHA256)
    reason: Reason
    date_utc: Moment
    why: str = Field(default="", max_length=1000)


def sign_rotation(old: PrivateKey, new: PublicKey, *, now: datetime) -> Envelope:
    """`old` says that `new` takes its place from now on."""
    predicate = Rotation(key=new, superseded_utc=to_second(now)).model_dump(mode="json")
    subject = Subject(name=new.name, sha256=new.key_id)
    statement = Statement(subjects=(subject,), predicate_type=ROTATION_TYPE, predicate=predicate)
    return sign(statement, old, now=now)


def sign_revocation(
    revoked: PublicKey,
    signer: PrivateKey,
    *,
    reason: Reason,
    date: datetime,
    now: datetime,
    why: str = "",
) -> Envelope:
    """`signer` says that `revoked` counts no longer; it may be the same key.

    Args:
        revoked: Which key.
        signer: Who says so.
        reason: `superseded`: what it signed before `date` stays. `compromised`: nothing does.
        date: From when on.
        now: The clock.
        why: For people.
    """
    revocation = Revocation(key_id=revoked.key_id, reason=reason, date_utc=to_second(date), why=why)
    statement = Statement(
        subjects=(Subject(name=revoked.name, sha256=revoked.key_id),),
        predicate_type=REVOCATION_TYPE,
        predicate=revocation.model_dump(mode="json"),
    )
    return sign(statement, signer, now=now)


def rotation_of(statement: Statement, *, where: str) -> Rotation:
    """The rotation that a statement of `ROTATION_TYPE` is.

    Raises:
        SignatureError: it is none, or is about another key than it says.
    """
    rotation = check_predicate(Rotation, statement.predicate, where=where)
    _check_subject(statement, rotation.key.key_id, where=where)
    return rotation


def revocation_of(statement: Statement, *, where: str) -> Revocation:
    """The revocation that a statement of `REVOCATION_TYPE` is.

    Raises:
        SignatureError: it is none, or is about another key than it says.
    """
    revocation = check_predicate(Revocation, statement.predicate, where=where)
    _check_subject(statement, revocation.key_id, where=where)
    return revocation


def _check_subject(statement: Statement, key_id: str, *, where: str) -> None:
    if [one.sha256 for one in statement.subjects] != [key_id]:
        raise SignatureError(f"{where} is about another key than its subject. Restore it.")
