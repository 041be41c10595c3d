"""What happened to a deployment, and where it stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Record

Action = Literal["add", "promote", "rollback"]


class Change(Record):
    """One line of a deployment's history; the last move of the pointer is the pointer."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    schema_version: Literal[1] = 1
    number: int = Field(ge=1)
    """Counts changes; each has one more than the one before."""
    utc: str
    """When, in ISO 8601."""
    action: Action
    version: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the manifest of what was added, or is in service from here on."""
    previous: str | None = None
    """What was in service before; null where nothing was, and of `add`."""
    who: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a deployment stands.

    Attributes:
        current: The version in service; None before the first promotion.
        stack: Versions that were promoted and not rolled back, oldest first; the last is current.
        history: All changes, oldest first.
        num_torn: Lines of the history that no process finished writing.
    """

    current: str | None
    stack: tuple[str, ...]
    history: tuple[Change, ...]
    num_torn: int = 0


def standing_of(history: Sequence[Change], *, num_torn: int = 0) -> Standing:
    """Where a history leads: a rollback takes back the promotions after the version it names."""
    stack: list[str] = []
    for change in history:
        if change.action == "promote" and change.version not in stack[-1:]:
            stack.append(change.version)
        elif change.action == "rollback":
            while stack and stack[-1] != change.version:
                stack.pop()
            stack = stack or [change.version]
    return Standing(stack[-1] if stack else None, tuple(stack), tuple(history), num_torn)
