"""Whether a signature counts for a reader."""

from datetime import datetime, timedelta

from stillhouse.errors import SignatureError
from stillhouse.signing._envelope import Envelope, open_envelope, signer_of
from stillhouse.signing._statement import Statement, Subject
from stillhouse.signing._trust import Trust, time_problem

# Clocks of two machines differ; more than this is a wrong one.
_MAX_SKEW = timedelta(minutes=5)


def check(
    envelope: Envelope,
    trust: Trust,
    *,
    predicate_type: str,
    subject: Subject | None,
    now: datetime,
    where: str = "The envelope",
) -> Statement:
    """The statement in `envelope`, if it is what the caller needs and its signature counts.

    Args:
        envelope: What was read.
        trust: Whom the reader trusts.
        predicate_type: The type of statement that is needed.
        subject: What it must be about: the SHA-256 counts, the name is for people. None: anything.
        now: The clock.
        where: How a message begins: a file, a line.

    Raises:
        SignatureError: a byte was changed; another type of statement; another subject; a key that
            is not trusted, or not with this type; signed in the future, before or after the key's
            validity, or with a key that was revoked.
    """
    statement = open_envelope(envelope, where=where)
    if statement.predicate_type != predicate_type:
        raise SignatureError(
            f"{where} is a statement of the type {statement.predicate_type!r:.100}; "
            f"{predicate_type} is needed."
        )
    check_subject(statement, subject, where=where)
    check_signer(statement, trust, now=now, where=where)
    return statement


def check_subject(statement: Statement, subject: Subject | None, *, where: str) -> None:
    """Refuse a statement about another thing.

    Raises:
        SignatureError: no subject of it has the SHA-256 of `subject`.
    """
    if subject is not None and all(one.sha256 != subject.sha256 for one in statement.subjects):
        about = ", ".join(f"{one.name} ({one.sha256[:12]})" for one in statement.subjects[:3])
        raise SignatureError(
            f"{where} was signed for something else: it is about {about}, not about "
            f"{subject.name} ({subject.sha256[:12]}). Put it back where it belongs, and sign this."
        )


def check_signer(statement: Statement, trust: Trust, *, now: datetime, where: str) -> None:
    """Refuse a statement whose signature does not count for this reader.

    Raises:
        SignatureError: see `check`.
    """
    signer = signer_of(statement)
    trusted = trust.keys.get(signer.key.key_id)
    if trusted is None and (reason := trust.not_followed.get(signer.key.key_id)):
        raise SignatureError(
            f"{where} is signed by {signer.key.name!r} ({signer.key.key_id}), to which a rotation "
            f"leads that does not count: {reason}. If the key is right, trust it by itself."
        )
    if trusted is None:
        raise SignatureError(
            f"{where} is signed by {signer.key.name!r} ({signer.key.key_id}), a key that the trust "
            "file does not have. If you know whose it is, add it there; else do not rely on this."
        )
    if signer.key.name != trusted.key.name:
        # Else whoever has any trusted key could sign in the name of another.
        raise SignatureError(
            f"{where} is signed by a key that calls itself {signer.key.name!r} and that the trust "
            f"file knows as {trusted.key.name!r}. Have it signed under that name."
        )
    if trusted.predicates is not None and statement.predicate_type not in trusted.predicates:
        raise SignatureError(
            f"{where} is signed by {trusted.key.name}, which is not trusted with statements of the "
            f"type {statement.predicate_type!r:.100}. Add it to the key's predicates if it should."
        )
    if signer.signed_utc > now + _MAX_SKEW:
        raise SignatureError(
            f"{where} was signed on {signer.signed_utc:%Y-%m-%d %H:%M} UTC, which lies ahead: it "
            f"is {now:%Y-%m-%d %H:%M}. Correct the clock of this machine, or of the signer's."
        )
    problem = time_problem(
        trusted, trust.revocations.get(trusted.key.key_id, ()), signer.signed_utc
    )
    if problem:
        raise SignatureError(f"{where} does not count: {problem}. Have it signed again.")
