"""Collections through batch APIs: what comes of them when all goes well, and when it does not."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import requests_for
from batch_cases import (
    APIS,
    KEY,
    WIRES,
    Api,
    batch_config,
    jobs_of,
    num_asked,
    point_at,
    some_prompts,
)
from cli_process import run_here
from tests.mock_provider import MockProvider

from stillhouse.artifacts import Artifact, FolderLock
from stillhouse.collect import collect
from stillhouse.errors import (
    BudgetExceededError,
    ConfigError,
    TeacherError,
    TeacherUnavailableError,
    TooManyFailuresError,
)
from stillhouse.records import Completion, ItemError, Request
from stillhouse.runlog import Answer, Batch, Ledger, Progress
from stillhouse.teachers import RemoteBatch, open_teacher

PRICES = """
openai/*: {input: 2.0, output: 8.0, batch: 0.5}
anthropic/*: {input: 2.0, output: 8.0, batch: 0.5}
google/*: {input: 2.0, output: 8.0, batch: 0.5}
"""


@pytest.fixture
def provider() -> Iterator[MockProvider]:
    with MockProvider() as provider:
        yield provider


@pytest.fixture(params=WIRES)
def api(
    request: pytest.FixtureRequest, provider: MockProvider, monkeypatch: pytest.MonkeyPatch
) -> Api:
    """One of the three, and the environment in which it is the mock."""
    found = APIS[request.param]
    point_at(monkeypatch, found, provider)
    return found


@pytest.fixture
def openai(provider: MockProvider, monkeypatch: pytest.MonkeyPatch) -> Api:
    point_at(monkeypatch, APIS["openai"], provider)
    return APIS["openai"]


def run(folder: Path, api: Api, num: int = 12, out: str = "out", **access: Any) -> Artifact:
    config = batch_config(**access)
    return collect(some_prompts(num), folder / out, teacher=api.spec, config=config)


def interrupted(folder: Path, api: Api, *, num: int, num_batches: int, **access: Any) -> None:
    """A run that is interrupted as soon as so many batches are under way."""

    def interrupt(progress: Progress) -> None:
        if progress.metrics.get("collect/num_batches") == num_batches:
            raise KeyboardInterrupt

    config = batch_config(**access)
    with pytest.raises(KeyboardInterrupt):
        collect(
            some_prompts(num), folder / "out", teacher=api.spec, config=config,
            on_progress=interrupt,
        )  # fmt: skip


def let_time_pass(provider: MockProvider, api: Api) -> None:
    """Two hours at the provider, for the batches that it has."""
    for job in jobs_of(provider, api):
        job.created_s -= 7200


def texts_of(artifact: Artifact) -> list[str]:
    return [row.text for row in artifact.rows("completions", Completion)]


def batches_in(folder: Path) -> list[Batch]:
    with Ledger(folder / "ledger.sqlite") as ledger:
        return ledger.batches()


def batch_of_another(api: Api, folder: Path, *, num_requests: int) -> RemoteBatch:
    """A batch that another collection makes with the same key."""
    requests = requests_for(*(f"theirs {at}" for at in range(num_requests)), teacher=api.spec)
    with open_teacher(api.spec) as teacher, (folder / "theirs").open("w+b") as file:
        client = teacher.batch_client()
        assert client is not None
        client.write("f" * 16, requests, file)
        return client.create("f" * 16, file)


def fault(api: Api, kind: str, **more: Any) -> str:
    """A fault of the call that creates a batch."""
    rest = "".join(f",{name}={value}" for name, value in more.items())
    return f"{kind}:method=POST,path={api.create_path}{rest}"


@pytest.mark.parametrize("name", APIS)
def test_answers_are_those_of_single_calls(
    provider: MockProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    api = APIS[name]
    point_at(monkeypatch, api, provider)
    online = texts_of(run(tmp_path / "online", api, tier="standard"))
    artifact = run(tmp_path / "batch", api)
    assert texts_of(artifact) == online
    assert [len(job.requests) for job in jobs_of(provider, api)] == [5, 5, 2]
    assert [batch.state for batch in batches_in(tmp_path / "batch")] == ["settled"] * 3
    with Ledger(tmp_path / "batch" / "ledger.sqlite") as ledger:
        totals = ledger.totals()
    assert (totals.num_answered, totals.num_calls, totals.num_lost) == (12, 12, 0)
    assert list(tmp_path.glob("batch/*batches*")) == []


def test_a_batch_costs_what_the_batch_tier_costs(
    provider: MockProvider, api: Api, tmp_path: Path
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    usage = run(tmp_path, api, prices=str(prices)).manifest.usage
    assert usage.prompt_tokens == provider.world.paid_prompt_tokens > 0
    expected = (usage.prompt_tokens * 1.0 + usage.completion_tokens * 4.0) / 1e6
    assert usage.cost_usd == pytest.approx(expected)


def test_answers_known_before_are_not_in_a_batch(
    provider: MockProvider, api: Api, tmp_path: Path
) -> None:
    run(tmp_path, api, num=7)
    assert len(texts_of(run(tmp_path, api, num=9, out="more"))) == 9
    assert (num_asked(provider, api), provider.world.num_paid) == (9, 9)


def test_what_expired_or_was_cancelled_is_asked_again(
    provider: MockProvider, api: Api, tmp_path: Path
) -> None:
    provider.change(batch={"expired_fraction": 0.4})

    def mend(progress: Progress) -> None:
        if provider.world.num_paid >= 9:
            provider.change(batch={"expired_fraction": 0.0})

    artifact = collect(
        some_prompts(15), tmp_path / "out", teacher=api.spec, config=batch_config(),
        on_progress=mend,
    )  # fmt: skip
    assert len(texts_of(artifact)) == 15
    assert provider.world.num_paid == 15
    assert len(jobs_of(provider, api)) > 3
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        totals = ledger.totals()
    assert totals.num_failed == num_asked(provider, api) - 15 >= 6
    # What was not worked on is known to cost nothing.
    assert (totals.num_lost, totals.unsettled_usd) == (0, 0.0)


def test_a_batch_that_expires_whole_is_asked_again(
    provider: MockProvider, api: Api, tmp_path: Path
) -> None:
    provider.change(batch={"expired_fraction": 1.0})

    def mend(progress: Progress) -> None:
        if len(jobs_of(provider, api)) >= 2:
            provider.change(batch={"expired_fraction": 0.0})

    config = batch_config(max_tries=20)  # how many expire depends on when it is looked
    prompts = some_prompts(5)
    artifact = collect(prompts, tmp_path / "out", teacher=api.spec, config=config, on_progress=mend)
    assert len(texts_of(artifact)) == provider.world.num_paid == 5
    assert len(jobs_of(provider, api)) >= 2


def test_errors_in_a_batch_end_like_single_ones(
    provider: MockProvider, api: Api, tmp_path: Path
) -> None:
    provider.change(batch={"failing": "number 3 of"})
    with pytest.raises(TooManyFailuresError, match="'server_error': The request failed in the"):
        run(tmp_path, api, max_tries=2)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert (ledger.totals().num_answered, ledger.totals().num_failed) == (11, 2)
    provider.change(batch={"failing": ""})
    assert len(texts_of(run(tmp_path, api))) == provider.world.num_paid == 12


@pytest.mark.parametrize("kind", ["lost", "torn_json", "server_error"])
def test_a_creation_that_was_not_confirmed_is_looked_for(
    provider: MockProvider, api: Api, tmp_path: Path, kind: str
) -> None:
    provider.change(faults=[fault(api, kind, first=1)])
    assert len(texts_of(run(tmp_path, api))) == 12
    jobs = jobs_of(provider, api)
    assert (len(jobs), num_asked(provider, api), provider.world.num_paid) == (3, 12, 12)
    assert all(job.ended_s is not None for job in jobs)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        # Where nothing had been created, its calls were ended at no cost and made again.
        num_again = ledger.totals().num_failed
    assert num_again == (5 if kind == "server_error" else 0)


def test_a_batch_whose_process_was_killed_before_it_was_closed_is_closed(
    provider: MockProvider, openai: Api, tmp_path: Path
) -> None:
    config = batch_config()
    (prompt,) = some_prompts(1)
    request = Request.of(prompt, teacher=openai.spec, sampling=config.sampling)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        batch = ledger.open_batch(openai.spec, [request]).batch
        assert batch is not None
        error = ItemError(type="not_sent", message="the batch was not created", retryable=True)
        unsent = Answer(request.id, "openai_chat", b"", "error", "mock-small", error=error)
        ledger.record_answers([unsent])  # the kill came here
    artifact = collect([prompt], tmp_path / "out", teacher=openai.spec, config=config)
    assert len(texts_of(artifact)) == provider.world.num_paid == 1
    assert {one.state for one in batches_in(tmp_path)} == {"failed", "settled"}


def test_batches_of_others_are_left_alone(provider: MockProvider, api: Api, tmp_path: Path) -> None:
    # The same size: where there are no labels, only the names of their requests tell them apart.
    theirs = batch_of_another(api, tmp_path, num_requests=5)
    provider.change(faults=[fault(api, "reset", first=1)])
    assert len(texts_of(run(tmp_path, api))) == 12
    assert {batch.remote_id for batch in batches_in(tmp_path)}.isdisjoint({theirs.id})
    changed = [entry.path for entry in provider.requests if entry.method != "GET"]
    assert not any("cancel" in path for path in changed)
    assert num_asked(provider, api) == 12 + 5


def test_a_running_batch_of_the_same_size_is_waited_for_where_none_has_a_label(
    provider: MockProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = APIS["anthropic"]
    point_at(monkeypatch, api, provider)
    provider.change(faults=[fault(api, "lost", first=1)], batch={"seconds": 0.4})
    assert len(texts_of(run(tmp_path, api, num=5))) == provider.world.num_paid == 5
    assert len(jobs_of(provider, api)) == 1
    peeks = [entry for entry in provider.requests if entry.path.endswith("/results")]
    assert len(peeks) == 2  # one look at whose it is, one download


def test_an_interrupted_download_goes_on(provider: MockProvider, api: Api, tmp_path: Path) -> None:
    provider.change(faults=[f"cut:path={api.results_path},first=2"])
    assert len(texts_of(run(tmp_path, api))) == provider.world.num_paid == 12


def test_results_that_stay_unreadable_end_the_run_and_are_there_for_the_next(
    provider: MockProvider, api: Api, tmp_path: Path
) -> None:
    provider.change(faults=[f"torn_json:path={api.results_path}"])
    with pytest.raises(TeacherError, match=r"results of batch .* cannot be read .* try again"):
        run(tmp_path, api, num=5)
    provider.change(faults=[])
    assert len(texts_of(run(tmp_path, api, num=5))) == provider.world.num_paid == 5
    assert num_asked(provider, api) == 5


def test_news_that_does_not_come_is_waited_for(
    provider: MockProvider, openai: Api, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider.change(faults=["html_error:method=GET,first=5"])
    assert len(texts_of(run(tmp_path, openai, num=5))) == provider.world.num_paid == 5
    assert "no news of batch" in caplog.text
    assert KEY not in caplog.text


def test_a_stopped_run_leaves_its_batches_and_the_next_takes_their_answers(
    provider: MockProvider, api: Api, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider.change(batch={"seconds": 3600.0})
    with pytest.raises(TeacherError, match="stop_after_s=1 is over with 12 of 12"):
        run(tmp_path, api, stop_after_s=1.0)
    assert "3 batches go on at the provider. Run the same command" in caplog.text
    assert len(jobs_of(provider, api)) == 3
    let_time_pass(provider, api)
    assert len(texts_of(run(tmp_path, api))) == provider.world.num_paid == 12
    assert len(jobs_of(provider, api)) == 3


def test_an_interrupt_leaves_the_batches_running(
    provider: MockProvider, openai: Api, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider.change(batch={"seconds": 3600.0})
    interrupted(tmp_path, openai, num=12, num_batches=3)
    assert "Run the same command" in caplog.text
    let_time_pass(provider, openai)
    assert len(texts_of(run(tmp_path, openai))) == provider.world.num_paid == 12
    assert num_asked(provider, openai) == 12


def test_a_run_without_batches_takes_the_answers_of_those_under_way(
    provider: MockProvider, api: Api, tmp_path: Path
) -> None:
    interrupted(tmp_path, api, num=6, num_batches=2, batch_wait_s=60.0)
    assert num_asked(provider, api) == 6
    assert len(texts_of(run(tmp_path, api, num=9, tier="standard"))) == 9
    assert (provider.world.num_paid, num_asked(provider, api)) == (9, 6)


def test_another_runs_batches_are_not_waited_for(
    provider: MockProvider, openai: Api, tmp_path: Path
) -> None:
    provider.change(batch={"seconds": 60.0})
    interrupted(tmp_path, openai, num=3, num_batches=1)
    provider.change(batch={"seconds": 0.0})
    jobs_of(provider, openai)[0].created_s += 3600  # that one takes its time
    prompts = some_prompts(4, text="snow number")
    config = batch_config()
    collect(prompts, tmp_path / "other", teacher=openai.spec, config=config)
    assert provider.world.num_paid == 4
    assert [batch.state for batch in batches_in(tmp_path)] == ["running", "settled"]


def test_a_batch_that_fails_as_a_whole_is_told(
    provider: MockProvider, openai: Api, tmp_path: Path
) -> None:
    provider.change(batch={"is_failing": True})
    with pytest.raises(TooManyFailuresError, match="'batch_failed': The batch failed"):
        run(tmp_path, openai, num=5)
    assert provider.world.num_paid == 0
    provider.change(batch={"is_failing": False})
    assert len(texts_of(run(tmp_path, openai, num=5))) == 5


def test_a_full_queue_is_waited_for_and_uses_up_no_try(
    provider: MockProvider, api: Api, tmp_path: Path
) -> None:
    provider.change(faults=[fault(api, "rate_limit", nth="2+3")])
    assert len(texts_of(run(tmp_path, api, max_tries=1))) == provider.world.num_paid == 12
    assert num_asked(provider, api) == 12


@pytest.mark.parametrize("kind", ["unauthorized", "billing", "redirect"])
def test_a_provider_that_takes_no_batches_ends_the_run(
    provider: MockProvider, api: Api, tmp_path: Path, kind: str
) -> None:
    provider.change(faults=[f"{kind}:method=POST"])
    with pytest.raises(TeacherUnavailableError) as caught:
        run(tmp_path, api, num=5)
    assert KEY not in str(caught.value)
    provider.change(faults=[])
    assert len(texts_of(run(tmp_path, api, num=5))) == provider.world.num_paid == 5


def test_a_batch_that_is_gone_is_not_paid_again_unasked(
    provider: MockProvider, api: Api, tmp_path: Path
) -> None:
    interrupted(tmp_path, api, num=5, num_batches=1, batch_wait_s=60.0)
    provider.world.jobs[api.family].clear()
    with pytest.raises(TeacherUnavailableError, match="forget_missing_batches=true"):
        run(tmp_path, api, num=5)
    assert jobs_of(provider, api) == []
    assert len(texts_of(run(tmp_path, api, num=5, forget_missing_batches=True))) == 5
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.totals().num_lost == 5


def test_a_budget_is_never_crossed(provider: MockProvider, openai: Api, tmp_path: Path) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text(PRICES)
    # A request may cost over 5e-4 and costs 3e-5: two fit at first, then more as these come back.
    with pytest.raises(BudgetExceededError, match="Raise the budget"):
        run(tmp_path, openai, num=40, prices=str(prices), budget_usd=0.0012)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        totals = ledger.totals()
    assert totals.cost_usd is not None
    assert 0.0006 < totals.cost_usd <= 0.0012
    assert totals.unsettled_usd == 0.0
    assert 10 < totals.num_answered == provider.world.num_paid < 40
    assert max(len(job.requests) for job in jobs_of(provider, openai)) == 2
    more = run(tmp_path, openai, num=40, prices=str(prices), budget_usd=1.0)
    assert len(texts_of(more)) == provider.world.num_paid == 40


def test_a_budget_without_a_price_is_refused(openai: Api, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="price of openai:mock-small is unknown"):
        run(tmp_path, openai, budget_usd=1.0)


def test_a_request_that_cannot_be_sent_is_in_no_batch(
    provider: MockProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    api = APIS["anthropic"]
    point_at(monkeypatch, api, provider)
    prompts = some_prompts(30)
    prompts[3] = prompts[3].model_copy(update={"output_schema": "not JSON"})
    artifact = collect(prompts, tmp_path / "out", teacher=api.spec, config=batch_config())
    assert artifact.manifest.counts.dropped == {"bad_request": 1}
    assert num_asked(provider, api) == 29


def test_a_teacher_without_a_batch_api_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        TeacherError, match=r"'fake:headline' has no batch API .* standard, or auto"
    ):
        collect(some_prompts(), tmp_path / "out", teacher="fake:", config=batch_config())


@pytest.mark.parametrize(
    ("within_s", "is_batch"), [(None, True), (90_000.0, True), (86_400.0, False)]
)
def test_auto_takes_batches_where_a_day_is_left(
    provider: MockProvider, openai: Api, tmp_path: Path, within_s: float | None, is_batch: bool
) -> None:
    run(tmp_path, openai, tier="auto", finish_within_s=within_s)
    assert bool(jobs_of(provider, openai)) is is_batch
    assert provider.world.num_paid == 12


def test_teachers_with_and_without_batches_work_side_by_side(
    provider: MockProvider, openai: Api, tmp_path: Path
) -> None:
    artifact = collect(
        some_prompts(),
        tmp_path / "out",
        teacher={"big": openai.spec, "small": "fake:"},
        config=batch_config(tier="auto"),
    )
    assert len(texts_of(artifact)) == 24
    assert num_asked(provider, openai) == provider.world.num_paid == 12


def test_two_batched_teachers_share_one_run(
    provider: MockProvider, openai: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    point_at(monkeypatch, APIS["anthropic"], provider)
    teachers = {"a": openai.spec, "b": APIS["anthropic"].spec}
    artifact = collect(some_prompts(), tmp_path / "out", teacher=teachers, config=batch_config())
    assert len(texts_of(artifact)) == provider.world.num_paid == 24
    assert len(jobs_of(provider, openai)) == len(jobs_of(provider, APIS["anthropic"])) == 3


def test_one_process_drives_the_batches_of_a_ledger(
    provider: MockProvider, openai: Api, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.sqlite"
    other = FolderLock(ledger.with_name("ledger.sqlite.batches"), owner=ledger)
    with pytest.raises(TeacherError, match="stop_after_s"):
        run(tmp_path, openai, stop_after_s=0.2)
    assert provider.count == 0
    other.release()
    assert len(texts_of(run(tmp_path, openai))) == provider.world.num_paid == 12


def test_ctrl_c_on_the_command_line_says_that_the_batches_go_on(
    provider: MockProvider, openai: Api, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.change(batch={"seconds": 3600.0})
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "rain"}\n{"prompt": "snow"}\n')
    words = ["collect", str(prompts), "--teacher", openai.spec, "--tier", "batch"]
    words += ["--set", "access.batch_wait_s=0.02", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "stillhouse", *words]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not any(entry.method == "GET" for entry in provider.requests):
        assert child.poll() is None
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=20)
    assert child.returncode == 130
    assert "1 batch goes on at the provider. Run the same command to take their answers." in said
    let_time_pass(provider, openai)
    assert run_here(capsys, *words).code == 0
    assert (provider.world.num_paid, len(jobs_of(provider, openai))) == (2, 1)
