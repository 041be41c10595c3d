"""What a student is to match: one record per kind of teacher signal.

Every target has one row per position; `rows` gives those of a tile without copying. Teacher and
student must speak of the same ids; where one vocabulary is longer (padding, added tokens), cut
both to the shared part: an id that only one of them has must not get a logit of 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from stillhouse.errors import ShapeError
from stillhouse.losses._head import PLAIN, HeadForm


class _Rows:
    """Rows of all tensors whose names say that they have one per position (`_N...`)."""

    def _per_position(self) -> Iterator[tuple[str, Tensor]]:
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.name.rpartition("_")[2].startswith("N") and value is not None:
                yield field.name, value

    def __post_init__(self) -> None:
        sizes = {name: tensor.shape[0] for name, tensor in self._per_position()}
        if len(set(sizes.values())) != 1:
            raise ShapeError(f"{type(self).__name__} with rows {sizes}; there must be one each.")

    def __len__(self) -> int:
        return int(next(self._per_position())[1].shape[0])

    def rows(self, start: int, stop: int) -> Self:
        """The target of positions `start` to `stop`."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return type(self)(
            **given | {name: tensor[start:stop] for name, tensor in self._per_position()}
        )


@dataclass(frozen=True)
class TokenTarget(_Rows):
    """Hard targets: the ids to predict, (N,) int64."""

    ids_N: Tensor


@dataclass(frozen=True)
class ScoredTarget(_Rows):
    """Tokens that the student drew, with the log-probabilities that teacher and sampler gave them.

    Attributes:
        ids_N: The tokens, int64.
        teacher_logprob_N: log p(token) at temperature 1.
        behaviour_logprob_N: Of the distribution that they were drawn from, which must be the
            student's whole one (top_p = 1), perhaps of some updates ago.
        baseline_N: Of log(q / p), to compare with in a policy gradient; it may depend on anything
            but the token and what came after. None for 0.
    """

    ids_N: Tensor
    teacher_logprob_N: Tensor
    behaviour_logprob_N: Tensor
    baseline_N: Tensor | None = None


@dataclass(frozen=True)
class SampledTarget(_Rows):
    """Unbiased estimate of the teacher from draws of it (RS-KD, arXiv:2503.16870).

    Attributes:
        ids_NJ: Drawn ids, int64; an id may occur twice.
        weights_NJ: count / draws where ids were drawn from the teacher itself; 0 fills a row.
    """

    ids_NJ: Tensor
    weights_NJ: Tensor


@dataclass(frozen=True)
class TopKTarget(_Rows):
    """A teacher's top-k log-probabilities and the log of the mass outside them.

    Attributes:
        ids_NK: Distinct ids in a row, int64. A row of fewer ids is filled by repeating its first
            one: a filler is no outcome, and its log-probability is not read.
        logprobs_NK: Under the whole vocabulary, not renormalised, at temperature 1.
        tail_logprob_N: -inf where nothing is left; not read where K = V.
    """

    ids_NK: Tensor
    logprobs_NK: Tensor
    tail_logprob_N: Tensor


@dataclass(frozen=True)
class DenseTarget(_Rows):
    """A teacher's logits over the student's vocabulary."""

    logits_NV: Tensor

    @property
    def vocabulary_size(self) -> int:
        """V of the teacher."""
        return int(self.logits_NV.shape[1])

    def teacher_logits_CV(self) -> Tensor:
        """All logits of these rows."""
        return self.logits_NV

    def cut(self, vocabulary_size: int) -> "DenseTarget":
        """The first ids alone."""
        return DenseTarget(self.logits_NV[:, :vocabulary_size])


@dataclass(frozen=True)
class HiddenTarget(_Rows):
    """A teacher's hidden states and head; its logits exist for one tile at a time.

    Attributes:
        hidden_NE: At the positions that predict.
        head_VE: The teacher's head.
        form: What the teacher does after the product.
    """

    hidden_NE: Tensor
    head_VE: Tensor
    form: HeadForm = PLAIN

    @property
    def vocabulary_size(self) -> int:
        """V of the teacher."""
        return int(self.head_VE.shape[0])

    def teacher_logits_CV(self) -> Tensor:
        """Logits of these rows, made now."""
        logits_CV = self.hidden_NE.detach() @ self.head_VE.detach().T
        self.form.apply_(logits_CV)
        return logits_CV

    def cut(self, vocabulary_size: int) -> "HiddenTarget":
        """The first ids alone."""
        return HiddenTarget(self.hidden_NE, self.head_VE[:vocabulary_size], self.form)


