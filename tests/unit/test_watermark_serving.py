"""Marks in what our own engine and server generate, and in what a local teacher writes."""

import json
from datetime import UTC, datetime
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
from watermark_cases import KEY, profile_of, signed_profile

from stillhouse.artifacts import WatermarkRef, open_artifact
from stillhouse.cascade import open_cascade
from stillhouse.chat import vocabulary_sha256
from stillhouse.collect import CollectConfig, collect
from stillhouse.curate import CurateConfig, curate
from stillhouse.errors import ConfigError, SignatureError
from stillhouse.models import GenerationJob, LanguageModel, generate
from stillhouse.models._constrained_draw import draw_within
from stillhouse.models._sampling import draw, sampling_law
from stillhouse.records import Completion, Message, Sampling
from stillhouse.serve import ServeConfig, open_engine
from stillhouse.serve._local import LocalEngine
from stillhouse.servicelog import LogConfig, RequestRow, read_log
from stillhouse.signing import Keyring
from stillhouse.teachers import open_teacher
from stillhouse.watermark import (
    LogitsMark,
    Profile,
    Watermark,
    load_watermark_key,
    make_mark,
    open_watermark,
    score_tokens,
)

CHAT = "/v1/chat/completions"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "town"}], "max_tokens": 24}


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return small_models.make(small_models.llama(max_position_embeddings=1024), tiny_folder)


@pytest.fixture
def key_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STILLHOUSE_KEYS", str(tmp_path / "keys"))
    (tmp_path / "keys").mkdir()
    return tmp_path / "keys"


@pytest.fixture
def profile_path(key_folder: Path, model: LanguageModel) -> Path:
    """For the tokenizer of the tiny model."""
    tokenizer = vocabulary_sha256(model.chat.tokenizer)
    return signed_profile(key_folder, tokenizer_sha256=tokenizer, context_width=2)[0]


def jobs(model: LanguageModel, mark: LogitsMark | None, **changes: Any) -> list[GenerationJob]:
    ids = model.chat.encode_prompt([Message(role="user", content="town")])
    settings = {"temperature": 1.0, "top_logprobs": 3, "max_tokens": 40, **changes}
    return [
        GenerationJob(key=f"{seed}", prompt_ids=ids, seed=seed, mark=mark, **settings)
        for seed in range(6)
    ]


def generated(model: LanguageModel, todo: list[GenerationJob]) -> dict[str, Any]:
    groups = generate(model, feed(todo), num_ids=len(model.chat.text_bytes))
    return {done.key: done for group in groups for done in group}


@pytest.mark.parametrize(
    ("scheme", "changes", "least"),
    [
        ("gumbel", {}, 1.5),
        ("gumbel", {"temperature": 0.7, "top_p": 0.9}, 1.3),
        ("dual_gumbel", {}, 1.2),
        ("kgw", {}, 1.5),
        ("kgw", {"temperature": 0.0}, 1.2),
        ("synthid", {}, 1.05),
    ],
)
def test_what_is_generated_carries_the_mark_and_what_is_told_is_the_models_own(
    model: LanguageModel, scheme: str, changes: dict[str, Any], least: float
) -> None:
    profile = profile_of(scheme, context_width=2)
    mark = make_mark(profile, KEY)
    marked, plain = (generated(model, jobs(model, one, **changes)) for one in (mark, None))
    again = generated(model, list(reversed(jobs(model, mark, **changes))))
    means = {}
    for name, found in (("marked", marked), ("plain", plain)):
        scores = [score_tokens(profile, KEY, done.ids) for done in found.values()]
        values = np.concatenate([one.scores_N for one in scores])
        means[name] = float(values.mean() / scores[0].null.mean)
    assert means["marked"] > least
    assert means["marked"] > means["plain"]
    for key, done in marked.items():
        assert done.ids.tolist() == again[key].ids.tolist()
        # The first two tokens have no context: they are those of the unmarked completion.
        assert done.ids[:2].tolist() == plain[key].ids[:2].tolist()
        assert np.array_equal(done.logprobs[:2], plain[key].logprobs[:2])
        assert np.array_equal(done.top_logprobs[2], plain[key].top_logprobs[2])
        assert done.logprobs[2] <= plain[key].top_logprobs[2][0]


@pytest.mark.parametrize(
    ("temperature", "top_p"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.6), (2.0, 0.95), (1.5, 0.999)]
)
def test_a_mark_is_given_the_law_that_an_unmarked_token_is_drawn_from(
    temperature: float, top_p: float
) -> None:
    logits_AV = 2 * torch.randn(1, 3000, generator=torch.Generator().manual_seed(4))
    law = sampling_law(logits_AV[0], temperature=temperature, top_p=top_p).softmax(0).double()
    uniforms = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    drawn = draw(
        logits_AV.expand(4000, -1),
        temperature_A=torch.full((4000,), temperature),
        top_p_A=torch.full((4000,), top_p, dtype=torch.float64),
        uniform_A=uniforms,
        top_k=0,
    ).ids_A
    shares = torch.bincount(drawn, minlength=3000).double() / 4000
    # Evenly spread uniforms give each token its share to within one step.
    assert float((shares - law).abs().max()) <= 1.01 / 4000
    assert bool((law[drawn] > 0).all())


