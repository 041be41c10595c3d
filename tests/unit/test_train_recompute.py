"""Layers that keep their inputs alone: the same gradients, for less memory."""

from pathlib import Path

import pytest
import torch
from tiny_chain import Chain, settings
from torch.autograd.graph import saved_tensors_hooks

from stillhouse.artifacts import open_artifact
from stillhouse.models import load_model, predicting_batch
from stillhouse.records import Example
from stillhouse.train import TrainConfig
from stillhouse.train._device_config import DeviceConfig
from stillhouse.train._guides import own_tokens
from stillhouse.train._lessons import Lesson
from stillhouse.train._placement import place
from stillhouse.train._ranks import ALONE
from stillhouse.train._step import Stepper

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def lessons(chain: Chain, tiny_folder: Path) -> list[Lesson]:
    chat = load_model(tiny_folder).chat
    rows = open_artifact(chain.dataset).rows("examples", Example)
    return [Lesson(chat.encode_example(row.messages, row.completion)) for row in rows][:6]


def gradients(
    folder: Path, lessons: list[Lesson], config: TrainConfig
) -> tuple[float, list[torch.Tensor]]:
    network = load_model(folder).network
    stepper = Stepper(network, config, num_steps=2)
    loss = stepper.learn(0, [lessons], own_tokens).loss_nats
    return loss, [one.grad.clone() for one in network.parameters() if one.grad is not None]


def test_gradients_are_those_of_layers_that_keep_everything(
    chain: Chain, tiny_folder: Path, lessons: list[Lesson]
) -> None:
    plain = settings(chain, objective="sft")
    again = plain.model_copy(update={"device": DeviceConfig(recompute=True)})
    loss, expected = gradients(tiny_folder, lessons, plain)
    other_loss, found = gradients(tiny_folder, lessons, again)
    assert other_loss == pytest.approx(loss, rel=1e-6)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def kept_bytes(folder: Path, lessons: list[Lesson], device: DeviceConfig) -> int:
    """Of all that the forward pass leaves for the backward one, parameters left out."""
    network = load_model(folder).network
    placement = place(network, device, ALONE)
    parameters = {one.data_ptr() for one in network.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in parameters:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    batch = predicting_batch([one.example for one in lessons])._replace(num_shared=0)
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = placement.hidden_states(batch)
    del hidden
    return sum(kept.values())


def test_far_less_is_kept_for_the_backward_pass(tiny_folder: Path, lessons: list[Lesson]) -> None:
    everything = kept_bytes(tiny_folder, lessons, DeviceConfig())
    assert kept_bytes(tiny_folder, lessons, DeviceConfig(recompute=True)) < everything / 3


def test_the_network_computes_as_before_when_the_training_is_over(
    chain: Chain, tiny_folder: Path, lessons: list[Lesson]
) -> None:
    network = load_model(tiny_folder).network
    config = settings(chain, objective="sft", device={"recompute": True})
    stepper = Stepper(network, config, num_steps=1)
    layers = network.get_decoder().layers
    assert all("forward" in vars(layer) for layer in layers)
    stepper.finish()
    assert not any("forward" in vars(layer) for layer in layers)
