"""Everything that one mock provider remembers."""

import itertools
import random
import time
from dataclasses import dataclass, field
from typing import Any

from tests.mock_provider.exchange import Logged
from tests.mock_provider.faults import FaultPlan
from tests.mock_provider.limits import Account
from tests.mock_provider.settings import Settings

FAMILIES = ("openai", "anthropic", "gemini")


@dataclass(slots=True)
class Job:
    """A batch: when it was made, how often it was looked at, what it was asked.

    Attributes:
        requests: (name of the request, its dialect's path, its body).
        results: (name, status or `expired`, body), once it has ended.
        facts: What the provider remembers beside: input file, metadata, display name.
    """

    id: str
    requests: list[tuple[str, str, dict[str, Any]]]
    facts: dict[str, Any]
    created_s: float = field(default_factory=time.time)
    num_polls: int = 0
    ended_s: float | None = None
    is_cancelled: bool = False
    is_failed: bool = False
    results: list[tuple[str, int | str, dict[str, Any]]] = field(default_factory=list)


@dataclass(slots=True)
class StoredFile:
    """A file that was uploaded or that a batch wrote."""

    id: str
    name: str
    purpose: str
    content: bytes
    created_s: float = field(default_factory=time.time)


class World:
    """The state behind the endpoints. Only the server's thread changes it.

    Attributes:
        settings: How to behave; replaced as a whole, so a reader always sees one state.
        chats: Stored completions by id, with the messages they answered.
        responses: Stored responses by id, with how often they were asked for.
        jobs: Batches by family and id.
        log: What was received; shorter than `num_received` where the settings keep less.
        failures: Tracebacks of requests that the mock could not handle, which is its own mistake
            or a request that no provider would understand either.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.accounts = {family: Account(family) for family in FAMILIES}
        self.plan = FaultPlan()
        self.chats: dict[str, dict[str, Any]] = {}
        self.responses: dict[str, dict[str, Any]] = {}
        self.files: dict[str, StoredFile] = {}
        self.uploads: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, dict[str, Job]] = {family: {} for family in FAMILIES}
        self.log: list[Logged] = []
        self.failures: list[str] = []
        self.num_received = 0
        self.num_paid = 0
        self.paid_prompt_tokens = 0
        self.paid_completion_tokens = 0
        self._numbers = itertools.count(1)
        self._waits = random.Random(settings.latency.seed)

    def new_id(self, prefix: str) -> str:
        """An id that no other thing of this provider has."""
        return f"{prefix}{next(self._numbers):012d}"

    def first_wait_s(self) -> float:
        """How long the next answer takes to begin."""
        latency = self.settings.latency
        if not latency.first_s or latency.spread == "fixed":
            return latency.first_s
        return self._waits.expovariate(1 / latency.first_s)

    def count_paid(self, prompt_tokens: int, completion_tokens: int) -> None:
        """Add work that was done to the bill."""
        self.num_paid += 1
        self.paid_prompt_tokens += prompt_tokens
        self.paid_completion_tokens += completion_tokens
