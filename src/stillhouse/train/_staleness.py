"""Weights for texts that an earlier state of the student drew.

A divergence at a position is computed from the present student whatever the text's age; what is out
of date is how likely the student is to come to that position. The ratio of the two probabilities
of the text before it would set that right, at a variance that grows with the text, so it is bounded
(AsyncOPD 2026, arXiv:2606.24143).
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from stillhouse.train._lessons import Lesson
from stillhouse.train._methods import OBJECTIVES, ObjectiveName
from stillhouse.train._rollout_config import RolloutConfig

Correction = Literal["none", "truncate", "gate"]


def chosen_correction(config: RolloutConfig, objective: ObjectiveName) -> Correction:
    """What is done about age with an objective."""
    if OBJECTIVES[objective].is_of_drawn_tokens:
        return "none"  # the objective weighs each token by its own ratio
    if config.correction != "auto":
        return config.correction
    return "none" if objective == "forward_kl" else "truncate"


def prefix_factors(
    lessons: Sequence[Lesson], logprob_N: Tensor, correction: Correction, max_ratio: float
) -> Tensor:
    """The factor of each position, (N,): 1 on texts of this very student, or of others.

    Args:
        lessons: N tokens in all.
        logprob_N: Of their tokens under the present student.
        correction: Bound the ratio at `max_ratio`, or leave out what is beyond it either way.
        max_ratio: The bound.
    """
    factors = []
    lengths = [lesson.num_tokens for lesson in lessons]
    for lesson, logprob_T in zip(lessons, logprob_N.split(lengths), strict=True):
        if lesson.age_steps == 0 or lesson.behaviour_logprobs is None or correction == "none":
            factors.append(torch.ones_like(logprob_T))
            continue
        behaviour_T = torch.from_numpy(lesson.behaviour_logprobs).to(logprob_T)
        log_ratio_T = (logprob_T - behaviour_T).cumsum(dim=0) - (logprob_T - behaviour_T)
        limit = math.log(max_ratio)
        factor_T = log_ratio_T.clamp(max=limit).exp()
        if correction == "gate":
            factor_T = torch.where(log_ratio_T.abs() <= limit, factor_T, 0.0)
        factors.append(factor_T)
    return torch.cat(factors)
