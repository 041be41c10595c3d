"""The error that a top-k signal makes in the gradient, against the whole distribution.

The relative L2 error of the gradient by the logits, q - p, for the teacher with a little noise in
its weights, and for a student in training. `bias` is the norm of the mean error over the mean norm
of the gradient.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.models import (
    LanguageModel,
    load_model,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)
from stillhouse.signal import TopKSignal

TILE = 100
NOISE = 0.03  # of each matrix's standard deviation: 0.03 nats from the teacher


def students(teacher: LanguageModel, folder: str | None) -> Iterator[tuple[str, Any]]:
    noisy = copy.deepcopy(teacher.network)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in noisy.named_parameters():
            if weight.dim() == 2 and "embed" not in name:
                noise = torch.randn(weight.shape, generator=generator)
                weight.add_(noise * weight.std() * NOISE)
    yield "teacher with noise", noisy
    if folder:
        yield "student in training", load_model(folder).network


@torch.inference_mode()
def gradient_error(
    teacher: LanguageModel,
    examples: Sequence[EncodedExample],
    targets: Mapping[str, Sequence[TopKSignal]],
    student: Any,
) -> dict[str, Any]:
    """Errors of the signals of whole examples, each kind under its name."""
    tally = _Tally(list(targets))
    for number, _ in enumerate(examples):
        student_nD = hidden_states(student, examples[number])
        teacher_nD = hidden_states(teacher.network, examples[number])
        start = 0
        for logprobs_CV, hidden_CD in zip(
            tiles(teacher, teacher_nD), torch.split(student_nD, TILE), strict=True
        ):
            logits_CV = hidden_CD @ output_head(student).T
            stop = start + len(logits_CV)
            given = {name: signals[number].rows(start, stop) for name, signals in targets.items()}
            tally.add(logprobs_CV.exp(), torch.softmax(logits_CV, dim=1), given)
            start = stop
    return tally.result()


class _Tally:
    def __init__(self, names: Sequence[str]) -> None:
        self.num_positions = 0
        self._errors: dict[str, list[Tensor]] = {name: [] for name in names}
        self._mean_error: dict[str, Any] = dict.fromkeys(names, 0.0)
        self._norms: list[Tensor] = []
        self._mean_gradient: Any = 0.0
        self._kl: list[Tensor] = []

    def add(self, teacher_CV: Tensor, student_CV: Tensor, given: dict[str, TopKSignal]) -> None:
        dense_CV = student_CV - teacher_CV
        norm_C = dense_CV.norm(dim=1)
        for name, signal in given.items():
            error_CV = sparse_gradient(student_CV, signal) - dense_CV
            self._errors[name].append(error_CV.norm(dim=1) / norm_C)
            self._mean_error[name] = self._mean_error[name] + error_CV.sum(dim=0).double()
        self._norms.append(norm_C)
        self._mean_gradient = self._mean_gradient + dense_CV.sum(dim=0).double()
        log_ratio_CV = (teacher_CV.clamp_min(1e-30) / student_CV.clamp_min(1e-30)).log()
        self._kl.append((teacher_CV * log_ratio_CV).sum(dim=1))
        self.num_positions += len(norm_C)

    def result(self) -> dict[str, Any]:
        norms = torch.cat(self._norms)
        summary: dict[str, Any] = {
            "positions": self.num_positions,
            "kl_nats": float(torch.cat(self._kl).mean()),
        }
        for name, parts in self._errors.items():
            errors = torch.cat(parts)
            summary[name] = {
                "mean": float(errors.mean()),
                "median": float(errors.median()),
                "p95": float(errors.quantile(0.95)),
                "of_all_positions_together": float(
                    ((errors * norms) ** 2).sum().sqrt() / (norms**2).sum().sqrt()
                ),
            }
        for name, error_V in self._mean_error.items():
            mean_norm = float(norms.sum())
            summary[name]["bias"] = float(error_V.norm()) / mean_norm
            summary[name]["bias_of_mean_gradient"] = float(
                error_V.norm() / self._mean_gradient.norm()
            )
        return summary


def sparse_gradient(student_CV: Tensor, signal: TopKSignal) -> Tensor:
    """Of top-k + tail, by the logits: q - p on the ids, r (Q - P) elsewhere, r = q / Q."""
    ids_CK = torch.from_numpy(signal.ids).long()
    probs_CK = torch.from_numpy(np.exp(signal.logprobs))
    tail_C1 = torch.from_numpy(np.exp(signal.tail_logprob)).unsqueeze(1)
    outside_CV = student_CV.clone().scatter_(1, ids_CK, 0.0)
    mass_C1 = outside_CV.sum(dim=1, keepdim=True).clamp_min(1e-30)
    gradient_CV = outside_CV * ((mass_C1 - tail_C1) / mass_C1)
    # Fillers repeat the first id and have no mass: added, they change nothing.
    teacher_CV = torch.zeros_like(student_CV).scatter_add_(1, ids_CK, probs_CK)
    kept_CK = student_CV.gather(1, ids_CK) - teacher_CV.gather(1, ids_CK)
    return gradient_CV.scatter_(1, ids_CK, kept_CK)


@torch.inference_mode()
def hidden_states(network: Any, example: EncodedExample) -> Tensor:
    return predicting_hidden_states(network, predicting_batch([example]))


def tiles(teacher: LanguageModel, hidden_nD: Tensor) -> Iterator[Tensor]:
    head_VD = output_head(teacher.network).detach()
    for hidden_CD in torch.split(hidden_nD, TILE):
        yield torch.log_softmax(hidden_CD @ head_VD.T, dim=1)
