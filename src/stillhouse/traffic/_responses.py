"""What accounts are answered with: a small file that `watch` writes and a server reads.

It names accounts by their pseudonyms under one key. Every response ends by itself, and whoever runs
the service may clear an account before, for a reason that is kept.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from stillhouse.artifacts import FolderLock, atomic_write_bytes
from stillhouse.errors import ConfigError, DataError
from stillhouse.records import Record, canonical_json
from stillhouse.signing import read_regular
from stillhouse.traffic._results import WatchResults

ResponseStep = Literal["log", "customer_key", "throttle", "verify"]
RESPONSES: tuple[ResponseStep, ...] = ("log", "customer_key", "throttle", "verify")
"""From the mildest on; a sharper one takes in the milder ones."""

MAX_ACCOUNTS = 100_000
_MAX_FILE_BYTES = 64 << 20
_Pseudonym = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Chance = Annotated[float, Field(ge=0.0, le=1.0)]


class Response(Record):
    """How one account is answered."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    account: _Pseudonym
    step: ResponseStep
    since: AwareDatetime
    until: AwareDatetime
    """It ends by itself, unless the account is found again."""
    p_value: _Chance
    adjusted: _Chance
    """The smallest false discovery rate at which the account was found."""
    rate: _Chance
    """That of the step."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.until <= self.since:
            raise ValueError(f"account {self.account}: until is not after since")
        return self


class Clearing(Record):
    """An account that is not answered, whatever is found, and why."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    account: _Pseudonym
    at: AwareDatetime
    until: AwareDatetime
    """From then on it is answered again where it is found."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    step: ResponseStep | None = None
    """What it was answered with until then."""


class Responses(Record):
    """All of them, each account once, in the order of pseudonyms."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    kind: Literal["stillhouse/traffic/responses"] = "stillhouse/traffic/responses"
    version: Literal[1] = 1
    key: _Sha256
    """Id of the key that pseudonyms are under."""
    at: AwareDatetime
    """When it was written."""
    accounts: Annotated[tuple[Response, ...], Field(max_length=MAX_ACCOUNTS)] = ()
    cleared: Annotated[tuple[Clearing, ...], Field(max_length=MAX_ACCOUNTS)] = ()

    @model_validator(mode="after")
    def _once(self) -> Self:
        for name, found in (("accounts", self.accounts), ("cleared", self.cleared)):
            names = [one.account for one in found]
            if names != sorted(set(names)):
                raise ValueError(f"{name} are not in order, each once")
        if both := {one.account for one in self.accounts} & {one.account for one in self.cleared}:
            raise ValueError(f"account {min(both)} is answered and cleared")
        return self

    def check_key(self, key_id: str) -> None:
        """Refuse pseudonyms under another key.

        Raises:
            ConfigError: they are.
        """
        if self.key != key_id:
            raise ConfigError(
                f"The responses are to accounts under key {self.key[:12]}, and the key given is "
                f"{key_id[:12]}. Give the key of the access log that was watched."
            )

    def renewed(self, results: WatchResults, *, now: datetime) -> "Responses":
        """With what a log that was watched now comes to.

        An account that is found is answered with the step of now, for `response_days` from now on.
        One that is not found keeps its response until that ends. Cleared ones are left out.

        Raises:
            ConfigError: the log was watched under another key.
            DataError: more accounts are answered than a file may hold.
        """
        self.check_key(results.key)
        cleared = {one.account: one for one in self.cleared if one.until > now}
        answered = {one.account: one for one in self.accounts if one.until > now}
        rates = {step.step: step.rate for step in results.steps}
        until = now + timedelta(days=results.config.response_days)
        for found in results.accounts:
            if found.step == "none" or found.account in cleared:
                continue
            before = answered.get(found.account)
            answered[found.account] = Response(
                account=found.account,
                step=found.step,
                since=now if before is None else before.since,
                until=until,
                p_value=found.p_value,
                adjusted=found.adjusted,
                rate=rates[found.step],
            )
        if len(answered) > MAX_ACCOUNTS:
            raise DataError(
                f"{len(answered):,} accounts are answered, and a file holds {MAX_ACCOUNTS:,}. "
                "Lower the rates, or watch each service by itself."
            )
        return self._with(now, answered, cleared)

    def without(self, account: str, *, reason: str, now: datetime, days: float) -> "Responses":
        """With an account cleared for some days.

        Raises:
            ConfigError: the account is no pseudonym, or no reason or no time is given.
        """
        cleared = {one.account: one for one in self.cleared if one.until > now}
        answered = {one.account: one for one in self.accounts if one.until > now}
        before = answered.pop(account, None)
        try:
            clearing = Clearing(
                account=account,
                at=now,
                until=now + timedelta(days=days),
                reason=" ".join(reason.split()),
                step=None if before is None else before.step,
            )
        except ValidationError as err:
            raise ConfigError(
                f"Account {account!r:.40} cannot be cleared ({_reason(err)}). Give its pseudonym "
                "of 16 hex digits and a reason of at most 1,000 characters."
            ) from err
        return self._with(now, answered, {**cleared, account: clearing})

    def _with(
        self, now: datetime, answered: dict[str, Response], cleared: dict[str, Clearing]
    ) -> "Responses":
        return Responses(
            key=self.key,
            at=now,
            accounts=tuple(answered[name] for name in sorted(answered)),
            cleared=tuple(cleared[name] for name in sorted(cleared)),
        )


def read_responses(path: Path) -> Responses:
    """The responses in a file.

    Raises:
        ConfigError: it cannot be read, or others may change it.
        DataError: it holds anything else, or is cut off.
    """
    raw = read_regular(path, max_bytes=_MAX_FILE_BYTES)
    rights = path.stat().st_mode & 0o777
    if os.name != "nt" and rights & 0o022:
        raise ConfigError(
            f"{path} has rights {rights:o}: others may decide who is answered how. chmod 600 it, "
            "and look whether it still says what watch wrote."
        )
    try:
        return Responses.model_validate_json(raw)
    except ValidationError as err:
        raise DataError(
            f"{path} holds no responses ({_reason(err)}). Restore it, or let `stillhouse watch "
            "--responses FILE` write it where nothing is."
        ) from err


def change_responses(
    path: Path, key_id: str | None, change: Callable[[Responses], Responses]
) -> Responses:
    """Write anew what a file holds; one process at a time.

    Args:
        path: The file.
        key_id: Of the key where there is no file yet; None where there has to be one.
        change: Gives what is to be written, of what is there.

    Raises:
        ConfigError, DataError: as in `read_responses`, or nothing is there, or it cannot be
            written.
        FolderBusyError: another process changes it.
    """
    try:
        lock = FolderLock(path.with_name(f".{path.name}.lock"), owner=path)
    except OSError as err:
        raise _unwritable(path, err) from err
    try:
        if key_id is not None and not os.path.lexists(path):
            before = Responses(key=key_id, at=datetime.now(UTC))
        else:
            before = read_responses(path)
        after = change(before)
        atomic_write_bytes(path, canonical_json(after) + b"\n", mode=0o600)
    except OSError as err:
        raise _unwritable(path, err) from err
    finally:
        lock.remove()
    return after


def _unwritable(path: Path, err: OSError) -> ConfigError:
    return ConfigError(f"{path} cannot be written ({err.strerror}). Give another place.")


def _reason(err: ValidationError) -> str:
    first = err.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    told = str(first["msg"]).removeprefix("Value error, ")
    return f"{place}: {told}" if place else told
