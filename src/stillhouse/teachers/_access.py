"""How API teachers are asked: limits, prices and patience, the same for all teachers of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillhouse.teachers._costs import Price
    from stillhouse.teachers._gate import CallGate

GateOf = Callable[[str], "CallGate"]
"""The gate to wait at, by the teacher's id."""


@dataclass(frozen=True)
class Access:
    """What a run allows its API teachers; local ones do not need it.

    Attributes:
        requests_per_minute: None leaves it to what the provider's headers say.
        tokens_per_minute: Of prompts and completions together; None as above.
        concurrency: Requests under way at once at each provider; None takes the provider's.
        prices: The user's own, by `provider/model`; they win over the table.
        timeout_s: For each try.
        deadline_s: For one request with its waits and repeats; None has none.
        is_streamed: Whether answers come piece by piece.
        gate_of: The gate to wait at, by the teacher's id; None makes one for each teacher.
        num_sharing: Processes that wait at those gates: each takes its part of the requests.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    concurrency: int | None = None
    prices: Mapping[str, "Price"] = field(default_factory=dict)
    timeout_s: float = 600.0
    deadline_s: float | None = None
    is_streamed: bool = False
    gate_of: GateOf | None = None
    num_sharing: int = 1
