"""Parts that are cut off, changed or of another version: one line each, and nothing is read."""

import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from stillhouse.errors import IntegrityError
from stillhouse.signal import TopKCodec, TopKSignal
from stillhouse.signal._part import Part, write_part

KEYS = [bytes([n] * 32).hex() for n in range(1, 4)]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "signal-00000.safetensors"
    rng = np.random.default_rng(0)
    rows = []
    for key in KEYS:
        probs = -np.sort(-rng.dirichlet(np.ones(9), 20)[:, :4], axis=1)
        ids = np.argsort(rng.random((20, 60)), axis=1)[:, :4]
        rows.append((key, TopKSignal.of(ids, np.log(probs))))
    write_part(path, rows, TopKCodec(4))
    return path


def read(path: Path) -> None:
    """What a reader does with a part that it has not seen."""
    opened = Part(path)
    opened.verify()
    opened.decode(0)


def data_start(path: Path) -> int:
    (length,) = struct.unpack("<Q", path.read_bytes()[:8])
    return 8 + int(length)


def sections(path: Path) -> dict[str, tuple[int, int]]:
    """Where each array lies in the file."""
    start = data_start(path)
    header = json.loads(path.read_bytes()[8:start])
    return {
        name: (start + entry["data_offsets"][0], start + entry["data_offsets"][1])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def rewritten(
    path: Path, change: Callable[[dict[str, np.ndarray], dict[str, object]], None]
) -> None:
    """The part with other content, saved as safetensors like any other."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = json.loads(file.metadata()["signal"])
    change(arrays, header)
    save_file(arrays, path, metadata={"signal": json.dumps(header)})


def test_the_part_is_sound_before_it_is_harmed(part: Path) -> None:
    read(part)
    assert set(sections(part)) == set(SECTIONS)
    assert Part(part).lengths.tolist() == [20, 20, 20]


SECTIONS = (
    "keys",
    "lengths",
    "block_rows",
    "plane_sizes",
    "id_classes_size",
    "id_classes",
    "data",
)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_flipped_byte_in_any_section_is_found(part: Path, name: str) -> None:
    low, high = sections(part)[name]
    assert high > low
    content = bytearray(part.read_bytes())
    content[(low + high) // 2] ^= 0x10
    part.write_bytes(content)
    with pytest.raises(IntegrityError, match=r"signal-00000\.safetensors is damaged \(.*\)\. Run"):
        read(part)


def test_a_flipped_byte_anywhere_in_the_header_is_found_or_means_nothing(part: Path) -> None:
    content = part.read_bytes()
    found = 0
    for place in range(data_start(part)):
        changed = bytearray(content)
        changed[place] ^= 0x01
        part.write_bytes(changed)
        with contextlib.suppress(IntegrityError):
            read(part)
            continue
        found += 1
    # The padding at the end of the header, and white space in it, mean nothing.
    assert found >= data_start(part) - 8


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_part_that_is_cut_off_is_refused(part: Path, fraction: float) -> None:
    content = part.read_bytes()
    part.write_bytes(content[: int(len(content) * fraction)])
    with pytest.raises(IntegrityError, match="is damaged"):
        read(part)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("layout", 1, "layout 1; this version reads 2"),
        ("layout", "2", "layout 2; this version reads 2"),
        ("codec", {"name": "topk", "version": 9, "parameters": {}}, "version 9 of codec topk"),
        ("codec", {"name": "rot13"}, "this version reads topk"),
        ("codec", None, "its codec is None"),
    ],
)
def test_an_unknown_version_is_told_from_damage(
    part: Path, field: str, value: object, message: str
) -> None:
    rewritten(part, lambda arrays, header: header.update({field: value}))
    with pytest.raises(IntegrityError, match=f"cannot be read .*{message}.*that wrote it"):
        Part(part)


def test_other_parameters_than_were_written_are_found(part: Path) -> None:
    def change(arrays: dict[str, np.ndarray], header: dict[str, object]) -> None:
        header["codec"] = {"name": "topk", "version": 1, "parameters": {"top_k": 5}}

    rewritten(part, change)
    with pytest.raises(IntegrityError, match="does not match its checksum"):
        read(part)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_part_without_one_of_its_arrays_is_refused(part: Path, name: str) -> None:
    rewritten(part, lambda arrays, header: arrays.__delitem__(name))
    with pytest.raises(IntegrityError, match="is damaged"):
        read(part)


def test_tables_that_contradict_each_other_are_refused(part: Path) -> None:
    rewritten(part, lambda arrays, header: arrays.update(block_rows=np.array([2], dtype=np.uint32)))
    with pytest.raises(IntegrityError, match="contradict each other"):
        Part(part)


def test_a_block_without_rows_is_found_by_the_checksum(part: Path) -> None:
    def change(arrays: dict[str, np.ndarray], header: dict[str, object]) -> None:
        arrays["block_rows"] = np.array([3, 0], dtype=np.uint32)
        arrays["plane_sizes"] = np.concatenate(
            [arrays["plane_sizes"], np.zeros_like(arrays["plane_sizes"])]
        )

    rewritten(part, change)
    with pytest.raises(IntegrityError, match="does not match its checksum"):
        read(part)


def test_a_plane_that_claims_to_be_huge_takes_no_memory(part: Path) -> None:
    def change(arrays: dict[str, np.ndarray], header: dict[str, object]) -> None:
        arrays["plane_sizes"][0, 0, 1] = 0xFFFF_FFFF

    rewritten(part, change)
    with pytest.raises(IntegrityError, match="is no plane"):
        Part(part).decode(0)


def test_safetensors_of_another_kind_are_no_part(tmp_path: Path) -> None:
    path = tmp_path / "signal-00000.safetensors"
    save_file({"top_ids": np.zeros((2, 2), dtype=np.int32)}, path)
    with pytest.raises(IntegrityError, match="it has no signal header"):
        Part(path)
