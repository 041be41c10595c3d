"""Generation that requests join and leave, one token at a time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.models._generate import (
    CACHE_BYTES,
    MAX_SLOTS,
    Engine,
    Generated,
    GenerationJob,
    Row,
)
from stillhouse.models._load import LanguageModel


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token of a completion under way.

    Attributes:
        key: The job's.
        token_id: What was drawn; the end-of-turn token too.
        logprob: At temperature 1, nats, without any grammar.
        top_ids: (K,) int64, most likely first.
        top_logprobs: (K,) float32.
        began_s: When its completion got a slot, by the clock of `monotonic`.
    """

    key: str
    token_id: int
    logprob: float
    top_ids: npt.NDArray[np.int64]
    top_logprobs: npt.NDArray[np.float32]
    began_s: float


class GenerationSession:
    """Completions that come and go while others run: what a server needs.

    Each step adds one token to every running completion, and reads in what waits as soon as there
    is a slot. It is `generate` with the same draws for the same job. One thread uses it.

    Args:
        model: What generates.
        max_slots: Completions that run at once; others wait, in their order.
        cache_bytes: As in `generate`.
        num_ids: As in `generate`.

    Raises:
        ConfigError: the model cannot generate in batches.
    """

    def __init__(
        self,
        model: LanguageModel,
        *,
        max_slots: int = MAX_SLOTS,
        cache_bytes: int = CACHE_BYTES,
        num_ids: int | None = None,
    ) -> None:
        self._new: list[NewToken] = []
        self._engine = Engine(model, max_slots, cache_bytes, num_ids, self._see)

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs or waits."""
        return self._engine.is_idle

    @property
    def num_running(self) -> int:
        """Completions that have a slot."""
        return len(self._engine.rows)

    def check(self, job: GenerationJob) -> None:
        """Whether a job can be run at all; may be called from any thread.

        Raises:
            ConfigError: it has no prompt or is longer than the model's context.
        """
        self._engine.check(job)

    def add(self, job: GenerationJob) -> None:
        """Have a job run.

        Raises:
            ConfigError: as `check`.
        """
        self._engine.check(job)
        self._engine.wait(job)

    def drop(self, key: str) -> None:
        """Stop a job; nothing happens where it has ended."""
        self._engine.drop(key)

    def step(self) -> tuple[list[NewToken], list[Generated]]:
        """Read in what waits, or add one token to what runs.

        Returns:
            The tokens drawn, and the completions that ended with one of them.
        """
        finished = self._engine.read_waiting()
        if self._engine.rows:
            finished += self._engine.step()
        new, self._new = self._new, []
        return new, finished

    def _see(self, row: Row) -> None:
        top_ids, top_logprobs = row.top_ids[-1], row.top_logprobs[-1]
        self._new.append(
            NewToken(row.job.key, row.ids[-1], row.logprobs[-1], top_ids, top_logprobs, row.began_s)
        )
