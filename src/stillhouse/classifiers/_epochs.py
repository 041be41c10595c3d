"""The epochs of an encoder's training: which one is kept, and going on after a stop.

Letters: M held-out texts, S labels that can be learnt.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from stillhouse.classifiers._checkpoint import load_epoch, save_epoch
from stillhouse.classifiers._judgement import judged
from stillhouse.classifiers._labels import Floats
from stillhouse.classifiers._linear import LinearHead
from stillhouse.classifiers._training import Ids, Trainer
from stillhouse.classifiers._weights import Array
from stillhouse.errors import CheckpointError
from stillhouse.runlog import Listener, Ticker

_BEST = "best."
_FIGURES = "figures"


@dataclass(frozen=True)
class HeldOut:
    """Validation rows that have a text and a label that can be learnt.

    Attributes:
        ids: M texts as token ids.
        targets_NS: (M, S) probabilities of the labels that can be learnt.
    """

    ids: Ids
    targets_NS: Floats


@dataclass(frozen=True)
class BestEpoch:
    """The epoch that is kept.

    Attributes:
        epoch: From 0.
        nats: Its cross-entropy on the validation rows, calibrated; None without such rows.
        agreement: Its agreement with them.
        student: The averaged weights and head.
    """

    epoch: int
    nats: float | None
    agreement: float | None
    student: tuple[dict[str, Array], LinearHead]


class Epochs:
    """Epoch after epoch, with the best one's weights and a checkpoint of the last one.

    Args:
        trainer: Before its first step.
        num_epochs: How many in all.
        held_out: Rows that say which is best; without any, it is the last.
        is_multiple: Whether a text may have several labels.
        on_progress: Is told after each step.
    """

    def __init__(
        self,
        trainer: Trainer,
        num_epochs: int,
        held_out: HeldOut,
        *,
        is_multiple: bool,
        on_progress: Listener,
    ) -> None:
        self._trainer = trainer
        self._num_epochs = num_epochs
        self._held_out = held_out
        self._is_multiple = is_multiple
        self._on_progress = on_progress

    def run(self, folder: Path | None, identity: str) -> BestEpoch:
        """Train to the end, from the checkpoint in `folder` if it is of the same training."""
        saved = load_epoch(folder, identity=identity) if folder else {}
        best, first = self._restored(saved) if saved else (None, 0)
        steps = self._trainer.steps_per_epoch
        ticker = Ticker(
            self._on_progress,
            stage="fit encoder",
            total=self._num_epochs * steps,
            unit="steps",
            done=first * steps,
        )
        for epoch in range(first, self._num_epochs):
            for loss in self._trainer.run_epoch(epoch):
                ticker.advance(metrics={"fit/loss_nats": loss})
            best = self._better(best, epoch)
            if folder:
                save_epoch(folder, self._state(best, epoch), identity=identity)
        assert best is not None  # there is one epoch at least
        return best

    def _better(self, best: BestEpoch | None, epoch: int) -> BestEpoch:
        if not self._held_out.ids:
            return BestEpoch(epoch, None, None, self._trainer.averaged())
        logits_NS = self._trainer.averaged_logits(self._held_out.ids).double().numpy()
        judgement = judged(logits_NS, self._held_out.targets_NS, is_multiple=self._is_multiple)
        if best is not None and best.nats is not None and best.nats <= judgement.nats:
            return best
        return BestEpoch(epoch, judgement.nats, judgement.agreement, self._trainer.averaged())

    def _state(self, best: BestEpoch, epoch: int) -> dict[str, Tensor]:
        weights, head = best.student
        nan = float("nan")
        figures = [float(epoch), float(best.epoch), best.nats, best.agreement]
        kept = [nan if figure is None else figure for figure in figures]
        return {
            **self._trainer.state(),
            **{f"{_BEST}{name}": torch.from_numpy(array) for name, array in weights.items()},
            f"{_BEST}head.weights": torch.from_numpy(head.weights_FL),
            f"{_BEST}head.bias": torch.from_numpy(head.bias_L),
            _FIGURES: torch.tensor(kept, dtype=torch.float64),
        }

    def _restored(self, saved: dict[str, Tensor]) -> tuple[BestEpoch, int]:
        """The best epoch so far, and the one to go on with."""
        self._trainer.restore(saved)
        try:
            epoch, best_epoch, nats, right = saved[_FIGURES].tolist()
            head = LinearHead(
                saved[f"{_BEST}head.weights"].numpy(), saved[f"{_BEST}head.bias"].numpy()
            )
        except (KeyError, ValueError) as err:
            raise CheckpointError(
                f"The checkpoint lacks what was best so far ({err}). Remove it to begin again."
            ) from err
        weights = {
            name.removeprefix(_BEST): tensor.numpy()
            for name, tensor in saved.items()
            if name.startswith(_BEST) and not name.startswith(f"{_BEST}head.")
        }
        is_judged = not np.isnan(nats)
        best = BestEpoch(
            int(best_epoch),
            nats if is_judged else None,
            right if is_judged else None,
            (weights, head),
        )
        return best, int(epoch) + 1
