"""What each objective wants the student to predict."""

from collections.abc import Sequence

import numpy as np
import torch

from stillhouse.chat import EncodedExample
from stillhouse.losses import TokenTarget, TopKTarget
from stillhouse.models import PredictingBatch
from stillhouse.signal import SignalReader, TopKSignal


def token_target(examples: Sequence[EncodedExample], batch: PredictingBatch) -> TokenTarget:
    """The teacher's own tokens."""
    return TokenTarget(batch.target_ids_N)


class SignalTarget:
    """The teacher's captured distributions."""

    def __init__(self, signal: SignalReader) -> None:
        self._signal = signal

    def __call__(self, examples: Sequence[EncodedExample], batch: PredictingBatch) -> TopKTarget:
        """Look each example up by its content.

        Raises:
            IntegrityError: an example is not in the signal.
        """
        rows: list[TopKSignal] = [self._signal.read(example.signal_key) for example in examples]
        return TopKTarget(
            ids_NK=torch.from_numpy(np.concatenate([row.ids for row in rows])).long(),
            logprobs_NK=torch.from_numpy(np.concatenate([row.logprobs for row in rows])),
            tail_logprob_N=torch.from_numpy(np.concatenate([row.tail_logprob for row in rows])),
        )
