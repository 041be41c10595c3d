"""How traffic is watched."""

from pathlib import Path
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator

from stillhouse.records import Record

Procedure = Literal["bh", "by", "e-bh"]


class AccessLogConfig(Record):
    """Where a server logs who asked what sort of thing."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    folder: Path
    """Gets the files; made if it is missing. Nobody but its owner can read them."""
    key: Path
    """File of the key that requests and accounts are hashed under; made if it is missing."""
    reference: Path | None = None
    """What is usual, as `watch --fit` wrote it; with it, accounts are watched."""


class ResponsesConfig(Record):
    """How a server answers accounts that stand out."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    file: Path
    """What `watch --responses` wrote; read again when it changes."""
    key: Path
    """File of the key that accounts are hashed under."""
    contact: str
    """Whom an account that is slowed down or asked who it is can turn to; told with the refusal."""
    live_step: Literal["log", "customer_key", "throttle", "verify"] = "log"
    """The sharpest response to an account that the server itself finds to stand out."""
    throttle_per_minute: float = Field(default=6.0, gt=0.0, le=60_000.0)
    """Answers that an account that is slowed down gets in a minute, and at once."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> Self:
        if not self.contact.strip() or len(self.contact) > 500 or not self.contact.isprintable():
            raise ValueError("contact must be a line of 1 to 500 characters")
        return self


class TrafficConfig(Record):
    """How traffic is watched, and from which false discovery rate on what is answered."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    procedure: Procedure = "bh"
    """How the false discovery rate over accounts is controlled: `bh` (Benjamini-Hochberg), `by`
    (Benjamini-Yekutieli) or `e-bh` (by e-values). The last two hold however accounts depend on one
    another, and find less."""
    log_rate: float = Field(default=0.2, gt=0.0, le=1.0)
    """Accounts found at this rate are looked at more closely; nobody notices."""
    customer_key_rate: float = Field(default=0.1, gt=0.0, le=1.0)
    """Their answers get a watermark key of their own."""
    throttle_rate: float = Field(default=0.05, gt=0.0, le=1.0)
    """They are slowed down."""
    verify_rate: float = Field(default=0.02, gt=0.0, le=1.0)
    """They are asked who they are. Nothing here bans anybody."""
    response_days: float = Field(default=7.0, gt=0.0, le=3650.0)
    """Of `--responses`: how long an account is answered that is not found again."""
    live_level: float = Field(default=0.003, gt=0.0, lt=1.0)
    """Of the monitor in a server: the chance that a benign account is ever flagged, over all looks
    at it."""
    retention_days: float = Field(default=30.0, gt=0.0, le=3650.0)
    """Rows that are older than the last one by more are left out, and counted."""
    max_malformed_fraction: float = Field(default=0.05, ge=0.0, le=1.0)
    """More lines that are no rows than this are an error."""

    @model_validator(mode="after")
    def _rates_fall(self) -> Self:
        rates = (self.log_rate, self.customer_key_rate, self.throttle_rate, self.verify_rate)
        if list(rates) != sorted(rates, reverse=True):
            raise ValueError(
                "log_rate, customer_key_rate, throttle_rate, verify_rate must not rise"
            )
        return self
