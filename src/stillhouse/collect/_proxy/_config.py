"""How a proxy is set up, and what it says at its end."""

from dataclasses import dataclass, field
from pathlib import Path

from stillhouse.errors import ConfigError
from stillhouse.teachers._providers import is_loopback


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyConfig:
    """How to pass requests through.

    Attributes:
        to: The provider, a name of `docs/providers.md`.
        ledger: Where calls are recorded; made when absent.
        host: The address to listen at.
        port: The port to listen at; 0 takes a free one.
        allows_remote: Whether `host` may be an address that other machines reach.
        record_fraction: Share of the calls that are recorded, drawn call by call.
        is_strict: Whether new calls are refused while the ledger cannot be written.
        grace_s: How long calls under way may go on after the proxy was told to stop.
        prices: The user's own prices, a file that `read_prices` reads.
        terms: What was declared of the student, a file; None takes that of the environment.

    Raises:
        ConfigError: a value is out of its range, or others could reach the proxy unasked.
    """

    to: str
    ledger: Path
    host: str = "127.0.0.1"
    port: int = 8460
    allows_remote: bool = False
    record_fraction: float = 1.0
    is_strict: bool = False
    grace_s: float = 30.0
    prices: Path | None = None
    terms: Path | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.record_fraction <= 1.0:
            raise ConfigError(f"--record-fraction is {self.record_fraction:g}; give 0 to 1.")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port is {self.port}; give 0 to 65535.")
        if not 0.0 <= self.grace_s <= 86_400.0:
            raise ConfigError(f"--grace is {self.grace_s:g} s; give 0 to 86400.")
        if not (self.allows_remote or is_loopback(self.host)):
            raise ConfigError(
                f"--host {self.host} is reached by other machines, and whoever reaches the proxy "
                "uses its keys and your money. Leave --host out, or add --allow-remote."
            )


@dataclass(slots=True)
class ProxyCounts:
    """What a proxy did.

    Attributes:
        num_calls: Requests that came in, all of them.
        num_passed: Of these, requests that were not to be recorded: other paths, or left out by
            `record_fraction`.
        num_answers: Calls recorded with an answer.
        errors: Calls recorded without one, by kind.
        num_unreadable: Calls whose request was none of its dialect, and not recorded.
        num_unrecorded: Calls that should have been recorded and could not.
        num_refused: Requests that the proxy did not pass on.
        prompt_tokens: Of the recorded calls, as far as the provider told.
        completion_tokens: The same.
        cost_usd: Of the calls whose cost is known.
        num_unpriced: Answers whose cost is not known: no price, or no usage told.
    """

    num_calls: int = 0
    num_passed: int = 0
    num_answers: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    num_unreadable: int = 0
    num_unrecorded: int = 0
    num_refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    num_unpriced: int = 0
