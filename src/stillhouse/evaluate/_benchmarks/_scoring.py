"""How likely a model is to go on with given tokens, and whether it would by itself.

What requests of one item begin with is read once for all of them, so the choices of a question
cost one reading of the question.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch

from stillhouse.chat import EncodedExample
from stillhouse.errors import IntegrityError
from stillhouse.models import (
    LanguageModel,
    output_head,
    predicting_batch,
    predicting_hidden_states,
)

_PASS_TOKENS = 8_192  # of a forward pass: bounds padding and activations
_HEAD_ROWS = 128


class Continued(NamedTuple):
    """What a model thinks of one continuation.

    Attributes:
        logprob_nats: The sum over its tokens.
        is_greedy: Whether each of them is the model's first choice.
    """

    logprob_nats: float
    is_greedy: bool


def score_continuations(
    model: LanguageModel,
    examples: Sequence[EncodedExample],
    on_scored: Callable[[int], None] = lambda _: None,
) -> list[Continued]:
    """Score the part of each example behind its prompt.

    Args:
        model: What scores.
        examples: Context and continuation, each of at least one token, within the model's context.
        on_scored: Told how many more are done.

    Returns:
        One for each example, in their order.

    Raises:
        ConfigError: the model's head is not a plain matrix.
        IntegrityError: the model gives NaN.
        ShapeError: an example has no context.
    """
    found: dict[int, Continued] = {}
    for batch in _batches(examples):
        scored = _score([examples[index] for index in batch], model)
        if any(math.isnan(one.logprob_nats) for one in scored):
            raise IntegrityError(
                f"{model.name} gives NaN instead of probabilities: its weights are damaged. Fetch "
                "or train it again."
            )
        found.update(zip(batch, scored, strict=True))
        on_scored(len(batch))
    return [found[index] for index in range(len(examples))]


@torch.inference_mode()
def _score(examples: Sequence[EncodedExample], model: LanguageModel) -> list[Continued]:
    batch = predicting_batch(examples)
    hidden_ND = predicting_hidden_states(model.network, batch)
    head_VD = output_head(model.network)
    logprobs, are_first = [], []
    for hidden_CD, target_C in zip(
        hidden_ND.split(_HEAD_ROWS), batch.target_ids_N.split(_HEAD_ROWS), strict=True
    ):
        logits_CV = hidden_CD @ head_VD.T
        chosen_C = logits_CV.gather(1, target_C.unsqueeze(1)).squeeze(1)
        logprobs.append(chosen_C - torch.logsumexp(logits_CV, dim=1))
        are_first.append(logits_CV.argmax(dim=1) == target_C)
    lengths = [len(example.completion_ids) for example in examples]
    per_example = zip(
        torch.cat(logprobs).double().split(lengths),
        torch.cat(are_first).split(lengths),
        strict=True,
    )
    return [Continued(float(nats_n.sum()), bool(is_n.all())) for nats_n, is_n in per_example]


def _batches(examples: Sequence[EncodedExample]) -> Iterator[list[int]]:
    """Indices of what is read together: those that begin alike stand beside each other."""
    batch: list[int] = []
    width = 0
    for index in sorted(range(len(examples)), key=lambda index: examples[index].ids):
        length = len(examples[index].ids)
        if batch and (len(batch) + 1) * max(width, length) > _PASS_TOKENS:
            yield batch
            batch, width = [], 0
        batch.append(index)
        width = max(width, length)
    if batch:
        yield batch
