"""The stage as a whole, against a real endpoint: artefacts, resumption, clear errors."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from arena_hall import Ruler, Writer, message, prompts
from loopback_chat import LoopbackChat, chat_json

from stillhouse.artifacts import Artifact
from stillhouse.collect import CollectConfig, ImportConfig, import_completions
from stillhouse.errors import ConfigError, DataError, TeacherError
from stillhouse.evaluate import ArenaConfig, ComparisonRow, arena, read_arena_results
from stillhouse.pipeline import ledger_asking
from stillhouse.provenance import verify
from stillhouse.records import Prompt, Request, Sampling
from stillhouse.runlog import Progress

STRENGTHS = {"good": 1.2, "fair": 0.0, "poor": -1.2}
NUM_PROMPTS = 15


async def respond(number: int, body: dict[str, Any]) -> web.StreamResponse:
    """Answer as the model that is asked: a writer, or the judge."""
    name = body["model"]
    prompt = Prompt(id="any", messages=(message(body["messages"][-1]["content"]),))
    request = Request.of(prompt, teacher=name, sampling=Sampling())
    speak = Ruler() if name == "judge" else Writer(name, STRENGTHS[name])
    return web.json_response(chat_json(speak(request)) | {"model": name})


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackChat]:
    with LoopbackChat(respond) as server:
        yield server


def held(server: LoopbackChat, out: Path, **changes: Any) -> Artifact:
    given: dict[str, Any] = {
        "models": {name: f"{server.url}#{name}" for name in STRENGTHS},
        "judge": f"{server.url}#judge",
        "ask": ledger_asking(CollectConfig(), out / "ledger.sqlite"),
        "config": ArenaConfig(),
        "title": "Three models",
        "command": "stillhouse arena prompts.jsonl",
    }
    rows = changes.pop("prompts", prompts(NUM_PROMPTS))
    return arena(rows, out, **(given | changes))


@pytest.fixture(scope="module")
def artifact(server: LoopbackChat, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return held(server, tmp_path_factory.mktemp("arena"))


def test_an_arena_is_an_evaluation_that_verifies_with_all_it_was_made_of(
    artifact: Artifact,
) -> None:
    assert (artifact.manifest.kind, artifact.manifest.stage) == ("evaluation", "arena")
    checked = verify(artifact.path).artifacts
    assert [one.path.name for one in checked] == [*STRENGTHS, "judgements", "evaluation"]
    assert artifact.manifest.counts.kept == 3 * NUM_PROMPTS


def test_every_comparison_is_kept_with_the_calls_that_judged_it(artifact: Artifact) -> None:
    rows = [*artifact.rows("comparisons", ComparisonRow)]
    assert len(rows) == 3 * NUM_PROMPTS
    assert {row.basis for row in rows} == {"judged"}
    calls = [one.request_id for row in rows for one in (row.a_first, row.b_first) if one]
    assert len(set(calls)) == 6 * NUM_PROMPTS
    assert None not in calls


def test_results_and_report_say_the_same(artifact: Artifact) -> None:
    results = read_arena_results(artifact.file("results.json"))
    assert [model.name for model in results.models] == [*STRENGTHS]
    assert artifact.manifest.results["verdict"] == results.verdict
    assert [one["name"] for one in artifact.manifest.results["models"]] == [*STRENGTHS]
    report = artifact.file("report.html").read_text(encoding="utf-8")
    assert results.verdict in report
    assert "stillhouse arena prompts.jsonl" in report


def test_an_arena_that_was_held_is_returned_and_nobody_is_asked(
    server: LoopbackChat, artifact: Artifact
) -> None:
    num_before = len(server.bodies)
    again = held(server, artifact.path.parent)
    assert again.manifest_sha256 == artifact.manifest_sha256
    assert len(server.bodies) == num_before


def test_another_arena_in_the_folder_is_refused_before_anything_is_asked(
    server: LoopbackChat, artifact: Artifact
) -> None:
    num_before = len(server.bodies)
    with pytest.raises(ConfigError, match="arena of other prompts, models or settings"):
        held(server, artifact.path.parent, prompts=prompts(NUM_PROMPTS + 1))
    assert len(server.bodies) == num_before


def test_a_new_model_costs_its_own_answers_and_comparisons_only(
    server: LoopbackChat, tmp_path: Path
) -> None:
    models = {name: f"{server.url}#{name}" for name in ("good", "fair")}
    held(server, tmp_path, models=models)
    num_before = len(server.bodies)
    models["poor"] = f"{server.url}#poor"
    held(server, tmp_path, models=models, replace=True)
    assert len(server.bodies) - num_before == NUM_PROMPTS + 4 * NUM_PROMPTS


def test_a_stopped_arena_goes_on_where_it_was(tmp_path: Path) -> None:
    """The judge's endpoint goes away in the middle, and comes back."""
    num_left = 25

    async def until_it_breaks(number: int, body: dict[str, Any]) -> web.StreamResponse:
        nonlocal num_left
        if body["model"] == "judge":
            num_left -= 1
            if num_left < 0:
                return web.json_response({"error": {"message": "bad key"}}, status=401)
        return await respond(number, body)

    with LoopbackChat(until_it_breaks) as server:
        with pytest.raises(TeacherError):
            held(server, tmp_path)
        assert not (tmp_path / "evaluation" / "manifest.json").exists()
        num_left = 10**6
        held(server, tmp_path)
        answered = [body for body in server.bodies if body["model"] == "judge"]
        texts = [body["messages"][-1]["content"] for body in answered]
    # Those that were refused are asked again; none that was answered is.
    num_refused = len(texts) - len(set(texts))
    assert len(set(texts)) == 6 * NUM_PROMPTS
    assert num_refused <= 64
    assert all(texts[:25].count(text) == 1 for text in texts[:25])
    first_answered = set(texts[:25])
    assert not first_answered & set(texts[25:])


