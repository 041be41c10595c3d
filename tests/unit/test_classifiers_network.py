"""Encoders: ours against transformers', packed batches against single texts, folders, tokens."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from encoder_cases import FAMILIES, WORDS, make_encoder
from safetensors.torch import load_file, save_file

from stillhouse.classifiers._network import TokenBatch, encoder_weights, load_encoder
from stillhouse.classifiers._pretrained import open_base
from stillhouse.classifiers._shape import locate_encoder, read_shape
from stillhouse.classifiers._tokens import TokenReader, cut_warning, read_tokenizer
from stillhouse.errors import ConfigError, IntegrityError

IDS = [[2, 4, 5, 3], [2, 6, 3], [2, 7, 8, 9, 10, 11, 3], [2, 3]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoder"))


def network_of(folder: Path, *, dropout: float = 0.0) -> Any:
    _, shape, weights = open_base(str(folder), max_tokens=16)
    return load_encoder(weights, shape, dropout=dropout)


def states(folder: Path, ids: list[list[int]]) -> Any:
    with torch.inference_mode():
        return network_of(folder)(TokenBatch.of(ids)).numpy()


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_the_means_of_those_of_transformers(family: str, tmp_path: Path) -> None:
    make_encoder(tmp_path, family)
    theirs = transformers.AutoModel.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        expected = [theirs(torch.tensor([ids])).last_hidden_state[0].mean(dim=0) for ids in IDS]
    np.testing.assert_allclose(states(tmp_path, IDS), torch.stack(expected), atol=2e-5)


def test_the_first_state_is_taken_where_the_folder_says_so(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "cls")
    (tmp_path / "cls" / "1_Pooling").mkdir()
    pooling = tmp_path / "cls" / "1_Pooling" / "config.json"
    pooling.write_text('{"pooling_mode_cls_token": true}')
    theirs = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        expected = [theirs(torch.tensor([ids])).last_hidden_state[0, 0] for ids in IDS]
    np.testing.assert_allclose(states(tmp_path / "cls", IDS), torch.stack(expected), atol=2e-5)


@pytest.mark.parametrize("ids", [IDS, IDS[::-1], IDS[:2] + IDS[:2], [IDS[0]] * 3])
def test_a_packed_batch_gives_the_states_of_its_texts(folder: Path, ids: list[list[int]]) -> None:
    alone = np.concatenate([states(folder, [text]) for text in ids])
    np.testing.assert_allclose(states(folder, ids), alone, atol=1e-5)


def test_gradients_of_a_packed_batch_are_those_of_its_texts(folder: Path) -> None:
    def gradient(batches: list[list[list[int]]]) -> Any:
        network = network_of(folder)
        sum(network(TokenBatch.of(ids)).square().sum() for ids in batches).backward()
        return network.layers[0].query_key_value.weight.grad

    together, alone = gradient([IDS]), gradient([[ids] for ids in IDS])
    torch.testing.assert_close(together, alone, atol=1e-3, rtol=1e-3)


def test_dropout_is_for_training_alone(folder: Path) -> None:
    network = network_of(folder, dropout=0.5)
    batch = TokenBatch.of(IDS)
    torch.testing.assert_close(network(batch), network(batch))
    network.train()
    assert not torch.equal(network(batch), network(batch))


def test_the_weights_of_a_network_are_those_it_was_made_of(folder: Path) -> None:
    _, shape, weights = open_base(str(folder), max_tokens=16)
    network = load_encoder(weights, shape)
    again = encoder_weights(network)
    assert again.keys() == weights.keys()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    for name, array in weights.items():
        np.testing.assert_array_equal(again[name], array)
        assert array.any()  # neither copy shares memory with the network


# Folders


def test_the_folder_and_the_embedded_encoder_are_found(folder: Path) -> None:
    assert locate_encoder(str(folder)) == folder
    family, shape = read_shape(locate_encoder(""))
    assert (family, shape.width, shape.layers, shape.positions) == ("bert", 384, 6, 512)
    with pytest.raises(ConfigError, match="No encoder at"):
        locate_encoder("./nowhere")


def test_a_family_that_is_not_known_is_refused_with_those_that_are(
    folder: Path, tmp_path: Path
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "gpt2"}))
    with pytest.raises(ConfigError, match="'gpt2'; known are bert, distilbert"):
        open_base(str(tmp_path), max_tokens=16)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{", "cannot be read"),
        ("config.json", b"[]", "holds no settings"),
        ("config.json", b'{"model_type": "bert"}', "lacks a size"),
        ("model.safetensors", b"\0" * 20, "is damaged"),
        ("tokenizer.json", b"{}", "is no tokenizer"),
        ("tokenizer.json", b"\xff", "cannot be read"),
    ],
)
def test_damaged_files_are_integrity_errors(
    folder: Path, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=message):
        open_base(str(broken), max_tokens=16)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_files_are_integrity_errors(folder: Path, tmp_path: Path, name: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / name).unlink()
    with pytest.raises(IntegrityError):
        open_base(str(broken), max_tokens=16)


def test_weights_of_another_shape_are_refused(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    config = json.loads((folder / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    with pytest.raises(IntegrityError, match=r"shape \(48, 32\)"):
        open_base(str(broken), max_tokens=16)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_weights_of_half_the_size_are_read_as_float32(
    folder: Path, tmp_path: Path, kind: torch.dtype
) -> None:
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    tensors = load_file(half / "model.safetensors")
    rounded = {name: tensor.to(kind) for name, tensor in tensors.items()}
    save_file(rounded, half / "model.safetensors")
    _, _, weights = open_base(str(half), max_tokens=16)
    expected = rounded["embeddings.word_embeddings.weight"].float()
    np.testing.assert_array_equal(weights["tokens.weight"], expected)
    assert {array.dtype for array in weights.values()} == {np.dtype("float32")}


def test_a_tokenizer_with_more_ids_than_the_encoder_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    definition = json.loads((folder / "tokenizer.json").read_text())
    definition["model"]["vocab"]["more"] = len(WORDS)
    (broken / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(IntegrityError, match=f"{len(WORDS) + 1} ids"):
        open_base(str(broken), max_tokens=16)


# Tokens


def test_long_texts_lose_their_end_and_keep_their_marks(folder: Path) -> None:
    reader = read_tokenizer(folder, max_tokens=6)
    assert reader.ids(["card " * 100_000, "card"]) == [[2, 4, 4, 4, 4, 3], [2, 4, 3]]
    assert reader.ids(["", "\ud800 \x00"])[0] == [2, 3]
    assert reader.num_ids == len(WORDS)
    (warning,) = cut_warning(reader.ids(["card " * 9, "card"]), max_tokens=6)
    assert "1 of 2 texts" in warning
    assert cut_warning(reader.ids(["card"]), max_tokens=6) == ()


def test_padding_that_the_file_asks_for_is_not_done(folder: Path) -> None:
    definition = json.loads((folder / "tokenizer.json").read_text())
    definition["padding"] = {
        "strategy": {"Fixed": 12},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    reader = TokenReader(json.dumps(definition), max_tokens=8)
    assert reader.ids(["card"]) == [[2, 4, 3]]
    assert TokenReader(reader.definition, max_tokens=8).definition == reader.definition
