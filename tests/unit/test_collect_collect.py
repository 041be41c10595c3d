import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from loopback_chat import LoopbackChat, chat_json

from stillhouse.artifacts import Artifact, check_files, check_rows_root, open_artifact
from stillhouse.collect import CollectConfig, collect
from stillhouse.errors import (
    ConfigError,
    DataError,
    LogprobsUnavailableError,
    RecordError,
    TeacherError,
    TeacherUnavailableError,
    TooManyFailuresError,
)
from stillhouse.records import Completion, Message, Prompt, Sampling
from stillhouse.runlog import Answer, Ledger, Progress
from stillhouse.teachers import FakeOptions, FakeTeacher, Pull, open_teacher


def some_prompts(num: int = 6, text: str = "Tell me about river number") -> list[Prompt]:
    return [
        Prompt(id=f"p{i}", messages=(Message(role="user", content=f"{text} {i}"),))
        for i in range(num)
    ]


class CountingTeacher(FakeTeacher):
    """A fake that remembers what it was asked."""

    def __init__(self, options: FakeOptions | None = None) -> None:
        super().__init__(options)
        self.asked: list[str] = []

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        def counted(num: int) -> list[Any]:
            requests = pull(num)
            self.asked += [request.prompt_id for request in requests]
            return requests

        return super().stream(counted)


def config(**changes: Any) -> CollectConfig:
    return CollectConfig.model_validate({"access": {"max_tries": 1}, **changes})


def completions_of(artifact: Artifact) -> list[Completion]:
    return list(artifact.rows("completions", Completion))


def test_a_collection_holds_every_answer_in_the_order_of_the_prompts(tmp_path: Path) -> None:
    prompts = some_prompts()
    artifact = collect(prompts, tmp_path / "out", teacher="fake:?parallel=4", config=config())
    check_files(artifact)
    check_rows_root(artifact)
    rows = completions_of(artifact)
    assert [row.prompt_id for row in rows] == [prompt.id for prompt in prompts]
    assert list(artifact.rows("prompts", Prompt)) == prompts
    manifest = artifact.manifest
    assert (manifest.kind, manifest.stage) == ("completions", "collect")
    assert manifest.teacher is not None
    assert manifest.teacher.id == "fake:headline"
    assert manifest.sampling == Sampling()
    assert manifest.seeds == {"sampling": 0}
    assert (manifest.counts.num_in, manifest.counts.kept, manifest.counts.dropped) == (6, 6, {})
    assert manifest.usage.completion_tokens == sum(row.usage.completion_tokens for row in rows)
    assert manifest.usage.cost_usd == 0.0
    assert manifest.usage.seconds > 0


def test_several_samples_per_prompt_are_numbered(tmp_path: Path) -> None:
    artifact = collect(
        some_prompts(2), tmp_path / "out", teacher="fake:", config=config(samples_per_prompt=3)
    )
    assert [(row.prompt_id, row.sample_index) for row in completions_of(artifact)] == [
        (prompt, index) for prompt in ("p0", "p1") for index in range(3)
    ]
    assert artifact.manifest.counts.num_in == 6


def test_equal_inputs_are_not_collected_again_and_changed_ones_are_refused(tmp_path: Path) -> None:
    out, teacher = tmp_path / "out", CountingTeacher()
    first = collect(some_prompts(), out, teacher=teacher, config=config())
    again = collect(some_prompts(), out, teacher=teacher, config=config())
    assert again.manifest == first.manifest
    assert len(teacher.asked) == 6
    with pytest.raises(ConfigError, match="finished artefact"):
        collect(some_prompts(7), out, teacher=teacher, config=config())
    wider = collect(some_prompts(7), out, teacher=teacher, config=config(), replace=True)
    assert wider.manifest.counts.kept == 7
    assert teacher.asked[6:] == ["p6"]  # the ledger knows the others


