"""Texts that the student draws as it is now, alone or with a teacher that looks over it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from stillhouse.models import Generated, GenerationJob, LanguageModel, generate


@dataclass(frozen=True)
class Draft:
    """A text to draw.

    Attributes:
        prompt_ids: What it answers.
        max_tokens: The most that it may have.
        seed: All randomness of it comes from here.
    """

    prompt_ids: tuple[int, ...]
    max_tokens: int
    seed: int


@dataclass(frozen=True)
class Rollout:
    """A text that was drawn.

    Attributes:
        ids: Its tokens, at least one, with the end of turn if it was ended.
        logprobs: (n,) float32, of them under the student that drew it; None where another model
            had a hand in it.
        is_truncated: Whether it was cut before its end.
        num_replaced: Tokens that are not the student's own.
    """

    ids: tuple[int, ...]
    logprobs: npt.NDArray[np.float32] | None
    is_truncated: bool
    num_replaced: int = 0


class Drawer(Protocol):
    """Draws texts; what it gives depends on the drafts and the weights alone."""

    def __call__(self, drafts: Sequence[Draft]) -> list[Rollout]:
        """One rollout for each draft, in order."""
        ...


class StudentDrawer:
    """Draws from the student's whole distribution, at temperature 1.

    Args:
        model: The student; its weights may change between calls.
        num_ids: Ids that it may draw: those that the teacher knows too.
    """

    def __init__(self, model: LanguageModel, *, num_ids: int) -> None:
        self._model = model
        self._num_ids = num_ids

    def __call__(self, drafts: Sequence[Draft]) -> list[Rollout]:
        """The student's own texts."""
        ends = self._model.chat.end_of_turn_ids
        drawn = draw_texts(self._model, drafts, num_ids=self._num_ids)
        return [
            Rollout(tuple(one.ids.tolist()), one.logprobs, int(one.ids[-1]) not in ends)
            for one in drawn
        ]


def draw_texts(model: LanguageModel, drafts: Sequence[Draft], *, num_ids: int) -> list[Generated]:
    """Let a model complete drafts at temperature 1, in order."""
    jobs = [
        GenerationJob(
            key=str(number),
            prompt_ids=draft.prompt_ids,
            max_tokens=draft.max_tokens,
            temperature=1.0,
            seed=draft.seed,
        )
        for number, draft in enumerate(drafts)
    ]
    left = iter(jobs)

    def pull(wanted: int) -> list[GenerationJob]:
        return [job for job, _ in zip(left, range(wanted), strict=False)]

    drawn: dict[str, Generated] = {}
    for finished in generate(model, pull, num_ids=num_ids):
        drawn.update((one.key, one) for one in finished)
    return [drawn[job.key] for job in jobs]


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed for one thing alone, the same in every process."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
