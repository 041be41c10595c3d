"""Checkpoints: whole or absent, newest only, and never half believed."""

import json
from pathlib import Path

import pytest
import torch

from stillhouse.errors import CheckpointError
from stillhouse.train._checkpoint import CheckpointState, load_checkpoint, save_checkpoint

torch.set_num_threads(1)


def trained(steps: int, *, width: int = 3) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    network = torch.nn.Linear(width, 2)
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) + number)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
    for _ in range(steps):
        network(torch.ones(1, width)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return network, optimizer


def save(folder: Path, steps: int, seconds: float = 1.5) -> torch.nn.Module:
    network, optimizer = trained(steps)
    save_checkpoint(folder, CheckpointState(steps, seconds), network=network, optimizer=optimizer)
    return network


def load(folder: Path, *, width: int = 3) -> CheckpointState:
    network, optimizer = trained(0, width=width)
    state, _ = load_checkpoint(folder, network=network, optimizer=optimizer)
    return state


def test_a_run_without_a_checkpoint_is_at_its_beginning(tmp_path: Path) -> None:
    assert load(tmp_path / "absent") == CheckpointState(step=0, seconds=0.0)


def test_weights_moments_and_state_come_back_bit_for_bit(tmp_path: Path) -> None:
    saved, saved_optimizer = trained(3)
    drawn = {"rollouts/ids": torch.tensor([5, 2]), "rollouts/logprobs": torch.tensor([-0.5, -1.5])}
    save_checkpoint(
        tmp_path / "c",
        CheckpointState(3, 12.25),
        network=saved,
        optimizer=saved_optimizer,
        source=drawn,
    )
    network, optimizer = trained(0)
    state, kept = load_checkpoint(tmp_path / "c", network=network, optimizer=optimizer)
    assert state == (3, 12.25)
    assert kept.keys() == drawn.keys()
    assert all(torch.equal(kept[name], tensor) for name, tensor in drawn.items())
    for one, other in zip(network.parameters(), saved.parameters(), strict=True):
        assert torch.equal(one, other)
        assert optimizer.state[one].keys() == saved_optimizer.state[other].keys() != set()
        for key, value in saved_optimizer.state[other].items():
            assert torch.equal(optimizer.state[one][key], value)


def test_only_the_newest_checkpoint_is_kept(tmp_path: Path) -> None:
    save(tmp_path / "c", 1)
    (tmp_path / "c" / ".step-2.tmp").mkdir()  # of a process that was killed while it saved
    save(tmp_path / "c", 10)
    assert [entry.name for entry in (tmp_path / "c").iterdir()] == ["step-10"]


def test_a_half_written_checkpoint_is_not_read(tmp_path: Path) -> None:
    save(tmp_path / "c", 2)
    (tmp_path / "c" / ".step-3.tmp").mkdir()
    (tmp_path / "c" / ".step-3.tmp" / "weights.safetensors").write_bytes(b"cut")
    assert load(tmp_path / "c").step == 2


def test_a_process_killed_before_it_removed_the_older_one_goes_on_from_the_newer(
    tmp_path: Path,
) -> None:
    save(tmp_path / "c", 9)
    save(tmp_path / "d", 10)
    (tmp_path / "d" / "step-10").rename(tmp_path / "c" / "step-10")
    assert load(tmp_path / "c").step == 10


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["changed", "cut", "empty", "missing"])
def test_a_damaged_checkpoint_is_refused_and_names_the_way_out(
    tmp_path: Path, name: str, damage: str
) -> None:
    save(tmp_path / "c", 2)
    path = tmp_path / "c" / "step-2" / name
    data = path.read_bytes()
    middle = len(data) - 9  # a number in each of these files
    damaged = {
        "changed": data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :],
        "cut": data[: len(data) // 2],
        "empty": b"",
    }
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(damaged[damage])
    with pytest.raises(CheckpointError, match=r"step-2 is damaged .* Remove .*/c to start") as told:
        load(tmp_path / "c")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "state",
    [
        {"step": 3, "seconds": 1.0},
        {"step": "two", "seconds": 1.0},
        {"step": 2, "seconds": None},
        {"step": 2},
        [2, 1.0],
    ],
)
def test_a_state_that_says_something_else_is_refused(tmp_path: Path, state: object) -> None:
    save(tmp_path / "c", 2)
    path = tmp_path / "c" / "step-2" / "state.json"
    known = json.loads(path.read_text())
    written = {"sha256": known["sha256"], **state} if isinstance(state, dict) else state
    path.write_text(json.dumps(written))
    with pytest.raises(CheckpointError, match="Remove"):
        load(tmp_path / "c")


def test_a_checkpoint_of_another_model_changes_no_weight(tmp_path: Path) -> None:
    save(tmp_path / "c", 2)
    network, optimizer = trained(0, width=4)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    with pytest.raises(CheckpointError, match="another model"):
        load_checkpoint(tmp_path / "c", network=network, optimizer=optimizer)
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), before, strict=True))
