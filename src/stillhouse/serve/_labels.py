"""A student that answers with labels: its own path, without torch for n-grams.

Requests that come while a batch is computed are answered together in the next one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers import Classifier, probabilities
from stillhouse.serve._ask import Answering, Ask, Piece, RefusedError
from stillhouse.serve._headers import UNKNOWN_VERSION
from stillhouse.serve._seen import note
from stillhouse.tasks import Task, input_text, likeliest_answers

Floats = npt.NDArray[np.float64]
Novelty = Callable[[Sequence[str], npt.ArrayLike | None], Floats]

_MAX_BATCH = 64


@dataclass(frozen=True, slots=True)
class Decision:
    """What a student decides.

    Attributes:
        answer: In the canonical form of the task; None where its labels are no answer to it.
        confidence: Calibrated probability that this is what the teacher answers; None without one.
        probabilities: Of each label.
        novelty: How unlike the training texts the text is, where a gate tells it; else 0.
        began_s: When its batch was begun, by the clock of `monotonic`.
    """

    answer: str | None
    confidence: float | None
    probabilities: dict[str, float]
    novelty: float = 0.0
    began_s: float | None = None


class LabelEngine:
    """A classifier that answers; use it within one event loop.

    Args:
        classifier: The student.
        task: What it was fitted to.
        name: What it is called.
        novelty: (N,) how unlike the training texts N texts are, by the texts and the (N, D) states
            of the classifier's encoder, if it has one.

    Attributes:
        version: Which student it is.
    """

    def __init__(
        self, classifier: Classifier, task: Task, *, name: str, novelty: Novelty | None = None
    ) -> None:
        self.name = name
        self.version = UNKNOWN_VERSION
        self._novelty = novelty
        self._classifier = classifier
        self._task = task
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="labels")
        self._waiting: list[tuple[str, asyncio.Future[tuple[Floats, float, float]]]] = []
        self._batching: asyncio.Task[None] | None = None

    @property
    def num_running(self) -> int:
        """Requests that wait for their batch."""
        return len(self._waiting)

    @property
    def is_multiple(self) -> bool:
        """Whether a text may have several labels."""
        return self._classifier.is_multiple

    @property
    def labels(self) -> tuple[str, ...]:
        """What it can answer."""
        return self._classifier.labels

    async def decide(self, text: str) -> Decision:
        """The student's decision on one text."""
        row_L, novelty, began_s = await self._row(text)
        labels = self._classifier.labels
        answers, confidences_N = likeliest_answers(self._task, row_L[None], labels)
        shares = dict(zip(labels, row_L.tolist(), strict=True))
        answer = answers[0].text
        confidence = None if answer is None else float(confidences_N[0])
        note(confidence=confidence)
        return Decision(answer, confidence, shares, novelty, began_s)

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
        pieces = label_pieces(answer_in(decision), ask.num_choices, decision.began_s)
        return Answering(0, pieces, confidence_header(decision.confidence))

    def text_of(self, ask: Ask) -> str:
        """The text that a conversation asks to label."""
        if ask.text is not None:
            return ask.text
        said = [message.content for message in ask.messages if message.role == "user"]
        if not said:
            raise RefusedError(400, "No message is a user's. Give one.", param="messages")
        return input_text(self._task, said[-1])

    async def close(self) -> None:
        """End the thread."""
        await asyncio.to_thread(self._worker.shutdown)

    def _computed(self, texts: list[str]) -> list[tuple[Floats, float]]:
        """The probabilities of each text, and its novelty; in the worker's thread."""
        states_ND = self._classifier.states(texts) if self._novelty is not None else None
        rows_NL = probabilities(self._classifier, texts, states_ND=states_ND)
        novelties = [0.0] * len(texts)
        if self._novelty is not None:
            novelties = self._novelty(texts, states_ND).tolist()
        return list(zip(rows_NL, novelties, strict=True))

    async def _row(self, text: str) -> tuple[Floats, float, float]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[tuple[Floats, float, float]] = loop.create_future()
        self._waiting.append((text, future))
        if self._batching is None:
            self._batching = loop.create_task(self._batches())
        return await future

    async def _batches(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:_MAX_BATCH], self._waiting[_MAX_BATCH:]
                texts, began_s = [text for text, _ in batch], monotonic()
                try:
                    rows = await loop.run_in_executor(self._worker, self._computed, texts)
                except Exception as err:
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(err)
                    continue
                for (_, future), row in zip(batch, rows, strict=True):
                    if not future.done():
                        future.set_result((*row, began_s))
        finally:
            self._batching = None


def answer_in(decision: Decision) -> str:
    """The answer of a decision.

    Raises:
        RefusedError: the student has none that its task allows.
    """
    if decision.answer is None:
        raise RefusedError(
            422,
            "The labels that the student gives this text are no answer to its task: they exclude "
            "each other. Ask the teacher.",
            code="no_answer",
        )
    return decision.answer


def confidence_header(confidence: float | None) -> dict[str, str]:
    """How sure a student is of its answer, for the headers of a response."""
    return {} if confidence is None else {"x-stillhouse-confidence": f"{confidence:.4f}"}


async def label_pieces(
    said: str, num_choices: int, began_s: float | None = None
) -> AsyncIterator[Piece]:
    """A label as the answer to a chat."""
    for index in range(num_choices):
        yield Piece(index, said, (), "stop", 1, began_s)
