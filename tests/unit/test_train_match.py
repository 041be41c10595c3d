"""Hidden states that are brought to a teacher's beside the objective."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from on_policy_cases import Pair, completion_logits, gradients, live_settings, make_pair
from tiny_chain import Chain, metrics_of, settings, weights_of
from torch import Tensor

from stillhouse.errors import ConfigError
from stillhouse.models import KeptSizes, begin_student, choose_start
from stillhouse.train import TrainConfig, train
from stillhouse.train._live import TeacherDistribution
from stillhouse.train._match import HiddenMatch
from stillhouse.train._match_config import MatchConfig
from stillhouse.train._step import Stepper

torch.set_num_threads(1)

LAYERS = ((0, 1), (-1, 3))
MAPPED = {"distance": "cosine", "learning_rate": 1e-2}
NARROW = 24


@pytest.fixture(scope="module")
def pair(chain: Chain) -> Pair:
    return make_pair(chain)


@pytest.fixture(scope="module")
def narrow(chain: Chain, pair: Pair) -> Pair:
    """A student whose states have fewer channels than the teacher's."""
    teacher = pair.teacher.model
    texts = [text.example for text in pair.texts[:8]]
    start = choose_start(teacher, KeptSizes(2, None, None, NARROW), texts, layers_by="even")
    return Pair(pair.teacher, begin_student(teacher, start, name="narrow"), pair.texts)


def match_of(pair: Pair, **changes: Any) -> HiddenMatch:
    config = MatchConfig(**{"layers": LAYERS, "weight": 0.7, **changes})
    student, teacher = pair.student.network, pair.teacher.model.network
    return HiddenMatch(student, teacher, config, seed=0, clip_norm=1.0)


def outputs(network: Any, ids: Tensor, layers: list[int]) -> list[Tensor]:
    """What layers give for a text, from a run of them one by one."""
    kept: list[Tensor] = []
    handles = [
        one.register_forward_hook(lambda layer, inputs, output: kept.append(output))
        for one in network.get_decoder().layers
    ]
    network(input_ids=ids)
    for handle in handles:
        handle.remove()
    return [kept[layer][0] for layer in layers]


def naive(pair: Pair, maps: list[Tensor], distance: str) -> tuple[Tensor, list[Tensor]]:
    """Gradients of student and maps, text by text, in float64."""
    student, teacher = (
        deepcopy(one).double() for one in (pair.student.network, pair.teacher.model.network)
    )
    student.zero_grad()
    student.get_input_embeddings().padding_idx = None
    maps = [one.detach().double().requires_grad_() for one in maps]
    lessons = pair.texts[:6]
    total = sum(one.num_tokens for one in lessons)
    loss = torch.zeros((), dtype=torch.float64)
    for one in lessons:
        example, ids = one.example, torch.tensor([one.example.ids])
        q_TV = completion_logits(student, example).log_softmax(1)
        p_TV = completion_logits(teacher, example).log_softmax(1).detach()
        loss = loss + (p_TV.exp() * (p_TV - q_TV)).sum() / total
        ours = outputs(student, ids, [layer for layer, _ in LAYERS])
        theirs = outputs(teacher, ids, [layer for _, layer in LAYERS])
        for our_TD, their_TE, map_ED in zip(ours, theirs, maps, strict=True):
            rows = slice(example.num_prompt - 1, -1)
            mapped, wanted = our_TD[rows] @ map_ED.T, their_TE[rows].detach()
            if distance == "mean_square":
                apart = ((mapped - wanted) ** 2).mean(1)
            else:
                lengths = mapped.norm(dim=1) * wanted.norm(dim=1)
                apart = 1 - (mapped * wanted).sum(1) / lengths
            loss = loss + 0.7 * apart.sum() / len(LAYERS) / total
    loss.backward()
    return gradients(student), [one.grad for one in maps if one.grad is not None]


@pytest.mark.parametrize("distance", ["mean_square", "cosine"])
@pytest.mark.parametrize("which", ["pair", "narrow"])
def test_a_step_is_that_of_a_naive_one(
    chain: Chain, request: pytest.FixtureRequest, which: str, distance: str
) -> None:
    one: Pair = request.getfixturevalue(which)
    match = match_of(one, distance=distance)
    config = live_settings(chain, source="dataset", objective="forward_kl", clip_norm=1e9)
    network, num_ids = one.student.network, one.teacher.num_ids
    stepper = Stepper(network, config, 10, num_ids=num_ids, match=match)
    stepper.optimizer.zero_grad(set_to_none=False)
    wanted, wanted_maps = naive(one, match._maps, distance)
    stepper.learn(0, [one.texts[:4], one.texts[4:6]], TeacherDistribution(one.teacher))
    found = gradients(stepper.network)
    assert float((found - wanted).norm() / wanted.norm()) < 2e-4
    learnt = [map_ED.grad for map_ED in match._learnt]
    assert len(learnt) == (2 if which == "narrow" else 0)
    for grad, reference in zip(learnt, wanted_maps, strict=False):
        assert grad is not None
        assert float((grad - reference).norm() / reference.norm()) < 2e-4
    stepper.optimizer.zero_grad(set_to_none=False)


def test_states_come_closer_and_the_maps_are_not_in_the_student(
    chain: Chain, tmp_path: Path
) -> None:
    config = matched(
        chain, keep_layers=None, prune={"layers": 2, "hidden": NARROW}, match=MAPPED, epochs=6.0
    )
    train(chain.dataset, tmp_path / "s", config=config)
    train(chain.dataset, tmp_path / "t", config=config.model_copy(update={"match": None}))
    names = [weights_of(tmp_path / one).keys() for one in "st"]
    assert names[0] == names[1]
    distances = [line["train/match_loss"] for line in metrics_of(tmp_path / "s")]
    assert sum(distances[-4:]) < 0.7 * sum(distances[:4])


def test_the_state_of_maps_is_taken_up(narrow: Pair) -> None:
    one, other = match_of(narrow), match_of(narrow)
    for map_ED in one._learnt:
        map_ED.grad = torch.ones_like(map_ED)
    one.update(0)
    other.restore(one.state())
    for match in (one, other):
        for map_ED in match._learnt:
            map_ED.grad = torch.full_like(map_ED, 0.5)
        match.update(1)
    for ours, theirs in zip(one._learnt, other._learnt, strict=True):
        assert torch.equal(ours, theirs)


def matched(chain: Chain, **changes: Any) -> TrainConfig:
    given: dict[str, Any] = {"source": "dataset", "objective": "forward_kl", "match": {}}
    return live_settings(chain, **{**given, **changes})


def test_what_cannot_be_matched_is_refused(chain: Chain, pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="objective forward_kl asks none here"):
        settings(chain, match={})
    with pytest.raises(ConfigError, match=r"the student's layer 2, but it has 2. Give one from 0"):
        match_of(pair, layers=((2, 0),))
    two = {"teachers": {"one": chain.teacher, "two": chain.teacher}}
    with pytest.raises(ConfigError, match=r"match asks one teacher, but live.teachers names 2"):
        train(chain.dataset, tmp_path / "s", config=matched(chain, live=two))
    assert not (tmp_path / "s").exists()