def test_rows_that_a_mark_leaves_alone_keep_their_bits() -> None:
    logits_AV = 4 * torch.randn(4, 400, generator=torch.Generator().manual_seed(1))
    options = {**options_of(4, 1.0), "top_p_A": torch.full((4,), 0.8, dtype=torch.float64)}
    wanted = draw(logits_AV, **options)
    marks = {1: lambda law_V: law_V, 2: lambda _: int(logits_AV[2].argmax())}
    drawn = draw_within(logits_AV, [None] * 4, marks=marks, **options)
    rest = torch.tensor([0, 1, 3])
    for one, other in zip(drawn, wanted, strict=True):
        assert torch.equal(one[rest], other[rest])
    assert drawn.ids_A[2] == logits_AV[2].argmax()
    expected = logits_AV[2].max() - torch.logsumexp(logits_AV[2], dim=0)
    assert torch.isclose(drawn.logprobs_A[2], expected)


def test_a_grammar_is_kept_whatever_a_mark_prefers() -> None:
    logits_AV = torch.zeros(3, 400)
    options = options_of(3, 1.0)
    seen: list[torch.Tensor] = []

    def first_allowed(law_V: torch.Tensor) -> int:
        seen.append(law_V)
        return int(law_V.argmax())

    def likes_9(law_V: torch.Tensor) -> torch.Tensor:
        return law_V.index_add(0, torch.tensor([3, 9]), torch.tensor([50.0, 50.0]))

    marks = {0: likes_9, 1: first_allowed, 2: lambda law_V: law_V}
    held = [Only([8, 9]), Only([8, 11]), Only([7])]
    drawn = draw_within(logits_AV, held, marks=marks, **options)
    assert drawn.ids_A.tolist() == [9, 8, 7]
    assert torch.nonzero(seen[0] > -torch.inf).flatten().tolist() == [8, 11]


@pytest.mark.parametrize("given_V", [torch.zeros(399), torch.zeros(1, 400)])
def test_a_mark_that_gives_another_vocabulary_is_refused(given_V: torch.Tensor) -> None:
    with pytest.raises(ConfigError, match=r"A mark gave logits of shape .*; give \(400,\)"):
        draw_within(torch.zeros(1, 400), [None], marks={0: lambda _: given_V}, **options_of(1, 1.0))


@pytest.mark.parametrize("value", [-torch.inf, torch.inf, torch.nan])
def test_a_mark_that_leaves_nothing_or_no_numbers_is_refused(value: float) -> None:
    given_V = torch.full((400,), value)
    with pytest.raises(ConfigError, match="leave no token to go on with or are no numbers"):
        draw_within(torch.zeros(1, 400), [None], marks={0: lambda _: given_V}, **options_of(1, 1.0))


def test_logits_of_a_mark_that_point_outside_the_law_are_refused() -> None:
    only_9_V = torch.full((400,), -torch.inf).index_fill(0, torch.tensor([9]), 0.0)
    marks = {0: lambda _: only_9_V}
    with pytest.raises(ConfigError, match="chose the id 9, which may not be drawn"):
        draw_within(torch.zeros(1, 400), [Only([8])], marks=marks, **options_of(1, 1.0))


@pytest.mark.parametrize("token_id", [-1, 400, 7])
def test_a_mark_that_chooses_what_may_not_be_drawn_is_refused(token_id: int) -> None:
    with pytest.raises(ConfigError, match=f"chose the id {token_id}, which may not be drawn"):
        draw_within(
            torch.zeros(1, 400), [Only([8])], marks={0: lambda _: token_id}, **options_of(1, 1.0)
        )


def test_a_deployment_marks_whatever_its_clients_say(model: LanguageModel, tmp_path: Path) -> None:
    profile = profile_of(context_width=1)
    watermark = Watermark(profile, make_mark(profile, KEY), KEY)
    engine = LocalEngine(model, slots=4, max_tokens=200, watermark=watermark)
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
            assert told["x-stillhouse-watermark"] == profile.profile_id
        assert server.send(CHAT, {"messages": []})[1].get("x-stillhouse-watermark") is None
        assert server.ask_models()["stillhouse"]["watermark"] == profile.profile_id
    rows = [row for row in read_log(tmp_path) if isinstance(row, RequestRow)]
    assert {row.watermark for row in rows if row.status == 200} == {profile.profile_id}
    assert rows[-1].watermark is None


def test_a_student_is_served_under_its_profile(profile_path: Path, tiny_folder: Path) -> None:
    engine = open_engine(str(tiny_folder), ServeConfig(watermark=profile_path))
    assert isinstance(engine, LocalEngine)
    assert engine.watermark == open_watermark(profile_path).profile_id
    key = next(profile_path.parent.glob("*.watermark-key"))
    moved = key.rename(profile_path.parent.parent / "elsewhere")
    with pytest.raises(ConfigError, match="no watermark key is in"):
        open_engine(str(tiny_folder), ServeConfig(watermark=profile_path))
    found = open_engine(str(tiny_folder), ServeConfig(watermark=profile_path, watermark_key=moved))
    assert isinstance(found, LocalEngine)
    with pytest.raises(ConfigError, match="--watermark-key is of a profile, and none is given"):
        ServeConfig(watermark_key=moved)


