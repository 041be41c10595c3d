"""A student of a cascade: it says what it would answer before anybody is answered."""

from dataclasses import dataclass
from typing import Protocol

from stillhouse.serve._ask import Ask


@dataclass(frozen=True, slots=True)
class Draft:
    """What a student would answer.

    Attributes:
        answer: In the canonical form of the task; None where it has none that the task allows.
        confidence: Of the answer, as it was certified; None without one.
        novelty: How unlike the training texts the text is, in [0, 1].
        num_tokens: Of the answer.
        began_s: When it was begun, by the clock of `monotonic`; None where that is unknown.
    """

    answer: str | None
    confidence: float | None
    novelty: float = 0.0
    num_tokens: int = 1
    began_s: float | None = None


class Student(Protocol):
    """Drafts answers; to be used within one event loop."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def num_running(self) -> int:
        """Requests whose draft is not there yet."""
        ...

    def refuses(self, ask: Ask) -> str | None:
        """Why a request is nothing that it was certified for; None where it is."""
        ...

    async def draft(self, ask: Ask) -> Draft:
        """What it would answer.

        Raises:
            RefusedError: nothing in the request is to be answered.
        """
        ...

    async def close(self) -> None:
        """Release threads and weights; may be called twice."""
        ...