def test_the_path_of_the_prompts_does_not_matter_but_their_content_does(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"prompt": "same words"}\n')
    one = collect(tmp_path / "a.jsonl", tmp_path / "one", teacher="fake:", config=config())
    two = collect(tmp_path / "b.jsonl", tmp_path / "two", teacher="fake:", config=config())
    assert one.manifest.config == two.manifest.config
    (tmp_path / "b.jsonl").write_text('{"prompt": "other words"}\n')
    with pytest.raises(ConfigError):
        collect(tmp_path / "b.jsonl", tmp_path / "two", teacher="fake:", config=config())


def test_failures_are_dropped_with_their_reason_and_asked_again_later(tmp_path: Path) -> None:
    prompts, ledger = some_prompts(), tmp_path / "l.sqlite"
    teacher = CountingTeacher(FakeOptions(fail_every=6))
    loose = config(max_failure_fraction=0.2)
    artifact = collect(prompts, tmp_path / "a", teacher=teacher, config=loose, ledger=ledger)
    assert artifact.manifest.counts.dropped == {"fake_failure": 1}
    assert [row.prompt_id for row in completions_of(artifact)] == ["p0", "p1", "p2", "p3", "p4"]
    again = CountingTeacher()
    artifact = collect(prompts, tmp_path / "b", teacher=again, config=loose, ledger=ledger)
    assert again.asked == ["p5"]
    assert artifact.manifest.counts.kept == 6


def test_too_many_failures_stop_asking_and_keep_the_answers(tmp_path: Path) -> None:
    prompts, out = some_prompts(40), tmp_path / "out"
    failing = CountingTeacher(FakeOptions(fail_every=2, parallel=4))
    with pytest.raises(TooManyFailuresError, match="'fake_failure'") as caught:
        collect(prompts, out, teacher=failing, config=config())
    assert caught.value.exit_code == 3
    assert "allowed are 5.0%" in str(caught.value)
    assert len(failing.asked) == 8  # two failures are allowed, and the first group had them
    assert not (out / "manifest.json").exists()
    healthy = CountingTeacher()
    artifact = collect(prompts, out, teacher=healthy, config=config())
    assert artifact.manifest.counts.kept == 40
    assert len(healthy.asked) == 40 - 4


def test_the_allowed_fraction_itself_is_allowed(tmp_path: Path) -> None:
    teacher = FakeTeacher(FakeOptions(fail_every=100))
    artifact = collect(
        some_prompts(100), tmp_path / "o", teacher=teacher, config=config(max_failure_fraction=0.01)
    )
    assert artifact.manifest.counts.kept == 99


def test_prompts_with_the_same_messages_are_asked_once(tmp_path: Path) -> None:
    (prompt,) = some_prompts(1)
    twin = prompt.model_copy(update={"id": "twin"})
    teacher = CountingTeacher()
    artifact = collect([prompt, twin], tmp_path / "out", teacher=teacher, config=config())
    assert teacher.asked == ["p0"]
    assert artifact.manifest.counts.dropped == {"duplicate_prompt": 1}
    assert [p.id for p in artifact.rows("prompts", Prompt)] == ["p0"]


def test_an_answer_known_under_another_prompt_id_is_filed_under_the_new_one(tmp_path: Path) -> None:
    prompts = some_prompts(2)
    collect(prompts, tmp_path / "a", teacher="fake:", config=config())
    renamed = [p.model_copy(update={"id": f"new-{p.id}"}) for p in prompts]
    teacher = CountingTeacher()
    artifact = collect(renamed, tmp_path / "b", teacher=teacher, config=config())
    assert teacher.asked == []
    assert [row.prompt_id for row in completions_of(artifact)] == ["new-p0", "new-p1"]


