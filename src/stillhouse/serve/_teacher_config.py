"""How a cascade and its teacher are served."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stillhouse.errors import ConfigError

OnBreach = Literal["teacher", "rollback"]
"""What a breach of a deployment does: the teacher answers, or the version before comes back too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherConfig:
    """How the teacher of a cascade is asked.

    Attributes:
        spec: Who it is, as `teachers` reads it, such as `openai:gpt-5-mini`.
        ledger: Where every call is recorded; None for a file beside the cascade. An address
            `http(s)://HOST/v1#MODEL` without a ledger and a budget is asked directly: behind it
            may be a proxy that records.
        budget_usd: The most that may be paid by all calls of the ledger; None sets no limit.
        reuses: Whether a request at temperature 0 that equals an earlier one gets its answer.
        prices: The user's own prices (docs/prices.md).
        terms: What was declared of the student, a file; None takes that of the environment.

    Raises:
        ConfigError: the budget is no amount of money.
    """

    spec: str
    ledger: Path | None = None
    budget_usd: float | None = None
    reuses: bool = False
    prices: Path | None = None
    terms: Path | None = None

    def __post_init__(self) -> None:
        if self.budget_usd is not None and not 0 <= self.budget_usd < float("inf"):
            raise ConfigError(f"--budget is {self.budget_usd:g}; give USD, at least 0.")

    @property
    def is_address(self) -> bool:
        """Whether it is the address of a server."""
        return self.spec.startswith(("http://", "https://"))

    @property
    def is_direct(self) -> bool:
        """Whether nothing of it is recorded here."""
        needs_ledger = self.ledger is not None or self.budget_usd is not None or self.reuses
        return self.is_address and not needs_ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeConfig:
    """How a cascade is served.

    Attributes:
        teacher: Who answers what the student may not.
        memory: Where its watch is kept; None for a file beside its folder.
        shadow: Folder of another student or cascade of the task that reads along.
        stands_in: Whether the student answers where the teacher cannot, without a certificate.
    """

    teacher: TeacherConfig
    memory: Path | None = None
    shadow: Path | None = None
    stands_in: bool = False
