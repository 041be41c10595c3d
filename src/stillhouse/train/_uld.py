"""Universal logit distillation: a live teacher with another tokenizer, place by place.

Each reads the text in its own tokens, and the n-th token of one is set against the n-th of the
other, sorted by size, so that ids need not mean the same. What a place of one is about has little
to do with that place of the other once the two have counted differently: it is here to be compared
with (Boizard et al. 2024, arXiv:2402.12030).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.losses import Head, HiddenTarget, Objective, TokenTarget, head_loss_and_grad
from stillhouse.models import PredictingBatch, predicting_batch
from stillhouse.train._lessons import Lesson
from stillhouse.train._live import LiveTeacher
from stillhouse.train._rows import TrainingRow

_TEXT = Objective("sft")
_SORTED = Objective("sorted_l1")


@dataclass(frozen=True)
class UldTarget:
    """Texts, and a teacher's distributions at some of their places.

    Attributes:
        ids_N: The student's tokens.
        paired_M: Those positions of N that have a place in the teacher's tokens too.
        teacher: M rows, over the teacher's ids.
        weight: What the sorted distributions count beside the text.
    """

    ids_N: Tensor
    paired_M: Tensor
    teacher: HiddenTarget
    weight: float

    def loss_and_grad(
        self, hidden_ND: Tensor, head: Head, weight_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The weighted sum of the losses and its gradient by the hidden states."""
        loss_N, grad_ND = head_loss_and_grad(
            hidden_ND, head, TokenTarget(self.ids_N), _TEXT, weight_N=weight_N
        )
        weight_M = self.weight * weight_N[self.paired_M]
        loss_M, grad_MD = head_loss_and_grad(
            hidden_ND.detach()[self.paired_M], head, self.teacher, _SORTED, weight_N=weight_M
        )
        loss = (loss_N.double() * weight_N.double()).sum()
        loss += (loss_M.double() * weight_M.double()).sum()
        return loss, grad_ND.index_add(0, self.paired_M, grad_MD)


class SortedDistributions:
    """Guide of the objective `uld`.

    Args:
        teacher: With any tokenizer.
        pairs: The training rows as the teacher reads them, and as the student does.
        weight: See `UldTarget`.
    """

    def __init__(
        self,
        teacher: LiveTeacher,
        pairs: Iterable[tuple[TrainingRow, TrainingRow]],
        *,
        weight: float,
    ) -> None:
        self._teacher = teacher
        self._weight = weight
        self._texts: Mapping[str, EncodedExample] = {
            ours.encoded.signal_key: _readable(theirs.encoded, teacher.model.context_tokens)
            for theirs, ours in pairs
        }

    def __call__(self, lessons: Sequence[Lesson], batch: PredictingBatch) -> UldTarget:
        """Let the teacher read the same texts."""
        texts = [self._texts[lesson.example.signal_key] for lesson in lessons]
        hidden_QE = self._teacher.hidden_states(predicting_batch(texts))
        theirs, ours, their_start, our_start = [], [], 0, 0
        for text, lesson in zip(texts, lessons, strict=True):
            shared = torch.arange(min(len(text.completion_ids), lesson.num_tokens))
            theirs.append(their_start + shared)
            ours.append(our_start + shared)
            their_start += len(text.completion_ids)
            our_start += lesson.num_tokens
        target = HiddenTarget(hidden_QE[torch.cat(theirs)], self._teacher.head_VE)
        return UldTarget(batch.target_ids_N, torch.cat(ours), target, self._weight)


def _readable(text: EncodedExample, longest: int) -> EncodedExample:
    """As much of a text as the teacher can read; at least the first token of the completion."""
    return EncodedExample(text.ids[: max(longest, text.num_prompt + 1)], text.num_prompt)