def test_a_request_is_in_the_ledger_before_the_teacher_has_it(tmp_path: Path) -> None:
    class Watching(FakeTeacher):
        def stream(self, pull: Pull) -> Iterator[list[Answer]]:
            requests = pull(3)
            with Ledger(tmp_path / "ledger.sqlite") as other:
                assert other.totals().num_open == 3
                assert [one.id for one in other.requests(r.id for r in requests)] == [
                    request.id for request in requests
                ]
                assert other.open_calls() == []  # whoever asked them is alive
            yield from super().stream(lambda n: pull(n))
            raise TeacherError("gone")

    with pytest.raises(TeacherError, match="gone"):
        collect(some_prompts(4), tmp_path / "out", teacher=Watching(), config=config())
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert (ledger.totals().num_open, ledger.totals().num_answered) == (3, 1)
        assert [call.prompt_id for call in ledger.open_calls()] == ["p0", "p1", "p2"]


def test_progress_is_told_after_the_answer_is_in_the_ledger(tmp_path: Path) -> None:
    told: list[Progress] = []

    def listen(progress: Progress) -> None:
        told.append(progress)
        if progress.done:
            with Ledger(tmp_path / "ledger.sqlite") as ledger:
                assert ledger.totals().num_answered >= progress.done

    collect(some_prompts(), tmp_path / "o", teacher="fake:", config=config(), on_progress=listen)
    assert (told[0].done, told[-1].done, told[-1].total) == (0, 6, 6)
    assert told[-1].metrics["collect/cost_usd"] == 0.0
    assert told[-1].metrics["collect/num_failed"] == 0


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.done >= 4:
            raise KeyboardInterrupt

    slow = "fake:?parallel=2&latency_s=0.11"  # longer than the listener's interval
    with pytest.raises(KeyboardInterrupt):
        collect(
            some_prompts(), tmp_path / "o", teacher=slow, config=config(), on_progress=interrupt
        )
    teacher = CountingTeacher()
    artifact = collect(some_prompts(), tmp_path / "o", teacher=teacher, config=config())
    assert teacher.asked == ["p4", "p5"]
    assert artifact.manifest.usage.seconds > 0.22  # the first attempt's time is counted as well


def test_a_teacher_that_ends_early_is_an_error(tmp_path: Path) -> None:
    class Lazy(FakeTeacher):
        def stream(self, pull: Pull) -> Iterator[list[Answer]]:
            pull(2)
            return iter([])

    with pytest.raises(TeacherError, match="6 of 6 requests unanswered"):
        collect(some_prompts(), tmp_path / "o", teacher=Lazy(), config=config())


def test_logprobs_are_kept_and_refused_beforehand_where_there_are_none(tmp_path: Path) -> None:
    asking = config(sampling={"top_logprobs": 3})
    with pytest.raises(LogprobsUnavailableError):
        collect(some_prompts(), tmp_path / "none", teacher="fake:", config=asking)
    assert not (tmp_path / "none").exists()
    artifact = collect(some_prompts(), tmp_path / "o", teacher="fake:?logprobs=5", config=asking)
    for row in completions_of(artifact):
        assert row.logprobs is not None
        assert row.logprobs.top_k == 3


def test_bad_prompts_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no prompts"):
        collect([], tmp_path / "o", teacher="fake:", config=config())
    with pytest.raises(RecordError, match="'p0' occurs twice"):
        collect(some_prompts(1) * 2, tmp_path / "o", teacher="fake:", config=config())
    broken = Prompt(id="x", messages=(Message(role="user", content="\ud800"),))
    with pytest.raises(RecordError, match="surrogate"):
        collect([broken], tmp_path / "o", teacher="fake:", config=config())
    assert list(tmp_path.iterdir()) == []


def test_over_http_the_revision_is_what_answered_and_the_cost_unknown(tmp_path: Path) -> None:
    with LoopbackChat() as server:
        artifact = collect(
            some_prompts(), tmp_path / "o", teacher=f"{server.url}#m", config=config()
        )
        assert len(server.bodies) == 6
    assert artifact.manifest.teacher is not None
    assert artifact.manifest.teacher.id == "http:m@localhost"
    assert artifact.manifest.teacher.revision == "m-2026-01-02"
    assert artifact.manifest.usage.cost_usd is None
    assert artifact.manifest.usage.prompt_tokens == 6 * 7


