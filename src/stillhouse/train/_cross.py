"""The texts of a run in the tokens of two models, brought together by their bytes."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.artifacts import Artifact
from stillhouse.chat import Alignment, BoundaryBias, ChatTokenizer, EncodedExample, align, unaligned
from stillhouse.errors import IntegrityError, RecordError, VocabularyMismatchError
from stillhouse.models import load_chat, locate_model
from stillhouse.signal import SignalReader, check_fingerprints
from stillhouse.train._cross_config import CrossConfig
from stillhouse.train._rows import TrainingRow, training_rows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlignedText:
    """One completion in the tokens of both.

    Attributes:
        teacher: As the teacher reads it.
        alignment: Which of its tokens belong to which of the student's.
    """

    teacher: EncodedExample
    alignment: Alignment


class AlignedTexts:
    """The texts of a run in both tokenisations, found by the student's.

    Args:
        teacher: The tokenizer of the signal's teacher.
        student: The student's.
        pairs: The training rows as teacher and student read them.
        max_boundary_bias: See `CrossConfig`.

    Attributes:
        teacher: As given.
        student: As given.
        student_counts: (V,) int64, how often each of the student's tokens occurs.
        closing_id: What the student's template writes first to close a turn.

    Raises:
        RecordError: no completion's tokens write its text.
    """

    def __init__(
        self,
        teacher: ChatTokenizer,
        student: ChatTokenizer,
        pairs: Sequence[tuple[TrainingRow, TrainingRow]],
        *,
        max_boundary_bias: float,
    ) -> None:
        self.teacher, self.student = teacher, student
        self._max_bias = max_boundary_bias
        teacher_ids = list(_tokens(teacher, [theirs for theirs, _ in pairs]))
        student_ids = list(_tokens(student, [ours for _, ours in pairs]))
        self.student_counts = np.bincount(student_ids, minlength=len(student.text_bytes))
        self._bias = BoundaryBias(teacher.text_bytes, teacher_ids, student.text_bytes, student_ids)
        self._failures: list[str] = []
        self._closings: Counter[int] = Counter()
        self._texts = {
            ours.encoded.signal_key: self._align(theirs.encoded, ours) for theirs, ours in pairs
        }
        self._report_failures(len(pairs))
        self.closing_id = max(
            self._closings, default=student.end_of_turn_ids[0], key=self._closings.__getitem__
        )

    def __getitem__(self, example: EncodedExample) -> AlignedText:
        return self._texts[example.signal_key]

    def check_covered(self, signal: SignalReader) -> None:
        """Refuse a signal that lacks one of the texts.

        Raises:
            IntegrityError: it does.
        """
        missing = [one for one in self._texts.values() if one.teacher.signal_key not in signal]
        if missing:
            raise IntegrityError(
                f"The signal lacks {len(missing)} of {len(self._texts)} training texts as "
                f"{self.teacher.name} reads them. Run capture on this dataset."
            )

    def _align(self, teacher: EncodedExample, ours: TrainingRow) -> AlignedText:
        teacher_ids, student_ids = teacher.completion_ids, ours.encoded.completion_ids
        text = ours.example.completion
        try:
            spans = self.student.spans(student_ids, text)
            if spans.is_closed:
                self._closings[student_ids[spans.num_text]] += 1
            alignment = align(
                self.teacher.spans(teacher_ids, text),
                spans,
                lambda one, other: self._is_fair(teacher_ids[one], student_ids[other]),
            )
        except RecordError as err:
            # One bad item is data: it teaches nothing, and is counted.
            self._failures.append(f"example {ours.example.id}: {err}")
            alignment = unaligned(len(teacher_ids), len(student_ids))
        return AlignedText(teacher, alignment)

    def _report_failures(self, num_texts: int) -> None:
        if not self._failures:
            return
        message = (
            f"{len(self._failures)} of {num_texts} training texts cannot be aligned with their "
            f"tokens and teach nothing; the first is {self._failures[0]}"
        )
        if len(self._failures) == num_texts:
            raise RecordError(message)
        logger.warning(message)

    def _is_fair(self, teacher_id: int, student_id: int) -> bool:
        return self._bias(teacher_id, student_id) <= self._max_bias


def align_texts(
    config: CrossConfig,
    student: ChatTokenizer,
    rows: Sequence[TrainingRow],
    *,
    dataset: Artifact,
    signal: Artifact,
) -> AlignedTexts:
    """Read the texts as the signal's teacher does, and align them.

    Args:
        config: Whose tokenizer it is.
        student: The student's.
        rows: All training rows as the student reads them.
        dataset: What they are of.
        signal: What was captured on it.

    Raises:
        ConfigError: there is no tokenizer where the settings say.
        VocabularyMismatchError: the signal was captured with another one, or its template, or
            by a teacher that did not write the text and was not told that it need not have.
        IntegrityError: it was captured on another dataset.
        RecordError: no completion's tokens write its text.
    """
    teacher, theirs = student, iter(rows)
    if config.teacher is not None:
        teacher = load_chat(locate_model(config.teacher.removeprefix("local:")))
        theirs = training_rows(dataset, teacher)
    _check_tokens(signal, teacher)
    check_fingerprints(
        signal,
        dataset=dataset,
        vocabulary_sha256=teacher.vocabulary_sha256,
        template_sha256=teacher.template_sha256,
        any_teacher=signal.manifest.config.get("any_author") is True,
    )
    pairs = list(zip(theirs, rows, strict=True))
    return AlignedTexts(teacher, student, pairs, max_boundary_bias=config.max_boundary_bias)


def _check_tokens(signal: Artifact, teacher: ChatTokenizer) -> None:
    tokenizer = signal.manifest.tokenizer
    for what, found, expected in (
        ("tokenizer", tokenizer and tokenizer.sha256, teacher.vocabulary_sha256),
        ("chat template", signal.manifest.chat_template_sha256, teacher.template_sha256),
    ):
        if found != expected:
            raise VocabularyMismatchError(
                f"{signal.path} was captured with another {what} than that of {teacher.name}. "
                "Set cross.teacher to the model that it was captured with."
            )


def _tokens(chat: ChatTokenizer, rows: Sequence[TrainingRow]) -> Iterator[int]:
    """The ids of all completions; those that are no tokens are left to `ChatTokenizer.spans`."""
    num_ids = len(chat.text_bytes)
    ids = (token_id for row in rows for token_id in row.encoded.completion_ids)
    return (token_id for token_id in ids if token_id < num_ids)
