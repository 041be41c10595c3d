"""A teacher behind an API whose key is not in the environment, as a user meets it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_process import Ran, run_here, run_there, write_prompts
from tests.mock_provider import MockProvider

from stillhouse.teachers._providers import PROVIDERS

WITH_KEYS = {name: one for name, one in PROVIDERS.items() if one.key_variable is not None}
TASK = "name: t\nkind: classification\nlabels: [a, b]\n"


@pytest.fixture(scope="module")
def provider() -> Iterator[MockProvider]:
    with MockProvider() as mock:
        yield mock


def without_key(provider: MockProvider, name: str, *, key: str = "") -> dict[str, str]:
    """An environment in which every call of a provider would reach the mock."""
    one = WITH_KEYS[name]
    return {one.base_url_variable: f"{provider.url}/v1", str(one.key_variable): key}


def check_refused(ran: Ran, name: str, folder: Path, provider: MockProvider) -> None:
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1, ran.err
    assert f"Set {WITH_KEYS[name].key_variable} in the environment" in ran.err
    assert provider.count == 0
    assert not [path for path in folder.iterdir() if path.is_dir() or path.suffix == ".sqlite"]


@pytest.mark.parametrize("name", list(WITH_KEYS))
def test_collect_names_the_variable_before_anything_is_sent(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    provider: MockProvider,
    tmp_path: Path,
    name: str,
) -> None:
    write_prompts(tmp_path / "prompts.jsonl")
    monkeypatch.chdir(tmp_path)
    for variable, value in without_key(provider, name).items():
        monkeypatch.setenv(variable, value)
    words = ("collect", "prompts.jsonl", "--teacher", f"{name}:mock-small", "--out", "run/c")
    check_refused(run_here(capsys, *words), name, tmp_path, provider)


def test_a_blank_key_is_none(provider: MockProvider, tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts.jsonl")
    words = ("collect", "prompts.jsonl", "--teacher", "openai:mock-small", "--out", "c")
    ran = run_there(*words, cwd=tmp_path, **without_key(provider, "openai", key=" \t"))
    check_refused(ran, "openai", tmp_path, provider)


def test_no_teacher_of_several_is_asked_where_one_has_no_key(
    provider: MockProvider, tmp_path: Path
) -> None:
    write_prompts(tmp_path / "prompts.jsonl")
    environment = {
        **without_key(provider, "deepseek", key="test-key"),
        **without_key(provider, "anthropic"),
    }
    words = ("collect", "prompts.jsonl", "--teacher", "a=deepseek:mock-small")
    words += ("--teacher", "b=anthropic:mock-small", "--out", "c")
    ran = run_there(*words, cwd=tmp_path, **environment)
    check_refused(ran, "anthropic", tmp_path, provider)


def test_a_bake_off_names_the_variable_too(provider: MockProvider, tmp_path: Path) -> None:
    (tmp_path / "task.yaml").write_text(TASK)
    (tmp_path / "texts.csv").write_text("text\n" + "".join(f"text {n}\n" for n in range(40)))
    words = ("bakeoff", "task.yaml", "texts.csv", "--teacher", "openai:mock-small", "--out", "b")
    ran = run_there(*words, cwd=tmp_path, **without_key(provider, "openai"))
    assert ran.code == 2
    assert ran.err.splitlines()[-1].startswith("error: ")
    assert "Set OPENAI_API_KEY in the environment" in ran.err
    assert provider.count == 0


def test_with_the_key_the_same_command_works(tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts.jsonl")
    words = ("collect", "prompts.jsonl", "--teacher", "openai:mock-small", "--out", "c")
    with MockProvider() as provider:
        environment = without_key(provider, "openai", key="test-key")
        ran = run_there(*words, cwd=tmp_path, **environment)
        assert provider.count == 6
    assert ran.code == 0, ran.err
    assert "test-key" not in ran.out + ran.err
