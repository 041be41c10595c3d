"""Hidden states at predicting positions, whatever shares a batch with them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
import torch
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError, ShapeError
from stillhouse.losses import Head, Objective, TokenTarget, head_loss_and_grad
from stillhouse.models import (
    LanguageModel,
    load_model,
    output_head,
    predicting_batch,
    predicting_hidden_states,
    top_logprobs,
)


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return load_model(tiny_folder)


def example(num_prompt: int, num_completion: int, *, seed: int, shared: int = 0) -> EncodedExample:
    """Random ids, of which the first `shared` are those of every example."""
    ids = np.random.default_rng(seed).integers(3, 300, num_prompt + num_completion)
    ids[:shared] = np.arange(10, 10 + shared)
    return EncodedExample(ids=tuple(ids.tolist()), num_prompt=num_prompt)


RAGGED = [example(5, 4, seed=1), example(12, 1, seed=2), example(3, 9, seed=3)]
SHARING = [
    example(14, 4, seed=1, shared=12),
    example(13, 1, seed=2, shared=12),
    example(20, 9, seed=3, shared=12),
]


def losses(model: LanguageModel, examples: list[EncodedExample]) -> Tensor:
    batch = predicting_batch(examples)
    loss_N, _ = head_loss_and_grad(
        predicting_hidden_states(model.network, batch),
        Head(output_head(model.network).detach()),
        TokenTarget(batch.target_ids_N),
        Objective("sft"),
        weight_N=torch.ones(len(batch.target_ids_N)),
    )
    return loss_N


def test_positions_by_hand() -> None:
    batch = predicting_batch(
        [
            EncodedExample(ids=(11, 12, 13, 14), num_prompt=2),
            EncodedExample(ids=(21, 22), num_prompt=1),
        ]
    )
    # 12 predicts 13, 13 predicts 14, 21 predicts 22; what 14 and 22 predict nobody asks.
    assert batch.ids_BT.tolist() == [[11, 12, 13], [21, 0, 0]]
    assert batch.rows_N.tolist() == [0, 0, 1]
    assert batch.columns_N.tolist() == [1, 2, 0]
    assert batch.target_ids_N.tolist() == [13, 14, 22]
    assert batch.num_shared == 0


def test_losses_are_those_of_transformers_itself(model: LanguageModel) -> None:
    for one in RAGGED:
        labels = [-100] * one.num_prompt + list(one.completion_ids)
        wanted = model.network(
            input_ids=torch.tensor([one.ids]), labels=torch.tensor([labels])
        ).loss.item()
        assert losses(model, [one]).mean().item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("family", sorted(small_models.FAMILIES))
@pytest.mark.parametrize("examples", [RAGGED, SHARING], ids=["ragged", "sharing a prefix"])
def test_other_rows_and_padding_change_no_loss(
    family: str, examples: list[EncodedExample], tiny_folder: Path
) -> None:
    model = small_models.make(small_models.FAMILIES[family](initializer_range=0.1), tiny_folder)
    model.network.double()  # so that only a mistake, not the order of a sum, can reach 1e-6
    alone = torch.cat([losses(model, [one]) for one in examples])
    long = example(40, 30, seed=9, shared=12)
    padded = losses(model, [*examples, long])[: len(alone)]
    assert (losses(model, examples) - alone).abs().max() < 1e-6
    assert (padded - alone).abs().max() < 1e-6


def test_what_follows_a_position_cannot_reach_it(model: LanguageModel) -> None:
    one = example(5, 6, seed=1)
    other = EncodedExample(ids=(*one.ids[:8], 3, 4, 5), num_prompt=5)
    # The first three completion tokens are the same, so are their losses.
    assert torch.equal(losses(model, [one])[:3], losses(model, [other])[:3])


@pytest.mark.parametrize("family", ["llama", "gemma3", "mistral"])
def test_a_shared_prefix_gets_the_gradient_of_every_row(family: str, tiny_folder: Path) -> None:
    model = small_models.make(small_models.FAMILIES[family](initializer_range=0.1), tiny_folder)
    assert predicting_batch(SHARING).num_shared == 12
    grads = []
    for parts in ([SHARING], [[one] for one in SHARING]):
        model.network.zero_grad()
        for part in parts:
            hidden = predicting_hidden_states(model.network, predicting_batch(part))
            (hidden * torch.linspace(-1, 1, hidden.shape[1])).sum().backward()
        grads.append({n: p.grad for n, p in model.network.named_parameters() if p.grad is not None})
    together, apart = grads
    assert together.keys() == apart.keys()
    for name, grad in apart.items():
        assert (together[name] - grad).norm() <= 1e-5 * grad.norm(), name


@pytest.mark.parametrize(
    ("num_prompts", "wanted"), [((20, 20), 12), ((9, 20), 8), ((8, 20), 0), ((20,), 0)]
)
def test_only_what_predicts_nothing_is_shared(num_prompts: tuple[int, ...], wanted: int) -> None:
    examples = [
        example(length, 3, seed=seed, shared=min(12, length))
        for seed, length in enumerate(num_prompts)
    ]
    # The last prompt token predicts, so a prompt of 9 shares at most 8, and 7 are too few.
    assert predicting_batch(examples).num_shared == wanted


def test_a_model_that_cannot_be_masked_shares_nothing(tiny_folder: Path) -> None:
    eager = small_models.make(
        small_models.llama(attn_implementation="eager", initializer_range=0.1), tiny_folder
    )
    alone = torch.cat([losses(eager, [one]) for one in SHARING])
    assert (losses(eager, SHARING) - alone).abs().max() < 1e-6


def test_top_logprobs_are_those_of_the_whole_logits(model: LanguageModel) -> None:
    for one, (ids, logprobs) in zip(RAGGED, top_logprobs(model, RAGGED, 7), strict=True):
        with torch.inference_mode():
            logits = model.network(input_ids=torch.tensor([one.ids])).logits[0]
        wanted = torch.log_softmax(logits.double(), dim=1)[one.num_prompt - 1 : -1].topk(7, dim=1)
        assert ids.shape == logprobs.shape == (len(one.completion_ids), 7)
        assert ids.tolist() == wanted.indices.tolist()
        np.testing.assert_allclose(logprobs, wanted.values.numpy(), atol=2e-5)


def test_all_of_the_vocabulary_may_be_kept_and_no_more(model: LanguageModel) -> None:
    ((ids, logprobs),) = top_logprobs(model, RAGGED[:1], 400)
    assert sorted(ids[0].tolist()) == list(range(400))
    np.testing.assert_allclose(np.exp(logprobs).sum(axis=1), 1.0, atol=1e-5)
    with pytest.raises(ConfigError, match="top_k=401, but the vocabulary has 400"):
        next(top_logprobs(model, RAGGED[:1], 401))


def test_examples_without_a_prompt_and_no_examples_are_refused() -> None:
    with pytest.raises(ShapeError, match="must have a prompt"):
        predicting_batch([EncodedExample(ids=(1, 2), num_prompt=0)])
    with pytest.raises(ShapeError, match="0 examples"):
        predicting_batch([])


@pytest.mark.parametrize(
    ("setting", "value"),
    [("final_logit_softcapping", 30.0), ("logit_scale", 0.06), ("logits_scaling", 8)],
)
def test_heads_that_do_more_than_a_product_are_refused(
    setting: str, value: float, tiny_folder: Path
) -> None:
    model = small_models.make(small_models.llama(**{setting: value}), tiny_folder)
    with pytest.raises(ConfigError, match=setting):
        output_head(model.network)
    neutral = small_models.make(small_models.llama(**{setting: None}), tiny_folder)
    assert output_head(neutral.network).shape == (400, 32)


def test_a_head_with_a_bias_is_refused(tiny_folder: Path) -> None:
    model: Any = small_models.make(small_models.qwen2(), tiny_folder)
    model.network.lm_head = torch.nn.Linear(32, 400, bias=True)
    with pytest.raises(ConfigError, match="has a bias"):
        output_head(model.network)
