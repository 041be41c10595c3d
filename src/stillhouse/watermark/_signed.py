"""A profile as a file: an in-toto statement in a DSSE envelope, signed by whoever made it."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from stillhouse.artifacts import atomic_write_bytes
from stillhouse.errors import ConfigError, SignatureError
from stillhouse.records import canonical_json
from stillhouse.signing import (
    PrivateKey,
    Signer,
    Statement,
    Subject,
    Trust,
    check_signer,
    open_envelope,
    read_envelope,
    sign,
    signer_of,
)
from stillhouse.watermark._profile import Profile

PROFILE_TYPE = "https://stillhouse.dev/attestation/watermark-profile/v1"


@dataclass(frozen=True, slots=True)
class SignedProfile:
    """A profile whose signature fits.

    Attributes:
        profile: What was signed.
        signer: Who signed it, and when. Whose key it is only a trust file tells.
    """

    profile: Profile
    signer: Signer


def write_profile(path: Path, profile: Profile, key: PrivateKey, *, now: datetime) -> None:
    """Sign a profile and write it where there is no file yet.

    Args:
        path: The file; a profile in use is never replaced.
        profile: What is signed.
        key: Who signs.
        now: The clock.

    Raises:
        ConfigError: there is a file of that name, it cannot be written, or the key is not valid.
    """
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} exists; a profile is never replaced. Choose another name.")
    subject = Subject(name=f"watermark profile {profile.scheme}", sha256=profile.profile_id)
    statement = Statement(
        subjects=(subject,), predicate_type=PROFILE_TYPE, predicate=profile.model_dump(mode="json")
    )
    envelope = sign(statement, key, now=now)
    try:
        atomic_write_bytes(path, envelope.to_bytes() + b"\n")
    except OSError as err:
        raise ConfigError(
            f"{path} cannot be written ({err.strerror}). Give another place."
        ) from err


def read_profile(
    path: Path, *, trust: Trust | None = None, now: datetime | None = None
) -> SignedProfile:
    """The profile in a file that `write_profile` wrote.

    Args:
        path: The file.
        trust: Whom the reader trusts; None checks only that no byte was changed.
        now: The clock; needed with `trust`.

    Raises:
        ConfigError: the file cannot be read.
        SignatureError: a byte was changed, it is no profile, of a version or with a PRF that is
            not known here, or its signature does not count for the reader.
    """
    statement = open_envelope(read_envelope(path), where=str(path))
    if statement.predicate_type != PROFILE_TYPE:
        raise SignatureError(
            f"{path} is a statement of the type {statement.predicate_type!r:.100}, not a watermark "
            "profile. Give the file that `stillhouse watermark profile` wrote."
        )
    try:
        profile = Profile.model_validate_json(canonical_json(statement.predicate))
    except ValueError as err:
        raise SignatureError(f"{path} is no profile that is known here: {_first(err)}.") from err
    if statement.subjects[0].sha256 != profile.profile_id:
        raise SignatureError(
            f"{path} names another profile ({statement.subjects[0].sha256[:12]}) than it holds "
            f"({profile.profile_id[:12]}). Restore it."
        )
    if trust is not None:
        if now is None:
            raise ConfigError("A trust file is held against a clock, and no time was given.")
        check_signer(statement, trust, now=now, where=str(path))
    return SignedProfile(profile, signer_of(statement))


def _first(err: ValueError) -> str:
    from pydantic import ValidationError

    if not isinstance(err, ValidationError):
        return str(err)
    first = err.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place + ': ' if place else ''}{first['msg'].removeprefix('Value error, ')}"
