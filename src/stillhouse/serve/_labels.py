"""A student that answers with labels: its own path, without torch for n-grams.

Requests that come while a batch is computed are answered together in the next one.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.artifacts import Artifact, check_files
from stillhouse.classifiers import Classifier, load_classifier, probabilities
from stillhouse.serve._ask import Answering, Ask, Piece, RefusedError
from stillhouse.serve._batches import Batches
from stillhouse.serve._drafts import Draft
from stillhouse.serve._embeddings import Embedded, Input, no_embeddings
from stillhouse.serve._files import LoadedFiles
from stillhouse.serve._headers import UNKNOWN_VERSION
from stillhouse.serve._label_embeddings import check_dimensions, encoder_of, unit_states
from stillhouse.serve._seen import note
from stillhouse.tasks import Task, input_text, likeliest_answers, task_of

Floats = npt.NDArray[np.float64]
Novelty = Callable[[Sequence[str], npt.ArrayLike | None], Floats]

_EMBED_BATCH = 16  # inputs between which decisions get their turn; not tuned


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
        self.files: LoadedFiles | None = None
        self.version = UNKNOWN_VERSION
        self._novelty = novelty
        self._classifier = classifier
        self._encoder = encoder_of(classifier)
        self._task = task
        self._batches = Batches(self._computed, name="labels")

    @property
    def num_running(self) -> int:
        """Requests that wait for their batch or are in it."""
        return self._batches.num_running

    @property
    def is_multiple(self) -> bool:
        """Whether a text may have several labels."""
        return self._classifier.is_multiple

    @property
    def labels(self) -> tuple[str, ...]:
        """What it can answer."""
        return self._classifier.labels

    @property
    def has_embeddings(self) -> bool:
        """Whether it reads with a sentence encoder."""
        return self._encoder is not None

    async def embed(self, inputs: Sequence[Input], dimensions: int | None) -> Embedded:
        """The states that it decides with; see `Embedder.embed`."""
        if self._encoder is None:
            raise no_embeddings(self.name)
        check_dimensions(self._encoder, dimensions)
        made = [
            await self._batches.run(
                unit_states, self._encoder, inputs[first : first + _EMBED_BATCH]
            )
            for first in range(0, len(inputs), _EMBED_BATCH)
        ]
        vectors_ND = np.concatenate([part.vectors_ND for part in made])
        return Embedded(vectors_ND, sum(part.num_tokens for part in made))

    async def count_tokens(self, ask: Ask) -> int:
        """None are counted, as in the usage of its answers."""
        return 0

    async def decide(self, text: str) -> Decision:
        """The student's decision on one text."""
        (row_L, novelty), began_s = await self._batches.result(text)
        labels = self._classifier.labels
        answers, confidences_N = likeliest_answers(self._task, row_L[None], labels)
        shares = dict(zip(labels, row_L.tolist(), strict=True))
        answer = answers[0].text
        confidence = None if answer is None else float(confidences_N[0])
        note(confidence=confidence)
        return Decision(answer, confidence, shares, novelty, began_s)

    def refuses(self, ask: Ask) -> str | None:
        """Why a label is no answer to a request: a schema, a call or a text to continue."""
        is_other = ask.schema is not None or ask.must_call or ask.text is not None
        return "not_a_label" if is_other else None

    async def draft(self, ask: Ask) -> Draft:
        """What it would answer to the last message of a conversation."""
        decision = await self.decide(self.text_of(ask))
        return Draft(
            decision.answer, decision.confidence, decision.novelty, began_s=decision.began_s
        )

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
        await self._batches.close()

    def _computed(self, texts: list[str]) -> list[tuple[Floats, float]]:
        """The probabilities of each text, and its novelty; in the worker's thread."""
        states_ND = self._classifier.states(texts) if self._novelty is not None else None
        rows_NL = probabilities(self._classifier, texts, states_ND=states_ND)
        novelties = [0.0] * len(texts)
        if self._novelty is not None:
            novelties = self._novelty(texts, states_ND).tolist()
        return list(zip(rows_NL, novelties, strict=True))


def label_engine(artifact: Artifact, name: str | None = None) -> LabelEngine:
    """A student that answers with labels, whose files are held to their hashes."""
    files = LoadedFiles.of(artifact.path)
    check_files(artifact)
    task = task_of(artifact.manifest.results)
    engine = LabelEngine(
        load_classifier(artifact.path), task, name=name or artifact.path.resolve().name
    )
    engine.files = files
    engine.version = artifact.manifest_sha256[:12]
    return engine


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
    said: str, num_choices: int, began_s: float | None = None, num_tokens: int = 1
) -> AsyncIterator[Piece]:
    """A label, or another answer that is whole, as the answer to a chat."""
    for index in range(num_choices):
        yield Piece(index, said, (), "stop", num_tokens, began_s)
