"""Matching a teacher's hidden states through a linear map that is trained with the student."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor

from stillhouse.errors import ConfigError, ShapeError


def _mean_square(mapped_NE: Tensor, teacher_NE: Tensor) -> Tensor:
    """Mean over the width of the squared difference."""
    return (mapped_NE - teacher_NE).square().mean(dim=1)


def _cosine(mapped_NE: Tensor, teacher_NE: Tensor) -> Tensor:
    """1 - cosine of the angle: blind to length."""
    return 1.0 - F.cosine_similarity(mapped_NE, teacher_NE, dim=1)


HIDDEN_DISTANCES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"mean_square": _mean_square, "cosine": _cosine}
)


def hidden_state_loss(
    student_ND: Tensor, teacher_NE: Tensor, map_ED: Tensor, distance: str = "mean_square"
) -> Tensor:
    """Distance (N,) of the teacher's hidden states from the student's, mapped by `map_ED`.

    No tensor here is as wide as a vocabulary, so autograd does the rest.

    Raises:
        ConfigError: the distance is unknown.
        ShapeError: positions or widths do not fit.

    Gradients: flow to student and map; the teacher is detached.
    Source: FitNets 2014, arXiv:1412.6550; for language models Minitron 2024, arXiv:2407.14679.
    """
    if distance not in HIDDEN_DISTANCES:
        raise ConfigError(f"distance {distance!r}; give one of {', '.join(HIDDEN_DISTANCES)}.")
    wanted = (teacher_NE.shape[1], student_ND.shape[1])
    if student_ND.shape[0] != teacher_NE.shape[0] or map_ED.shape != wanted:
        raise ShapeError(
            f"student {tuple(student_ND.shape)}, teacher {tuple(teacher_NE.shape)} and map "
            f"{tuple(map_ED.shape)}: need as many positions each and a map of shape {wanted}."
        )
    if student_ND.shape[0] == 0:
        raise ShapeError("no positions to learn from; give at least one.")
    return HIDDEN_DISTANCES[distance](student_ND @ map_ED.T, teacher_NE.detach())
