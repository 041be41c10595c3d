"""Closeness to the teacher on the teacher's own held-out text, token by token."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stillhouse.chat import ChatTokenizer, EncodedExample
from stillhouse.errors import VocabularyMismatchError
from stillhouse.losses import score_against_head
from stillhouse.models import (
    LanguageModel,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)

_BATCH_TOKENS = 2_048  # padded, as in capture

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class TokenScores:
    """One model's scores on the completion tokens of P prompts, N tokens in all.

    Attributes:
        prompt_N: Index of the prompt a token belongs to.
        position_N: Index of the token in its completion.
        forward_kl_N: KL(teacher || model), nats; zero for the teacher itself.
        top1_N: 1.0 where both models rank the same token first.
        nll_N: -log q(token), nats.
    """

    prompt_N: npt.NDArray[np.int64]
    position_N: npt.NDArray[np.int64]
    forward_kl_N: Floats
    top1_N: Floats
    nll_N: Floats

    def per_prompt(self, values_N: Floats) -> Floats:
        """Sums over each prompt's tokens, (P,)."""
        return np.bincount(self.prompt_N, weights=values_N).astype(np.float64)

    @property
    def tokens_P(self) -> Floats:
        """Completion tokens of each prompt."""
        return np.bincount(self.prompt_N).astype(np.float64)


class TeacherScorer:
    """Holds the teacher's hidden states, so each student costs one forward pass of its own."""

    def __init__(self, teacher: LanguageModel, examples: Sequence[EncodedExample]) -> None:
        self._teacher = teacher
        self._examples = examples
        self._batches = list(_length_batches(examples))
        self._hidden = [self._hidden_states(teacher, batch) for batch in self._batches]

    def score(self, model: LanguageModel) -> TokenScores:
        """Score a model, the teacher itself included.

        Raises:
            VocabularyMismatchError: its tokenizer or template is not the teacher's.
        """
        require_same_text(
            model.name,
            self._teacher.chat,
            vocabulary_sha256=model.chat.vocabulary_sha256,
            template_sha256=model.chat.template_sha256,
        )
        head_VD = output_head(model.network)
        parts = []
        for batch, teacher_hidden in zip(self._batches, self._hidden, strict=True):
            examples = [self._examples[index] for index in batch]
            hidden = teacher_hidden if model is self._teacher else self._hidden_states(model, batch)
            scores = score_against_head(
                hidden,
                head_VD,
                teacher_hidden,
                output_head(self._teacher.network),
                predicting_batch(examples).target_ids_N,
            )
            lengths = [len(example.completion_ids) for example in examples]
            parts.append(
                TokenScores(
                    prompt_N=np.repeat(np.array(batch), lengths),
                    position_N=np.concatenate([np.arange(length) for length in lengths]),
                    forward_kl_N=_floats(scores.forward_kl_N.clamp(min=0.0)),
                    top1_N=_floats(scores.is_top1_N),
                    nll_N=_floats(-scores.student_logprob_N),
                )
            )
        return TokenScores(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS)
        )

    @torch.inference_mode()
    def _hidden_states(self, model: LanguageModel, batch: Sequence[int]) -> Tensor:
        examples = [self._examples[index] for index in batch]
        return predicting_hidden_states(model.network, predicting_batch(examples))


def require_same_text(
    name: str, teacher: ChatTokenizer, *, vocabulary_sha256: str, template_sha256: str
) -> None:
    """Refuse a model that reads the same messages as other tokens.

    Args:
        name: What the message calls the model.
        teacher: Whose distributions it is to be compared with.
        vocabulary_sha256: Fingerprint of its tokenizer.
        template_sha256: That of its chat template.

    Raises:
        VocabularyMismatchError: one of the two is not the teacher's.
    """
    ours = (teacher.vocabulary_sha256, teacher.template_sha256)
    if (vocabulary_sha256, template_sha256) != ours:
        raise VocabularyMismatchError(
            f"{name} has another tokenizer or chat template than the teacher {teacher.name}; "
            "their distributions cannot be compared token by token."
        )


_FIELDS = ("prompt_N", "position_N", "forward_kl_N", "top1_N", "nll_N")


def _floats(values_N: Tensor) -> Floats:
    return values_N.double().numpy()


def _length_batches(examples: Sequence[EncodedExample]) -> Iterator[list[int]]:
    batch: list[int] = []
    for index in sorted(range(len(examples)), key=lambda index: len(examples[index].ids)):
        if batch and (len(batch) + 1) * len(examples[index].ids) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(index)
    yield batch