@dataclass(frozen=True)
class MixtureTarget(_Rows):
    """Several teachers as one: the mean of their probabilities, weighed anew at each position.

    Attributes:
        weights_NM: Of M teachers; each row sums to 1. A teacher's rows of no weight are not read.
        teachers: M of them, N rows each, of one vocabulary.
    """

    weights_NM: Tensor
    teachers: tuple[HiddenTarget, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = [(len(one), one.vocabulary_size) for one in self.teachers]
        if len(set(sizes)) != 1 or self.weights_NM.shape != (sizes[0][0], len(sizes)):
            raise ShapeError(
                f"weights of shape {tuple(self.weights_NM.shape)} for teachers with (rows, "
                f"vocabulary) {sizes}; all must be alike and have a column each."
            )

    @property
    def vocabulary_size(self) -> int:
        """V of the teachers."""
        return self.teachers[0].vocabulary_size

    def rows(self, start: int, stop: int) -> "MixtureTarget":
        """The target of positions `start` to `stop`."""
        return MixtureTarget(
            self.weights_NM[start:stop], tuple(one.rows(start, stop) for one in self.teachers)
        )

    def teacher_logits_CV(self) -> Tensor:
        """Log-probabilities of the mixture of these rows, made now."""
        mixed_CV: Tensor | None = None
        for teacher, weight_C in zip(self.teachers, self.weights_NM.T, strict=True):
            if not bool(weight_C.any()):
                continue
            logits_CV = teacher.teacher_logits_CV()
            logits_CV -= torch.logsumexp(logits_CV, dim=1, keepdim=True)
            logits_CV += weight_C.log().unsqueeze(1)
            if mixed_CV is None:
                mixed_CV = logits_CV
            else:
                torch.logaddexp(mixed_CV, logits_CV, out=mixed_CV)
        if mixed_CV is None:
            raise ShapeError("no teacher has any weight at these positions; weights sum to 1.")
        return mixed_CV

    def cut(self, vocabulary_size: int) -> "MixtureTarget":
        """The first ids alone."""
        return MixtureTarget(
            self.weights_NM, tuple(one.cut(vocabulary_size) for one in self.teachers)
        )


@dataclass(frozen=True)
class ProjectedTarget(_Rows):
    """A teacher's top-k with another tokenizer: each of its ids is a weighted set of student ids.

    The student's probability of teacher id k is the sum of weight * q(student id); what no set
    claims is the tail. A teacher id without any student id belongs into the tail.

    Attributes:
        logprobs_NK: The teacher's, at temperature 1.
        tail_logprob_N: Log of the mass outside; -inf for none.
        student_ids_NKJ: Int64; a set shorter than J is filled with any id of weight 0.
        weights_NKJ: Over all sets of a row, the weights of one student id sum to at most 1.
    """

    logprobs_NK: Tensor
    tail_logprob_N: Tensor
    student_ids_NKJ: Tensor
    weights_NKJ: Tensor


HeadTarget = (
    TokenTarget
    | ScoredTarget
    | SampledTarget
    | TopKTarget
    | DenseTarget
    | HiddenTarget
    | MixtureTarget
    | ProjectedTarget
)

WholeTarget = DenseTarget | HiddenTarget | MixtureTarget
"""Those with a logit for every id."""


def draw_target(
    teacher_logprobs_NV: Tensor, num_draws: int, *, flatten: float, generator: torch.Generator
) -> SampledTarget:
    """Draw from a teacher and weigh the draws so that their mean is the teacher.

    Args:
        teacher_logprobs_NV: Log-probabilities.
        num_draws: Draws per row, with replacement.
        flatten: The draws come from p ** flatten, normalised; 1 draws from p itself.
        generator: Source of the draws.
    """
    proposal_NV = torch.softmax(teacher_logprobs_NV * flatten, dim=1)
    ids_NJ = torch.multinomial(proposal_NV, num_draws, replacement=True, generator=generator)
    weights_NJ = teacher_logprobs_NV.gather(1, ids_NJ).exp() / proposal_NV.gather(1, ids_NJ)
    return SampledTarget(ids_NJ, weights_NJ / num_draws)
