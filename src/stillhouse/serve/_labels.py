"""A student that answers with labels: its own path, without torch for n-grams.

Requests that come while a batch is computed are answered together in the next one.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers import Classifier, probabilities
from stillhouse.serve._ask import Answering, Ask, Piece, RefusedError
from stillhouse.tasks import Task, input_text, likeliest_answers

Floats = npt.NDArray[np.float64]

_MAX_BATCH = 64


@dataclass(frozen=True, slots=True)
class Decision:
    """What a student decides.

    Attributes:
        answer: In the canonical form of the task.
        confidence: Calibrated probability that this is what the teacher answers.
        probabilities: Of each label.
    """

    answer: str
    confidence: float
    probabilities: dict[str, float]


class LabelEngine:
    """A classifier that answers; use it within one event loop.

    Args:
        classifier: The student.
        task: What it was fitted to.
        name: What it is called.
    """

    def __init__(self, classifier: Classifier, task: Task, *, name: str) -> None:
        self.name = name
        self._classifier = classifier
        self._task = task
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="labels")
        self._waiting: list[tuple[str, asyncio.Future[Floats]]] = []
        self._batching: asyncio.Task[None] | None = None

    @property
    def num_running(self) -> int:
        """Requests that wait for their batch."""
        return len(self._waiting)

    @property
    def labels(self) -> tuple[str, ...]:
        """What it can answer."""
        return self._classifier.labels

    async def decide(self, text: str) -> Decision:
        """The student's decision on one text."""
        row_L = await self._row(text)
        labels = self._classifier.labels
        answers, confidences_N = likeliest_answers(self._task, row_L[None], labels)
        shares = dict(zip(labels, row_L.tolist(), strict=True))
        return Decision(str(answers[0]), float(confidences_N[0]), shares)

    async def open(self, ask: Ask) -> Answering:
        """Answer a conversation with the label of its last message; see `Engine.open`."""
        if ask.schema is not None or ask.must_call:
            raise RefusedError(
                400,
                f"{self.name} answers with labels; it can be held to no schema. Leave "
                "response_format and tool_choice out.",
                param="response_format",
            )
        decision = await self.decide(self.text_of(ask))
        headers = {"x-stillhouse-confidence": f"{decision.confidence:.4f}"}
        return Answering(0, _pieces(decision.answer, ask.num_choices), headers)

    def text_of(self, ask: Ask) -> str:
        """The text that a conversation asks to label."""
        if ask.text is not None:
            return ask.text
        said = [message.content for message in ask.messages if message.role == "user"]
        if not said:
            raise RefusedError(400, "No message is a user's. Give one.", param="messages")
        return input_text(self._task, said[-1])

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown(wait=True)

    async def _row(self, text: str) -> Floats:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Floats] = loop.create_future()
        self._waiting.append((text, future))
        if self._batching is None:
            self._batching = loop.create_task(self._batches())
        return await future

    async def _batches(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
                texts = [text for text, _ in batch]
                try:
                    rows_NL = await loop.run_in_executor(
                        self._worker, probabilities, self._classifier, texts
                    )
                except Exception as err:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(err)
                    continue
                for (_, future), row_L in zip(batch, rows_NL, strict=True):
                    if not future.done():
                        future.set_result(row_L)
        finally:
            self._batching = None


async def _pieces(said: str, num_choices: int) -> AsyncIterator[Piece]:
    for index in range(num_choices):
        yield Piece(index, said, (), "stop", 1)
