"""What comes out of the last layer, at the positions that predict a completion."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError, ShapeError
from stillhouse.models._load import LanguageModel
from stillhouse.models._masks import mask_obstacle
from stillhouse.models._prefix import hidden_states_after_prefix, shared_prefix
from stillhouse.models._sampling import exact_topk

# Architectures whose logits are not simply hidden @ head.T carry one of these settings.
_LOGIT_SETTINGS = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
)
_HEAD_ROWS = 128


class PredictingBatch(NamedTuple):
    """Several examples, right-padded, and where their completions are predicted.

    Attributes:
        ids_BT: Token ids without each example's last; padding is 0, which no valid position sees.
        rows_N: Row of each predicting position, example after example.
        columns_N: Its column: the position before the token that it predicts.
        target_ids_N: The completion tokens.
        num_shared: Leading columns that are the same in all rows and predict nothing.
    """

    ids_BT: Tensor
    rows_N: Tensor
    columns_N: Tensor
    target_ids_N: Tensor
    num_shared: int


def predicting_batch(examples: Sequence[EncodedExample]) -> PredictingBatch:
    """Pad `examples` on the right and list their predicting positions.

    This is the one place where targets are shifted against positions.

    Raises:
        ShapeError: there is no example, or one has no prompt, so nothing predicts its first token.
    """
    if not examples or any(example.num_prompt < 1 for example in examples):
        raise ShapeError(
            f"{len(examples)} examples: at least one is needed, and each must have a prompt."
        )
    # The last token of each example predicts nothing that is scored, so no model has to read it.
    width = max(len(example.ids) for example in examples) - 1
    ids_BT = torch.zeros(len(examples), width, dtype=torch.long)
    rows, columns, targets = [], [], []
    for row, example in enumerate(examples):
        ids_BT[row, : len(example.ids) - 1] = torch.tensor(example.ids[:-1])
        for position in range(example.num_prompt, len(example.ids)):
            rows.append(row)
            columns.append(position - 1)
            targets.append(example.ids[position])
    return PredictingBatch(
        ids_BT=ids_BT,
        rows_N=torch.tensor(rows, dtype=torch.long),
        columns_N=torch.tensor(columns, dtype=torch.long),
        target_ids_N=torch.tensor(targets, dtype=torch.long),
        num_shared=shared_prefix(
            [example.ids for example in examples],
            limit=min(example.num_prompt for example in examples) - 1,
        ),
    )


def predicting_hidden_states(network: Any, batch: PredictingBatch) -> Tensor:
    """Hidden states that the head turns into predictions of the completions, (N, D).

    No attention mask is needed: attention is causal and padding is on the right. What all rows
    begin with is computed once, where the model can be told so.
    """
    if batch.num_shared and not mask_obstacle(network.config.get_text_config()):
        hidden_BSD = hidden_states_after_prefix(network, batch.ids_BT, batch.num_shared)
        return hidden_BSD[batch.rows_N, batch.columns_N - batch.num_shared]
    hidden_BTD = network.get_decoder()(input_ids=batch.ids_BT, use_cache=False).last_hidden_state
    hidden_ND: Tensor = hidden_BTD[batch.rows_N, batch.columns_N]
    return hidden_ND


def output_head(network: Any) -> Tensor:
    """The head's weight, (V, D).

    Raises:
        ConfigError: the architecture does more than a matrix product after the last layer (a soft
            cap, a scale, a bias), which the chunked losses would silently leave out.
    """
    config = network.config.get_text_config()
    for setting in _LOGIT_SETTINGS:
        value = getattr(config, setting, None)
        if value not in (None, 1, 1.0, False):
            raise ConfigError(
                f"{config.model_type} models set {setting}={value}, which stillhouse does not "
                "apply in its losses. Use another model."
            )
    head = network.get_output_embeddings()
    if getattr(head, "bias", None) is not None:
        raise ConfigError(f"The head of this {config.model_type} model has a bias. Use another.")
    weight: Tensor = head.weight
    return weight


@torch.inference_mode()
def top_logprobs(
    model: LanguageModel, examples: Sequence[EncodedExample], k: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
    """The model's K largest log-probabilities at each completion token of given text.

    Yields:
        For each example of n completion tokens, ids (n, K) and log-probabilities (n, K) in nats
        at temperature 1, largest first.

    Raises:
        ConfigError: `k` is larger than the vocabulary.
    """
    batch = predicting_batch(examples)
    hidden_ND = predicting_hidden_states(model.network, batch)
    head_VD = output_head(model.network)
    if k > head_VD.shape[0]:
        raise ConfigError(f"top_k={k}, but the vocabulary has {head_VD.shape[0]} tokens.")
    ids, logprobs = [], []
    for hidden_CD in hidden_ND.split(_HEAD_ROWS):
        logits_CV = hidden_CD @ head_VD.T
        top_CK, ids_CK = exact_topk(logits_CV, k)
        ids.append(ids_CK)
        logprobs.append(top_CK - torch.logsumexp(logits_CV, dim=1, keepdim=True))
    lengths = [len(example.completion_ids) for example in examples]
    per_example = zip(
        torch.cat(ids).split(lengths), torch.cat(logprobs).split(lengths), strict=True
    )
    for ids_nK, logprobs_nK in per_example:
        yield ids_nK.numpy(), logprobs_nK.numpy()
