"""Profiles of watermarks, and marks in what is generated, by a scheme of the tests' own."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_models
import torch
from cli_process import run_here
from serve_cases import RunningServer
from test_models_constrained import Only, feed, options_of
from test_serve_log import cascade as cascade

from stillhouse.cascade import open_cascade
from stillhouse.errors import ConfigError
from stillhouse.models import GenerationJob, LanguageModel, generate
from stillhouse.models._constrained_draw import draw_within
from stillhouse.models._sampling import draw
from stillhouse.records import Message
from stillhouse.serve import ServeConfig, open_engine
from stillhouse.serve._local import LocalEngine
from stillhouse.servicelog import LogConfig, RequestRow, read_log
from stillhouse.watermark import MarkedRow, Watermark, WatermarkProfile, open_watermark

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "town"}], "max_tokens": 24}


class GreenHalf:
    """Prefers one half of the vocabulary, which the key and the last token choose."""

    def __init__(self, key: int, bias: float) -> None:
        self._key = key
        self._bias = bias

    def green_V(self, row: MarkedRow, previous_ids: Sequence[int], width: int) -> torch.Tensor:
        last = previous_ids[-1] if previous_ids else row.prompt_ids[-1]
        draws = np.random.Generator(np.random.Philox([self._key, last]))
        return torch.from_numpy(draws.random(width) < 0.5)

    def __call__(
        self, row: MarkedRow, previous_ids: Sequence[int], logits_V: torch.Tensor
    ) -> torch.Tensor:
        green_V = self.green_V(row, previous_ids, len(logits_V))
        return logits_V + self._bias * green_V


def green_half(profile: WatermarkProfile) -> GreenHalf:
    return GreenHalf(profile.settings["key"], profile.settings["bias"])


SCHEMES = {"green-half": green_half}


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "mark.yaml"
    path.write_text("scheme: green-half\nid: prod-2026\nsettings: {key: 17, bias: 4.0}\n")
    return path


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return small_models.make(small_models.llama(max_position_embeddings=1024), tiny_folder)


def jobs(model: LanguageModel, mark: GreenHalf | None, **changes: Any) -> list[GenerationJob]:
    ids = model.chat.encode_prompt([Message(role="user", content="town")])
    return [
        GenerationJob(
            key=f"{seed}",
            prompt_ids=ids,
            max_tokens=40,
            temperature=1.0,
            seed=seed,
            top_logprobs=3,
            mark=mark,
            **changes,
        )
        for seed in range(6)
    ]


def share_green(mark: GreenHalf, job: GenerationJob, ids: list[int], width: int) -> float:
    return float(
        np.mean([bool(mark.green_V(job, ids[:n], width)[ids[n]]) for n in range(len(ids))])
    )


def test_what_is_generated_carries_the_mark_and_what_is_told_is_the_models_own(
    model: LanguageModel,
) -> None:
    mark = GreenHalf(17, 4.0)
    width = len(model.chat.text_bytes)

    def run(given: GreenHalf | None) -> dict[str, Any]:
        todo = jobs(model, given)
        groups = generate(model, feed(todo), num_ids=width)
        return {done.key: done for group in groups for done in group}

    marked, again, plain = run(mark), run(mark), run(None)
    for job in jobs(model, mark):
        ids = marked[job.key].ids.tolist()
        assert ids == again[job.key].ids.tolist()
        assert share_green(mark, job, ids, width) > 0.85
        assert 0.2 < share_green(mark, job, plain[job.key].ids.tolist(), width) < 0.8
        # The first token: the same prompt, so the same distribution of the model.
        assert marked[job.key].top_ids[0].tolist() == plain[job.key].top_ids[0].tolist()
        assert np.array_equal(marked[job.key].top_logprobs[0], plain[job.key].top_logprobs[0])
        assert marked[job.key].logprobs[0] <= plain[job.key].top_logprobs[0][0]


def test_rows_without_a_mark_keep_their_bits() -> None:
    logits_AV = 4 * torch.randn(4, 400, generator=torch.Generator().manual_seed(1))
    options = options_of(4, 1.0)
    wanted = draw(logits_AV, **options)
    only_7_V = torch.full((400,), -torch.inf).index_fill(0, torch.tensor([7]), 0.0)
    drawn = draw_within(logits_AV, [None] * 4, marks={2: lambda _: only_7_V}, **options)
    rest = torch.tensor([0, 1, 3])
    for one, other in zip(drawn, wanted, strict=True):
        assert torch.equal(one[rest], other[rest])
    assert drawn.ids_A[2] == 7
    expected = logits_AV[2, 7] - torch.logsumexp(logits_AV[2], dim=0)
    assert torch.isclose(drawn.logprobs_A[2], expected)


def test_a_grammar_is_kept_whatever_a_mark_prefers() -> None:
    logits_AV = torch.zeros(2, 400)
    options = options_of(2, 0.0)
    likes_9_V = torch.zeros(400).index_fill(0, torch.tensor([9]), 5.0)
    only_3_V = torch.full((400,), -torch.inf).index_fill(0, torch.tensor([3]), 0.0)
    held = [Only([8, 9]), Only([8])]
    drawn = draw_within(logits_AV, held, marks={0: lambda _: likes_9_V, 1: lambda _: 8}, **options)
    assert drawn.ids_A.tolist() == [9, 8]  # the second mark leaves nothing that is allowed


@pytest.mark.parametrize("given_V", [torch.zeros(399), torch.full((400,), torch.nan)])
def test_a_mark_that_gives_no_logits_is_refused(given_V: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match="A mark gave"):
        draw_within(torch.zeros(1, 400), [None], marks={0: lambda _: given_V}, **options_of(1, 1.0))


def test_a_mark_that_leaves_nothing_is_refused() -> None:
    nothing_V = torch.full((400,), -torch.inf)
    with pytest.raises(ConfigError, match="leaves no token"):
        draw_within(torch.zeros(1, 400), [None], marks={0: lambda _: nothing_V}, **options_of(1, 1.0))


def test_a_profile_names_a_scheme_that_there_is(profile: Path) -> None:
    assert open_watermark(profile, SCHEMES).profile_id == "prod-2026"
    with pytest.raises(ConfigError, match="'green-half', and there is none: this version"):
        open_watermark(profile)
    with pytest.raises(ConfigError, match="there is other, red"):
        open_watermark(profile, {"red": green_half, "other": green_half})
    profile.write_text("scheme: green-half\nid: ../up\n")
    with pytest.raises(ConfigError, match="id"):
        open_watermark(profile, SCHEMES)
    with pytest.raises(ConfigError):
        open_watermark(profile.with_name("none.yaml"), SCHEMES)


def test_a_key_is_not_shown() -> None:
    shown = repr(WatermarkProfile(scheme="s", id="i", settings={"key": "very-secret"}))
    assert "very-secret" not in shown


def test_a_deployment_marks_whatever_its_clients_say(model: LanguageModel, tmp_path: Path) -> None:
    mark = GreenHalf(17, 6.0)
    engine = LocalEngine(model, slots=4, max_tokens=200, watermark=Watermark("prod-2026", mark))
    fields = {**ASKED, "seed": 5, "temperature": 1.0}
    with RunningServer(LocalEngine(model, slots=4, max_tokens=200)) as server:
        plain = server.ask(CHAT, **fields)["choices"][0]["message"]["content"]
        assert "x-stillhouse-watermark" not in server.send(CHAT, fields)[1]
        assert server.ask_models()["stillhouse"]["watermark"] is None
    with RunningServer(engine, log=LogConfig(folder=tmp_path)) as server:
        marked = server.ask(CHAT, **fields)["choices"][0]["message"]["content"]
        assert marked != plain
        for off in (False, None, "off", "other", {"enabled": False}):
            given = {"watermark": off, "mark": off, "metadata": {"watermark": "off"}}
            headers = {"x-stillhouse-watermark": "off"}
            status, told, body = server.send(CHAT, {**fields, **given}, headers=headers)
            assert status == 200
            assert json.loads(body)["choices"][0]["message"]["content"] == marked
            assert told["x-stillhouse-watermark"] == "prod-2026"
        assert server.send(CHAT, {"messages": []})[1].get("x-stillhouse-watermark") is None
        assert server.ask_models()["stillhouse"]["watermark"] == "prod-2026"
    rows = [row for row in read_log(tmp_path) if isinstance(row, RequestRow)]
    assert {row.watermark for row in rows if row.status == 200} == {"prod-2026"}
    assert rows[-1].watermark is None


def test_what_cannot_be_marked_is_not_served_under_a_profile(
    profile: Path, tmp_path: Path, tiny_folder: Path, cascade: Path
) -> None:
    config = ServeConfig(watermark=profile)
    teacher = "http://127.0.0.1:1/v1#m"
    for student, why in (
        (str(open_cascade(cascade).student.path), "answers with labels"),
        (str(cascade), "whose teacher's answers would have no mark"),
        ("http://127.0.0.1:1/v1#m", "run by another server"),
        (str(tmp_path / "student.gguf"), "run by llama.cpp"),
    ):
        with pytest.raises(ConfigError, match=why):
            open_engine(student, config, teacher=teacher, schemes=SCHEMES)
    with pytest.raises(ConfigError, match="there is none"):
        open_engine(str(tiny_folder), config)
    engine = open_engine(str(tiny_folder), config, schemes=SCHEMES)
    assert isinstance(engine, LocalEngine)
    assert engine.watermark == "prod-2026"


def test_the_command_line_refuses_a_profile_that_nothing_marks_by(
    profile: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = run_here(capsys, "serve", str(tiny_folder), "--watermark", str(profile), "--port", "0")
    assert ran.code == 2
    assert "asks for the scheme 'green-half', and there is none" in ran.err