def test_progress_tells_who_is_asked(server: LoopbackChat, tmp_path: Path) -> None:
    told: list[Progress] = []
    held(server, tmp_path, on_progress=told.append)
    stages = list(dict.fromkeys(one.stage for one in told))
    assert stages == [
        "answers of good",
        "answers of fair",
        "answers of poor",
        "judge, first pairs",
        "judge",
    ]
    assert {one.unit for one in told} == {"answers", "verdicts"}
    assert told[-1].done == told[-1].total == 6 * NUM_PROMPTS


@pytest.mark.parametrize(
    ("changes", "error", "parts"),
    [
        ({"prompts": []}, DataError, ["no prompts"]),
        ({"prompts": prompts(4)}, DataError, ["4 prompts of 4 groups", "10"]),
        ({"models": {}}, ConfigError, ["0 models", "at least two"]),
        ({"models": {"one": "fake:"}}, ConfigError, ["1 models", "NAME=SPEC"]),
        ({"models": {"a b": "fake:", "c": "local:"}}, ConfigError, ["'a b'", "letters"]),
        ({"models": {"one": "fake:", "One": "local:"}}, ConfigError, ["case only"]),
        ({"models": {"one": "fake:", "two": "fake:?parallel=2"}}, ConfigError, ["both", "fake:"]),
        ({"judge": "jugde:x"}, ConfigError, ["'jugde:x'", "PROVIDER:MODEL"]),
        ({"models": {"one": "fake:", "two": "replay:none"}}, DataError, ["none"]),
        ({"gold": Path("none.jsonl")}, ConfigError, ["none.jsonl", "does not exist"]),
        (
            {"config": ArenaConfig(judge_template="none.yaml")},
            ConfigError,
            ["none.yaml", "judge's template"],
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_asked(
    server: LoopbackChat,
    tmp_path: Path,
    changes: dict[str, Any],
    error: type[Exception],
    parts: list[str],
) -> None:
    num_before = len(server.bodies)
    with pytest.raises(error) as caught:
        held(server, tmp_path, **changes)
    assert [part for part in parts if part not in str(caught.value)] == []
    assert len(server.bodies) == num_before
    assert [*tmp_path.iterdir()] == []


def test_a_template_of_ones_own_is_asked_and_recorded(server: LoopbackChat, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "name: own\nversion: 7\nuser: |\n  MINE {request}\n  <answer A x>\n  {first}\n"
        "  </answer A>\n  <answer B x>\n  {second}\n  </answer B>\n"
    )
    config = ArenaConfig(judge_template=str(own))
    artifact = held(server, tmp_path / "out", config=config)
    assert server.bodies[-1]["messages"][-1]["content"].startswith("MINE")
    results = read_arena_results(artifact.file("results.json"))
    assert results.judge.template == "own, version 7"


def test_recorded_answers_take_part(server: LoopbackChat, tmp_path: Path) -> None:
    rows = "\n".join(
        f'{{"prompt": "{one.messages[0].content}", "completion": "quality=9 recorded {one.id}"}}'
        for one in prompts(NUM_PROMPTS)
    )
    (tmp_path / "answers.jsonl").write_text(rows)
    recorded = import_completions(
        tmp_path / "answers.jsonl", tmp_path / "recorded", config=ImportConfig()
    )
    models = {"good": f"{server.url}#good", "recorded": f"replay:{recorded.path}"}
    artifact = held(server, tmp_path / "out", models=models)
    results = read_arena_results(artifact.file("results.json"))
    assert results.models[0].name == "recorded"
    assert (results.pairs[0].a_wins, results.pairs[0].b_wins) == (NUM_PROMPTS, 0)
    assert any(re.search("never took a point", one) for one in results.warnings)
    assert len(verify(artifact.path).artifacts) == 5


def test_a_model_on_this_machine_takes_part(
    server: LoopbackChat, tmp_path: Path, tiny_folder: Path
) -> None:
    models = {"good": f"{server.url}#good", "student": f"local:{tiny_folder}"}
    config = ArenaConfig(sampling=Sampling(max_tokens=8))
    artifact = held(server, tmp_path, models=models, config=config)
    results = read_arena_results(artifact.file("results.json"))
    assert [(one.name, one.num_answers) for one in results.models] == [
        ("good", NUM_PROMPTS),
        ("student", NUM_PROMPTS),
    ]
    assert results.models[1].teacher.startswith("local:")


ARENA_HARD = Path(__file__).resolve().parents[3] / "shared" / "data" / "arena_hard_v01"


@pytest.mark.skipif(not ARENA_HARD.is_dir(), reason="the recorded answers are not on this machine")
def test_real_recorded_answers_are_judged_and_a_model_that_judges_itself_is_told(
    tmp_path: Path,
) -> None:
    """The judge counts words, and says that it is one of the two."""
    questions = [orjson.loads(line) for line in _lines(ARENA_HARD / "question.jsonl")[:30]]
    asked = {row["uid"]: row["prompt"] for row in questions}
    models = {}
    for name in ("gpt-4-0314", "gpt-3.5-turbo-0125"):
        rows = [orjson.loads(line) for line in _lines(ARENA_HARD / f"recorded_{name}.jsonl")]
        answered = [
            {"prompt": asked[row["uid"]], "completion": row["answer"], "model": name}
            for row in rows
            if row["uid"] in asked
        ]
        export = tmp_path / f"{name}.jsonl"
        export.write_bytes(b"\n".join(orjson.dumps(row) for row in answered))
        recorded = import_completions(export, tmp_path / name, config=ImportConfig(scrub=False))
        models[name] = f"replay:{recorded.path}"
    rows = [
        Prompt(id=row["uid"], messages=(message(row["prompt"]),), group=row["cluster"])
        for row in questions
    ]

    async def count_words(number: int, body: dict[str, Any]) -> web.StreamResponse:
        text = body["messages"][-1]["content"]
        shown = re.findall(r"<answer [AB] \w+>\n(.*?)\n</answer", text, re.DOTALL)
        first, second = (len(set(answer.split())) for answer in shown)
        verdict = "A" if first > second else "B" if second > first else "TIE"
        return web.json_response(chat_json(f"[[{verdict}]]") | {"model": "gpt-4-0314"})

    with LoopbackChat(count_words) as server:
        artifact = held(server, tmp_path / "out", prompts=rows, models=models)
    results = read_arena_results(artifact.file("results.json"))
    assert results.num_prompts == 30
    assert results.num_groups == len({row["cluster"] for row in questions})
    assert [one.answered_by for one in results.models] == [(one.name,) for one in results.models]
    assert results.judge.order.position_bias.value == 0.0
    assert any("is gpt-4-0314 itself" in one for one in results.warnings)
    assert not any("is gpt-3.5-turbo-0125 itself" in one for one in results.warnings)


def _lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().split(b"\n") if line]
