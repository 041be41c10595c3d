"""The running mean that a policy gradient compares costs with."""

import numpy as np
import pytest
import torch
from on_policy_cases import (
    Pair,
    drafts_of,
    gradients,
    live_settings,
    make_pair,
    stepper_of,
)
from tiny_chain import Chain

from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError
from stillhouse.train._lessons import Lesson
from stillhouse.train._live import ScoredTokens
from stillhouse.train._rollouts import Draft, StudentDrawer
from stillhouse.train._running_means import RunningMeans

torch.set_num_threads(1)

TOKENS = 6
BATCHES = 48


@pytest.fixture(scope="module")
def pair(chain: Chain) -> Pair:
    return make_pair(chain)


def test_means_are_of_earlier_steps_at_each_place() -> None:
    means = RunningMeans("name", 3)
    means.observe(torch.tensor([0, 1, 0]), torch.tensor([1.0, 2.0, 3.0]))
    assert means.means_P.tolist() == [0.0, 0.0, 0.0]
    means.update()
    assert means.means_P.tolist() == [2.0, 2.0, 0.0]
    means.observe(torch.tensor([0]), torch.tensor([5.0]))
    means.update()
    assert means.means_P.tolist() == pytest.approx([(0.9 * 4 + 5) / (0.9 * 2 + 1), 2.0, 0.0])
    other = RunningMeans("name", 3)
    other.restore(means.state())
    assert torch.equal(other.means_P, means.means_P)


def rollouts(pair: Pair, number: int) -> list[Lesson]:
    """Four fresh rollouts, others for each number."""
    drafts = [
        Draft(one.prompt_ids, TOKENS, seed=1_000 * number + row)
        for row, one in enumerate(drafts_of(pair, 4, TOKENS))
    ]
    drawn = StudentDrawer(pair.student, num_ids=pair.teacher.num_ids)(drafts)
    return [
        Lesson(
            EncodedExample((*draft.prompt_ids, *one.ids), len(draft.prompt_ids)),
            behaviour_logprobs=one.logprobs,
        )
        for draft, one in zip(drafts, drawn, strict=True)
    ]


def batch_gradients(chain: Chain, pair: Pair, baseline: RunningMeans | None) -> np.ndarray:
    """The gradient of each of many batches at the same weights."""
    config = live_settings(chain, objective="policy_gradient_truncated", clip_norm=1e9)
    stepper = stepper_of(pair, config)
    guide = ScoredTokens(pair.teacher, baseline=baseline)
    found = []
    for number in range(-1, BATCHES):
        stepper.optimizer.zero_grad(set_to_none=False)
        stepper.learn(0, [rollouts(pair, number + 1)], guide)
        if number >= 0:  # the first has no mean yet
            found.append(gradients(stepper.network).numpy())
        guide.update(0)
    stepper.optimizer.zero_grad(set_to_none=False)
    return np.stack(found)


def test_the_gradient_varies_less_around_the_same_mean(chain: Chain, pair: Pair) -> None:
    plain = batch_gradients(chain, pair, None)
    compared = batch_gradients(chain, pair, RunningMeans("baseline", TOKENS))
    assert compared.var(axis=0).sum() < 0.8 * plain.var(axis=0).sum()
    # Along fixed directions, with the batches as pairs, since both read the same rollouts.
    directions = np.random.default_rng(0).normal(size=(plain.shape[1], 8))
    difference = (compared - plain) @ directions
    errors = difference.std(axis=0, ddof=1) / BATCHES**0.5
    assert (np.abs(difference.mean(axis=0)) < 3 * errors).all()
    assert np.abs(difference).max() > 0


def test_a_baseline_is_refused_where_there_is_no_policy_gradient(chain: Chain) -> None:
    with pytest.raises((ConfigError, ValueError), match="baseline=position is for policy gradien"):
        live_settings(chain, rollout={"baseline": "position"})
