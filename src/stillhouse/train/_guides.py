"""Who says what the student should predict: one guide per kind of teacher signal.

A guide turns the lessons of a batch into the target of the loss. It knows nothing of where the
texts came from (`_sources`), and nothing of how the loss compares (`losses`): the three are chosen
apart.
"""

from collections.abc import Callable, Sequence

import torch

from stillhouse.losses import HeadTarget, TokenTarget, TopKTarget
from stillhouse.models import PredictingBatch
from stillhouse.signal import SignalReader, TopKSignal
from stillhouse.train._lessons import Lesson

Guide = Callable[[Sequence[Lesson], PredictingBatch], HeadTarget]
"""Gives the loss its target for the lessons of a batch."""


def own_tokens(lessons: Sequence[Lesson], batch: PredictingBatch) -> TokenTarget:
    """The tokens of the texts themselves."""
    return TokenTarget(batch.target_ids_N)


class CapturedSignal:
    """The teacher's distributions as they were captured, looked up by the text."""

    def __init__(self, signal: SignalReader) -> None:
        self._signal = signal

    def __call__(self, lessons: Sequence[Lesson], batch: PredictingBatch) -> TopKTarget:
        """Look each text up by its content.

        Raises:
            IntegrityError: one is not in the signal.
        """
        rows = TopKSignal.joined([self._signal.read(one.example.signal_key) for one in lessons])
        return TopKTarget(
            ids_NK=torch.from_numpy(rows.ids).long(),
            logprobs_NK=torch.from_numpy(rows.logprobs),
            tail_logprob_N=torch.from_numpy(rows.tail_logprob),
        )