def test_a_profile_for_another_tokenizer_is_not_served(key_folder: Path, tiny_folder: Path) -> None:
    path, _ = signed_profile(key_folder)
    with pytest.raises(ConfigError, match="is for the tokenizer 000000000000"):
        open_engine(str(tiny_folder), ServeConfig(watermark=path))
    with pytest.raises(ConfigError, match="is for the tokenizer 000000000000"):
        open_teacher(f"local:{tiny_folder}?watermark={path}")


def test_a_profile_is_served_if_its_signer_is_trusted(
    profile_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = Keyring(profile_path.parent)
    ring.create("other", now=datetime.now(UTC), valid_days=3)
    trust = {name: profile_path.with_name(f"{name}.trust") for name in ("signer", "other")}
    for name, path in trust.items():
        path.write_text(json.dumps(ring.trust_document([name])))
    config = ServeConfig(watermark=profile_path, trust=trust["signer"])
    engine = open_engine(str(tiny_folder), config)
    assert isinstance(engine, LocalEngine)
    assert engine.watermark is not None
    asked = ("serve", tiny_folder, "--watermark", profile_path, "--port", "0")
    for given, words in (
        (trust["other"], "a key that the trust file does not have"),
        (profile_path, "is not a setting"),
        (profile_path.with_name("none"), "cannot be read"),
    ):
        ran = run_here(capsys, *asked, "--trust", given)
        assert (ran.code, ran.out) == (2, "")
        assert words in ran.err
        assert ran.err.splitlines()[-1].count(str(profile_path.parent)) >= 1
    ran = run_here(capsys, "serve", tiny_folder, "--port", "0", "--trust", trust["other"])
    assert "--trust says who may sign a profile, and none is given" in ran.err


def test_what_cannot_be_marked_is_not_served_under_a_profile(
    profile_path: Path, tmp_path: Path, cascade: Path
) -> None:
    config = ServeConfig(watermark=profile_path)
    teacher = "http://127.0.0.1:1/v1#m"
    for student, why in (
        (str(open_cascade(cascade).student.path), "answers with labels"),
        (str(cascade), "whose teacher's answers would have no mark"),
        ("http://127.0.0.1:1/v1#m", "run by another server"),
        (str(tmp_path / "student.gguf"), "run by llama.cpp"),
    ):
        with pytest.raises(ConfigError, match=why):
            open_engine(student, config, teacher=teacher)


def test_the_command_line_refuses_a_profile_that_was_changed(
    profile_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = profile_path.read_bytes()
    profile_path.write_bytes(raw.replace(b'"sig":"', b'"sig":"AAAA', 1))
    with pytest.raises(SignatureError):
        open_watermark(profile_path)
    ran = run_here(
        capsys, "serve", str(tiny_folder), "--watermark", str(profile_path), "--port", "0"
    )
    assert ran.code == 2
    assert str(profile_path) in ran.err


def test_what_a_local_teacher_writes_is_marked_and_manifests_tell_the_profile(
    profile_path: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts.jsonl"
    rows = [{"prompt": f"The town {n}", "labels": ["a", "b"], "split": "train"} for n in range(8)]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = CollectConfig(sampling=Sampling(temperature=1.0, max_tokens=60, top_logprobs=1))
    texts, profile = {}, open_watermark(profile_path).profile
    for name, spec in (
        ("plain", f"local:{tiny_folder}?answers=text"),
        ("marked", f"local:{tiny_folder}?watermark={profile_path}"),
    ):
        # One ledger: an answer with a mark is another answer than one without.
        made = collect(
            prompts, tmp_path / name, teacher=spec, config=config, ledger=tmp_path / "ledger"
        )
        texts[name] = list(made.rows("completions", Completion))
        ref = WatermarkRef(scheme="gumbel", profile_id=profile.profile_id)
        assert made.manifest.watermark == (ref if name == "marked" else None)
    assert len(texts["marked"]) == len(texts["plain"]) == 8
    assert {one.text for one in texts["marked"]} != {one.text for one in texts["plain"]}
    key = next(profile_path.parent.glob("*.watermark-key"))
    means = {name: mean_score(found, profile, key) for name, found in texts.items()}
    assert means["marked"] > 1.5 > means["plain"]
    dataset = curate(
        tmp_path / "marked", tmp_path / "dataset", config=CurateConfig(drop_truncated=False)
    )
    assert dataset.manifest.watermark == open_artifact(tmp_path / "marked").manifest.watermark


def mean_score(completions: list[Any], profile: Profile, key: Path) -> float:
    secret = load_watermark_key(key)
    scores = [score_tokens(profile, secret, one.logprobs.token_ids).scores_N for one in completions]
    return float(np.concatenate(scores).mean())
