"""The commands about collections: several teachers, a budget, and what it will all cost."""

import json
from pathlib import Path
from typing import Any

import pytest
from cli_process import run_here
from tests.mock_provider import MockProvider

from stillhouse.cli._collection import money_text, named_teachers
from stillhouse.errors import ConfigError


@pytest.fixture
def mock(monkeypatch: pytest.MonkeyPatch) -> Any:
    with MockProvider() as provider:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url("openai_chat"))
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.base_url("anthropic"))
        yield provider


def write_prompts(path: Path, num: int, **fields: str) -> Path:
    rows = [
        {"prompt": f"Tell of town {n}{', and of its river' * (n % 7)}.", **fields}
        for n in range(num)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def document(capsys: pytest.CaptureFixture[str], *arguments: Any) -> dict[str, Any]:
    ran = run_here(capsys, *arguments, "--json", "--quiet")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_an_estimate_from_a_pilot_is_within_15_percent_of_what_it_costs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, mock: MockProvider
) -> None:
    whole = write_prompts(tmp_path / "p.jsonl", 400)
    pilot = tmp_path / "pilot.jsonl"
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    pilot.write_text("".join(lines[::8]), encoding="utf-8")
    common = ("--teacher", "openai:gpt-5.4", "--ledger", tmp_path / "l.sqlite")
    tokens = ("--max-tokens", 400)
    started = document(capsys, "collect", pilot, *common, *tokens, "--out", tmp_path / "a")
    asked_before = mock.count
    found = document(capsys, "estimate", whole, *common, *tokens)
    assert mock.count == asked_before  # nothing was sent
    assert found["teachers"][0]["num_pilot"] == 50
    assert found["teachers"][0]["num_requests"] == 350
    all_of_it = document(capsys, "collect", whole, *common, *tokens, "--out", tmp_path / "b")
    paid = all_of_it["usage"]["cost_usd"] - started["usage"]["cost_usd"]
    assert paid > 0
    assert found["cost_usd"]["expected"] == pytest.approx(paid, rel=0.15)


def test_without_answers_the_estimate_ends_at_max_tokens_and_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, mock: MockProvider
) -> None:
    prompts = write_prompts(tmp_path / "p.jsonl", 10)
    ran = run_here(
        capsys, "estimate", prompts, "--teacher", "openai:gpt-5.4", "--max-tokens", 100,
        "--ledger", tmp_path / "none.sqlite",
    )  # fmt: skip
    assert ran.code == 0
    assert "max_tokens each: the upper end" in ran.out
    assert "prices of" in ran.out
    assert not (tmp_path / "none.sqlite").exists()
    assert mock.count == 0


def test_several_teachers_are_asked_all_of_it_or_what_is_theirs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, mock: MockProvider
) -> None:
    prompts = write_prompts(tmp_path / "p.jsonl", 6)
    with prompts.open("a", encoding="utf-8") as stream:
        stream.write('{"prompt": "Only for one.", "teacher": "big"}\n')
    teachers = ("--teacher", "big=openai:gpt-5.4", "--teacher", "small=anthropic:claude-haiku-4-5")
    ran = run_here(capsys, "collect", prompts, *teachers, "--out", tmp_path / "c")
    assert ran.code == 0, ran.err
    table = {line.split()[0]: line.split() for line in ran.out.splitlines() if "stop" in line}
    assert table["openai:gpt-5.4"][2] == "7"
    assert table["anthropic:claude-haiku-4-5"][2] == "6"
    assert mock.count == 13
    unknown = run_here(
        capsys, "collect", prompts, "--teacher", "small=fake:", "--out", tmp_path / "d"
    )
    assert unknown.code == 2
    assert "--teacher big=SPEC" in unknown.err


def test_a_budget_ends_the_collection_with_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, mock: MockProvider
) -> None:
    prompts = write_prompts(tmp_path / "p.jsonl", 50)
    ran = run_here(
        capsys, "collect", prompts, "--teacher", "openai:gpt-5.4", "--budget", 0.004,
        "--max-tokens", 100, "--out", tmp_path / "c",
    )  # fmt: skip
    assert ran.code == 2
    assert "Raise the budget" in ran.err
    assert 0 < mock.count < 50


def test_teachers_are_named_by_what_stands_before_the_equals_sign() -> None:
    assert named_teachers(None) == "local:"
    assert named_teachers(["fake:?parallel=2"]) == "fake:?parallel=2"
    assert named_teachers(["a=fake:?parallel=2"]) == {"a": "fake:?parallel=2"}
    assert named_teachers(["fake:", "b=local:"]) == {"fake:": "fake:", "b": "local:"}
    with pytest.raises(ConfigError, match="Two teachers are called 'a'"):
        named_teachers(["a=fake:", "a=local:"])


def test_money_is_told_with_the_digits_that_it_needs() -> None:
    assert [money_text(usd) for usd in (None, 0.0, 0.00123, 12.5, 1234.5)] == [
        "price unknown",
        "$0.0000",
        "$0.0012",
        "$12.5000",
        "$1,234.50",
    ]
