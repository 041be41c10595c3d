"""What a teacher with another tokenizer says of the student's texts.

Shape letters: N the student's tokens, C chunks, K top-k, J student ids of an outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stillhouse.chat import NO_CHUNK, EncodedExample, VocabularyMap
from stillhouse.errors import ConfigError
from stillhouse.losses import (
    ChunkLikelihood,
    Head,
    ProjectedTarget,
    Segments,
    sequence_loss_and_grad,
)
from stillhouse.models import PredictingBatch
from stillhouse.signal import SignalReader, TokenSignal, TopKSignal
from stillhouse.train._cross import AlignedText, AlignedTexts
from stillhouse.train._lessons import Lesson
from stillhouse.train._projection import ProjectedRows, project, token_rows

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ChunkTarget:
    """Chunks of a batch, and how likely the teacher finds them.

    Attributes:
        ids_N: The student's tokens.
        chunk_N: The chunk of each, or -1.
        teacher_logprob_C: Summed log-probabilities, nats.
        tau: See `ChunkLikelihood`.
    """

    ids_N: Tensor
    chunk_N: Tensor
    teacher_logprob_C: Tensor
    tau: float

    def loss_and_grad(
        self, hidden_ND: Tensor, head: Head, weight_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The weighted sum of the chunks' losses and its gradient by the hidden states.

        A chunk weighs as much as one of its tokens.
        """
        segments = Segments(self.ids_N, self.chunk_N, len(self.teacher_logprob_C))
        weight_C = segments.sums(weight_N) / segments.lengths()
        rule = ChunkLikelihood(self.teacher_logprob_C, self.tau)
        loss_C, grad_ND = sequence_loss_and_grad(hidden_ND, head, segments, rule, weight_L=weight_C)
        return (loss_C.double() * weight_C.double()).sum(), grad_ND


class ChunkLikelihoods:
    """How likely the teacher finds each chunk of a text: what ALM learns from.

    Args:
        signal: Log-probabilities of the actual tokens (codec `actual`).
        texts: In both tokenisations.
        tau: See `ChunkLikelihood`.

    Raises:
        ConfigError: the signal is of another codec.
        IntegrityError: it lacks a text.
    """

    def __init__(self, signal: SignalReader, texts: AlignedTexts, tau: float) -> None:
        _check_codec(signal, ("actual",), "objective alm")
        texts.check_covered(signal)
        self._signal, self._texts, self._tau = signal, texts, tau

    def __call__(self, lessons: Sequence[Lesson], batch: PredictingBatch) -> ChunkTarget:
        """Look each text up by its content."""
        chunks, sums, num_chunks = [], [], 0
        for lesson in lessons:
            text = self._texts[lesson.example]
            ours = text.alignment.student
            chunks.append(np.where(ours == NO_CHUNK, NO_CHUNK, ours + num_chunks))
            sums.append(self._chunk_sums(text))
            num_chunks += text.alignment.num_chunks
        return ChunkTarget(
            batch.target_ids_N,
            torch.from_numpy(np.concatenate(chunks)),
            torch.from_numpy(np.concatenate(sums)).float(),
            self._tau,
        )

    def _chunk_sums(self, text: AlignedText) -> npt.NDArray[np.float64]:
        signal: TokenSignal = self._signal.read(text.teacher.signal_key)
        chunks = text.alignment.teacher
        inside = chunks != NO_CHUNK
        sums = np.zeros(text.alignment.num_chunks)
        np.add.at(sums, chunks[inside], signal.logprobs[inside])
        return sums


class ProjectedSignal:
    """The teacher's distributions where they are of the same bytes, in the student's tokens.

    They are where a chunk begins; inside of one, the text itself is learnt or nothing. What is in
    no chunk teaches nothing.

    Args:
        signal: The teacher's top-k.
        texts: In both tokenisations.
        ids_per_token: Student ids that a teacher's token stands for at most.
        learns_text: Whether the text is learnt inside of chunks.

    Raises:
        ConfigError: the signal is of another codec.
        IntegrityError: it lacks a text.
    """

    def __init__(
        self, signal: SignalReader, texts: AlignedTexts, *, ids_per_token: int, learns_text: bool
    ) -> None:
        _check_codec(signal, ("topk", "adaptive", "relative"), "a divergence across tokenizers")
        texts.check_covered(signal)
        self._signal, self._texts, self._learns_text = signal, texts, learns_text
        self._map = VocabularyMap(
            texts.teacher,
            texts.student,
            student_counts=texts.student_counts,
            closing_id=texts.closing_id,
            width=ids_per_token,
        )

    def __call__(self, lessons: Sequence[Lesson], batch: PredictingBatch) -> ProjectedTarget:
        """Look each text up by its content."""
        parts = [self._rows(lesson.example) for lesson in lessons]
        num_outcomes = max(part.mass.shape[1] for part in parts)
        num_ids = parts[0].ids.shape[2]
        rows = ProjectedRows.silent((len(batch.target_ids_N), num_outcomes, num_ids))
        start = 0
        for part in parts:
            rows.put(np.arange(start, start + len(part.tail)), part)
            start += len(part.tail)
        return rows.target()

    def _rows(self, example: EncodedExample) -> ProjectedRows:
        text = self._texts[example]
        signal: TopKSignal = self._signal.read(text.teacher.signal_key)
        theirs, ours = self._comparable(text, example)
        aligned = project(
            TopKSignal(signal.ids[theirs], signal.logprobs[theirs], signal.tail_logprob[theirs]),
            self._map,
        )
        rows = ProjectedRows.silent((len(example.completion_ids), *aligned.ids.shape[1:]))
        if self._learns_text:
            inside = np.flatnonzero(text.alignment.student != NO_CHUNK)
            rows.put(inside, token_rows(np.array(example.completion_ids)[inside]))
        rows.put(ours, aligned)
        return rows

    def _comparable(self, text: AlignedText, example: EncodedExample) -> tuple[Ints, Ints]:
        """Where chunks begin, without a turn that the teacher's template closes with text first.

        There the teacher is about to write that text, and the student its end of turn.
        """
        theirs, ours = text.alignment.first_tokens()
        teacher, student = self._texts.teacher.text_bytes, self._texts.student.text_bytes
        pairs = zip(theirs, ours, strict=True)
        kept = [
            not teacher[text.teacher.completion_ids[one]]
            or bool(student[example.completion_ids[other]])
            for one, other in pairs
        ]
        return theirs[kept], ours[kept]


def _check_codec(signal: SignalReader, allowed: tuple[str, ...], what: str) -> None:
    codec = signal.codec
    if codec is not None and codec.name not in allowed:
        raise ConfigError(
            f"The signal is of codec {codec.name}, and {what} needs {' or '.join(allowed)}. "
            f"Run capture with codec: {allowed[0]}."
        )
