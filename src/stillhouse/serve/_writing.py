"""A student of a cascade that is a language model: it writes its answer, and then it is judged.

It answers as it did when it was certified, by the same code: greedily, held to the labels or the
schema of its task where it was then. Nothing goes out before its answer is whole, since only then
is its confidence known.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from stillhouse.answers import Answerer, Given, Question
from stillhouse.serve._ask import Ask, RefusedError
from stillhouse.serve._batches import Batches
from stillhouse.serve._drafts import Draft
from stillhouse.serve._seen import note
from stillhouse.tasks import Task

_ANY_OBJECT = {"type": "object"}

Novelty = Callable[[Sequence[str]], npt.NDArray[np.float64]]


class WritingStudent:
    """Drafts with a language model; use it within one event loop.

    Args:
        answerer: The model at work, as it was certified.
        task: What it was certified for.
        name: What it is called.
        novelty: (N,) how unlike the training texts N messages are.
        count_tokens: Of an answer.
        writes_json: Whether it is held to the schema of its task.
    """

    def __init__(
        self,
        answerer: Answerer,
        task: Task,
        *,
        name: str,
        novelty: Novelty,
        count_tokens: Callable[[str], int],
        writes_json: bool = False,
    ) -> None:
        self.name = name
        self._answerer = answerer
        self._novelty = novelty
        self._count_tokens = count_tokens
        self._schemas = [_ANY_OBJECT, json.loads(task.schema_text)] if writes_json else []
        self._batches = Batches(self._computed, name="drafts")

    @property
    def num_running(self) -> int:
        """Requests that wait for their batch or are in it."""
        return self._batches.num_running

    def refuses(self, ask: Ask) -> str | None:
        """Why a request is none that was certified.

        A schema is one where it is the task's, or asks for any object and the task has one. Tools,
        texts to continue and log-probabilities are the teacher's.
        """
        is_other = bool(ask.tools) or ask.text is not None or ask.top_logprobs is not None
        if ask.schema is not None and json.loads(ask.schema) not in self._schemas:
            is_other = True
        return "not_certified" if is_other else None

    async def draft(self, ask: Ask) -> Draft:
        """What it writes to a conversation."""
        said = [message.content for message in ask.messages if message.role == "user"]
        if not said:
            raise RefusedError(400, "No message is a user's. Give one.", param="messages")
        draft, began_s = await self._batches.result(Question(said[-1], ask.messages))
        note(confidence=draft.confidence)
        return replace(draft, began_s=began_s)

    async def close(self) -> None:
        """End the thread."""
        await self._batches.close()

    def _computed(self, questions: list[Question]) -> list[Draft]:
        """In the worker's thread."""
        given = self._answerer.answer(questions)
        novelties = self._novelty([question.text for question in questions]).tolist()
        return [self._draft(*pair) for pair in zip(given, novelties, strict=True)]

    def _draft(self, given: Given, novelty: float) -> Draft:
        if given.text is None:
            return Draft(None, None, novelty)
        confidence = None if given.confidence is None else min(max(given.confidence, 0.0), 1.0)
        return Draft(given.text, confidence, novelty, self._count_tokens(given.text))
