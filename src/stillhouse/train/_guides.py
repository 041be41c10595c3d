"""Who says what the student should predict: one guide per kind of teacher signal.

A guide turns the lessons of a batch into the target of the loss. It knows nothing of where the
texts came from (`_sources`), and nothing of how the loss compares (`losses`): the three are chosen
apart.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from stillhouse.errors import ConfigError
from stillhouse.losses import Head, HeadTarget, HiddenTarget, SampledTarget, TokenTarget, TopKTarget
from stillhouse.models import PredictingBatch
from stillhouse.signal import SampledSignal, SignalReader, TopKSignal
from stillhouse.train._lessons import Lesson


@runtime_checkable
class TextTarget(Protocol):
    """A target of sums over several tokens: it brings its loss with it."""

    def loss_and_grad(
        self, hidden_ND: Tensor, head: Head, weight_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The weighted sum of the losses and its gradient by the hidden states.

        Args:
            hidden_ND: Hidden states at the positions that predict.
            head: The head; its gradient is added to `head.grad_VD`.
            weight_N: What each token counts in the loss of the whole step.
        """
        ...


Guide = Callable[[Sequence[Lesson], PredictingBatch], HeadTarget | TextTarget]
"""Gives the loss its target for the lessons of a batch."""


def own_tokens(lessons: Sequence[Lesson], batch: PredictingBatch) -> TokenTarget:
    """The tokens of the texts themselves."""
    return TokenTarget(batch.target_ids_N)


class CapturedSignal:
    """The teacher's distributions as they were captured, looked up by the text.

    Raises:
        ConfigError: the signal's codec keeps no distributions.
        IntegrityError: the head that belongs to hidden states is not there.
    """

    def __init__(self, signal: SignalReader) -> None:
        self._signal = signal
        codec = signal.codec.name if signal.codec else "topk"
        if codec not in ("topk", "adaptive", "relative", "sampled", "hidden"):
            raise ConfigError(
                f"The signal's codec {codec} keeps no distributions, which this objective learns "
                "from. Capture with codec topk, adaptive, relative, sampled or hidden."
            )
        self._head_VE = torch.from_numpy(signal.head()) if codec == "hidden" else None

    def __call__(
        self, lessons: Sequence[Lesson], batch: PredictingBatch
    ) -> TopKTarget | SampledTarget | HiddenTarget:
        """Look each text up by its content.

        Raises:
            IntegrityError: one is not in the signal.
        """
        rows = [self._signal.read(one.example.signal_key) for one in lessons]
        if self._head_VE is not None:
            hidden = np.concatenate([row.hidden for row in rows])
            return HiddenTarget(torch.from_numpy(hidden), self._head_VE)
        if isinstance(rows[0], SampledSignal):
            return _sampled_target(SampledSignal.joined(rows))
        return _topk_target(TopKSignal.joined(rows))


def _topk_target(signal: TopKSignal) -> TopKTarget:
    return TopKTarget(
        ids_NK=torch.from_numpy(signal.ids).long(),
        logprobs_NK=torch.from_numpy(signal.logprobs),
        tail_logprob_N=torch.from_numpy(signal.tail_logprob),
    )


def _sampled_target(signal: SampledSignal) -> SampledTarget:
    return SampledTarget(
        ids_NJ=torch.from_numpy(signal.ids).long(), weights_NJ=torch.from_numpy(signal.weights)
    )
