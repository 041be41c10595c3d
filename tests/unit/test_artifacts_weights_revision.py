"""A model's revision: of its tensors, and of nothing else."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import torch as safetensors_torch

from stillhouse.artifacts import weights_revision
from stillhouse.errors import IntegrityError
from stillhouse.models import load_model, locate_model

WEIGHTS = {
    "b.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "a.weight": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "c": torch.tensor(7),
}


def save(folder: Path, *shards: dict[str, torch.Tensor], **metadata: str) -> Path:
    folder.mkdir()
    for number, shard in enumerate(shards):
        path = folder / f"model-{number}.safetensors"
        safetensors_torch.save_file(shard, path, metadata=metadata or None)
    return folder


def changed(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    return {**WEIGHTS, name: tensor}


def test_the_revision_is_what_the_format_says(tmp_path: Path) -> None:
    tensors = {
        "a.weight": ("BF16[2]", np.array([0x3FC0, 0xC000], dtype="<u2").tobytes()),
        "b.weight": ("F32[2, 3]", np.arange(6, dtype="<f4").tobytes()),
        "c": ("I64[]", np.int64(7).tobytes()),
    }
    digest = hashlib.sha256()
    for name, (layout, data) in sorted(tensors.items()):
        digest.update(name.encode() + b"\0" + hashlib.sha256(layout.encode() + data).digest())
    assert weights_revision(save(tmp_path / "a", WEIGHTS)) == digest.hexdigest()


def test_shards_names_order_and_metadata_do_not_matter(tmp_path: Path) -> None:
    one = weights_revision(save(tmp_path / "one", WEIGHTS))
    first = {"c": WEIGHTS["c"]}
    rest = {name: WEIGHTS[name] for name in ("b.weight", "a.weight")}
    assert weights_revision(save(tmp_path / "two", first, rest)) == one
    assert weights_revision(save(tmp_path / "three", rest, first, format="pt")) == one


@pytest.mark.parametrize(
    "other",
    [
        changed("b.weight", torch.arange(6, dtype=torch.float32).reshape(3, 2)),
        changed("b.weight", torch.arange(6, dtype=torch.int32).reshape(2, 3)),
        changed("b.weight", torch.arange(1, 7, dtype=torch.float32).reshape(2, 3)),
        changed("d", torch.tensor(7)),
        {name: tensor for name, tensor in WEIGHTS.items() if name != "c"},
    ],
)
def test_every_change_of_a_tensor_matters(other: dict[str, torch.Tensor], tmp_path: Path) -> None:
    one = weights_revision(save(tmp_path / "one", WEIGHTS))
    assert weights_revision(save(tmp_path / "other", other)) != one


def test_sharding_by_transformers_keeps_the_revision(tiny_folder: Path, tmp_path: Path) -> None:
    load_model(tiny_folder).network.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert weights_revision(tmp_path) == locate_model(tiny_folder).revision


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=r"no \*\.safetensors weights"):
        weights_revision(tmp_path)


def test_every_truncation_is_found(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", WEIGHTS)
    path = folder / "model-0.safetensors"
    whole = path.read_bytes()
    for length in (0, 3, 8, 40, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(IntegrityError, match="damaged or cut off") as caught:
            weights_revision(folder)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "header",
    [
        b"not json",
        b"[]",
        b'{"a": {}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 99]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}',
    ],
)
def test_a_damaged_header_is_found(header: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(IntegrityError, match="damaged or cut off"):
        weights_revision(tmp_path)


def test_the_fixture_is_valid_without_its_damage(tmp_path: Path) -> None:
    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    header = json.dumps({"a": tensor}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    assert len(weights_revision(tmp_path)) == 64