def test_what_was_answered_before_the_quota_ended_is_not_asked_again(tmp_path: Path) -> None:
    has_quota = [False]

    async def quota_of_three(number: int, body: dict[str, Any]) -> web.StreamResponse:
        if number > 3 and not has_quota[0]:
            return web.json_response({"error": {"message": "empty"}}, status=402)
        return web.json_response(chat_json("good"))

    with LoopbackChat(quota_of_three) as server:
        spec = f"{server.url}#m"
        with pytest.raises(TeacherUnavailableError, match="payment"):
            collect(some_prompts(30), tmp_path / "o", teacher=spec, config=config())
        num_asked = len(server.bodies)
        has_quota[0] = True
        collect(some_prompts(30), tmp_path / "o", teacher=spec, config=config())
        assert len(server.bodies) == num_asked + 27


def test_a_replay_gives_the_recorded_text_and_names_its_source(tmp_path: Path) -> None:
    prompts = some_prompts()
    recorded = collect(
        prompts,
        tmp_path / "a",
        teacher="fake:?logprobs=4",
        config=config(sampling={"top_logprobs": 2}),
    )
    spec = f"replay:{tmp_path / 'a'}"
    renamed = [p.model_copy(update={"id": f"new-{p.id}"}) for p in prompts]
    other = config(sampling={"temperature": 0.0, "top_logprobs": 2})
    replayed = collect(renamed, tmp_path / "b", teacher=spec, config=other)
    before, after = completions_of(recorded), completions_of(replayed)
    assert [row.text for row in after] == [row.text for row in before]
    assert [row.logprobs for row in after] == [row.logprobs for row in before]
    assert [row.model for row in after] == [row.model for row in before]
    assert [parent.path for parent in replayed.manifest.parents] == ["../a"]
    assert replayed.manifest.teacher is not None
    assert replayed.manifest.teacher.provider == "replay"
    assert replayed.manifest.usage.cost_usd == 0.0


def test_a_replay_without_a_recording_fails_the_item(tmp_path: Path) -> None:
    collect(some_prompts(2), tmp_path / "a", teacher="fake:", config=config())
    artifact = collect(
        some_prompts(3),
        tmp_path / "b",
        teacher=f"replay:{tmp_path / 'a'}",
        config=config(max_failure_fraction=0.5),
    )
    assert artifact.manifest.counts.dropped == {"not_recorded": 1}
    twice = config(samples_per_prompt=2)
    with pytest.raises(TooManyFailuresError, match="no completion 1"):
        collect(some_prompts(2), tmp_path / "c", teacher=f"replay:{tmp_path / 'a'}", config=twice)


def test_a_replay_needs_a_completions_artefact(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="replay:DIR"):
        open_teacher("replay:")
    with pytest.raises(DataError, match="does not exist"):
        open_teacher(f"replay:{tmp_path / 'none'}")


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="sample_per_prompt"):
        config(sample_per_prompt=2)


def test_a_finished_collection_opens_as_completions(tmp_path: Path) -> None:
    collect(some_prompts(1), tmp_path / "deep" / "er" / "o", teacher="fake:", config=config())
    open_artifact(tmp_path / "deep" / "er" / "o", kind="completions")
    assert (tmp_path / "deep" / "er" / "ledger.sqlite").is_file()


def test_a_collection_over_http_loads_neither_torch_nor_native_engines(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from stillhouse.collect import CollectConfig, collect
from stillhouse.records import Message, Prompt
prompt = Prompt(id="p", messages=(Message(role="user", content="u"),))
collect([prompt], Path(sys.argv[1]), teacher=sys.argv[2], config=CollectConfig())
print(sorted({"torch", "transformers", "xllamacpp", "scipy"} & set(sys.modules)))
"""
    with LoopbackChat() as server:
        arguments = [sys.executable, "-c", script, str(tmp_path / "o"), f"{server.url}#m"]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
