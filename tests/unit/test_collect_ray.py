"""Collections on a Ray cluster of two nodes, against a provider in a process of its own."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from cli_process import start
from ray_cluster import files_with, kill_one_worker, two_nodes
from tests.mock_provider import MockProcess

from stillhouse.artifacts import open_artifact
from stillhouse.collect import CollectConfig, collect
from stillhouse.errors import BudgetExceededError, TeacherUnavailableError
from stillhouse.records import Completion
from stillhouse.runlog import Ledger, Progress

ray = pytest.importorskip("ray")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX"),
    # Ray leaves sockets and processes to the garbage collector.
    pytest.mark.filterwarnings("ignore"),
]

KEY = "sk-test-4e1c2f0a9b7d"
MOST_AT_ONCE = 8
PRICE = "openai/mock-small: {input: 1.0, output: 10.0}\n"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_nodes() as cluster:
        yield cluster


@pytest.fixture
def mock(monkeypatch: pytest.MonkeyPatch) -> Iterator[MockProcess]:
    # Above what we allow, so that two gates of their own would meet it and one does not.
    limits = {"concurrency": MOST_AT_ONCE + 4}
    with MockProcess(limits=limits, latency={"first_s": 0.1}) as provider:
        # Set here, after the nodes were started: workers have none of it in their environment.
        monkeypatch.setenv("OPENAI_BASE_URL", provider.base_url("openai_chat"))
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield provider


def write_prompts(folder: Path, number: int) -> Path:
    rows = [orjson.dumps({"id": f"p{n}", "prompt": f"question {n}"}) for n in range(number)]
    (folder / "prompts.jsonl").write_bytes(b"\n".join(rows))
    return folder / "prompts.jsonl"


def on_ray(**access: Any) -> CollectConfig:
    given = {"concurrency": MOST_AT_ONCE, **access}
    settings = {"engine": "ray", "ray": {"workers": 2, "shard_size": 40}, "access": given}
    return CollectConfig.model_validate(settings)


def asked_of(mock: MockProcess) -> Counter[str]:
    """How often each question was taken up."""
    bodies = [orjson.loads(call["body"]) for call in mock.log() if call["status"] == 200]
    return Counter(body["messages"][-1]["content"] for body in bodies)


def test_a_killed_worker_loses_nothing_and_the_limit_is_one_for_all(
    cluster: Any, mock: MockProcess, tmp_path: Path
) -> None:
    killed: list[int] = []
    seen: list[int] = []

    def listen(progress: Progress) -> None:
        seen.append(progress.done)
        if progress.done >= 80 and not killed:
            pid = kill_one_worker(tmp_path / "ledger.sqlite.workers")
            killed.extend([] if pid is None else [pid])

    artifact = collect(
        write_prompts(tmp_path, 240),
        tmp_path / "out",
        teacher="openai:mock-small",
        config=on_ray(),
        on_progress=listen,
    )
    assert killed
    texts = [row.prompt_id for row in artifact.rows("completions", Completion)]
    assert texts == [f"p{n}" for n in range(240)]
    assert seen == sorted(seen)
    # All that was paid twice was under way at the kill, and is listed.
    asked = asked_of(mock)
    assert set(asked) == {f"question {n}" for n in range(240)}
    listed = Counter(
        call["prompt_id"].replace("p", "question ")
        for call in artifact.manifest.results["calls_maybe_paid"]
    )
    assert all(times - 1 <= listed[text] for text, times in asked.items())
    assert 0 < listed.total() <= 2 * MOST_AT_ONCE
    assert not any(mock.counts()["refused_by_limit"].values())
    assert not (tmp_path / "ledger.sqlite.workers").exists()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.totals().num_answered == 240
    logs = Path(cluster.head_node.get_session_dir_path())
    assert files_with(KEY, tmp_path) == files_with(KEY, logs) == []


def test_the_budget_is_one_for_all_and_a_larger_one_goes_on(
    cluster: Any, mock: MockProcess, tmp_path: Path
) -> None:
    prompts = write_prompts(tmp_path, 120)
    (tmp_path / "prices.yaml").write_text(PRICE)
    prices = str(tmp_path / "prices.yaml")

    def run(budget_usd: float) -> None:
        config = on_ray(budget_usd=budget_usd, prices=prices)
        config = config.model_copy(
            update={"sampling": config.sampling.model_copy(update={"max_tokens": 64})}
        )
        collect(prompts, tmp_path / "out", teacher="openai:mock-small", config=config)

    with pytest.raises(BudgetExceededError, match="of the budget of"):
        run(0.004)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        totals = ledger.totals()
    assert totals.cost_usd is not None
    assert totals.cost_usd + totals.unsettled_usd <= 0.004
    # A worst case is 64 tokens at $10 a million: less than two of them stay unspent.
    assert totals.cost_usd > 0.004 - 2 * 0.0008
    assert 0 < totals.num_answered == asked_of(mock).total() < 120
    run(1.0)
    assert set(asked_of(mock).values()) == {1}
    assert asked_of(mock).total() == 120


def test_a_killed_driver_goes_on_with_what_its_workers_wrote(
    cluster: Any, mock: MockProcess, tmp_path: Path
) -> None:
    write_prompts(tmp_path, 160)
    arguments = ["collect", "prompts.jsonl", "--teacher", "openai:mock-small", "--out", "out"]
    arguments += ["--engine", "ray", "--concurrency", str(MOST_AT_ONCE), "--json"]
    arguments += ["--set", f"ray.address={cluster.address}", "--set", "ray.workers=2"]
    arguments += ["--set", "ray.shard_size=40"]

    first = start(*arguments, cwd=tmp_path)
    while len(mock.log()) < 60:
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    first.kill()
    first.communicate(timeout=10)
    second = start(*arguments, cwd=tmp_path)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 0, err

    artifact = open_artifact(tmp_path / "out")
    assert artifact.manifest.counts.kept == 160
    listed = len(artifact.manifest.results["calls_maybe_paid"])
    asked = asked_of(mock)
    assert len(asked) == 160
    assert asked.total() - 160 <= listed <= 2 * 2 * MOST_AT_ONCE


def test_an_error_of_a_worker_ends_the_run_with_the_same_line(
    cluster: Any, mock: MockProcess, tmp_path: Path
) -> None:
    mock.change(faults=["unauthorized"])
    lines = []
    for engine in ("local", "ray"):
        config = on_ray().model_copy(update={"engine": engine})
        with pytest.raises(TeacherUnavailableError) as caught:
            collect(
                write_prompts(tmp_path, 20),
                tmp_path / engine,
                teacher="openai:mock-small",
                config=config,
            )
        lines.append(str(caught.value))
    assert lines[0] == lines[1]
