"""The public test of texts: what it tells, and what it does not."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import small_models
from detection_cases import KEY
from serve_cases import RunningServer

from stillhouse.chat import PlainTextTokenizer
from stillhouse.errors import ConfigError
from stillhouse.models import LanguageModel
from stillhouse.serve import RefusedError, ServeConfig, open_engine
from stillhouse.serve._detection import Detector
from stillhouse.serve._local import LocalEngine
from stillhouse.signing import create_key, load_private_key
from stillhouse.watermark import Profile, detect, make_key, write_profile

DETECT = "/v1/watermark/detect"
WORDS = ("ferry", "bridge", "council", "river", "harbour", "winter", "market", "the", "of", "a")
WORDS += ("was", "opened", "in", "new", "old")


class Marked(NamedTuple):
    profile: Profile
    tokenizer: PlainTextTokenizer
    text: str


@pytest.fixture(scope="module")
def marked(tiny_folder: Path) -> Marked:
    """A text whose words were chosen by the key."""
    tokenizer = PlainTextTokenizer(tiny_folder)
    profile = Profile(
        scheme="gumbel", context_width=2, tokenizer_sha256=tokenizer.sha256, key_id=KEY.key_id
    )
    text = "The"
    for _ in range(40):
        tried = [f"{text} {word}" for word in WORDS]
        text = max(
            tried, key=lambda one: detect(tokenizer.ids([one])[0], profile, KEY, once="pair").excess
        )
    return Marked(profile, tokenizer, text)


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return small_models.make(small_models.llama(), tiny_folder)


def engine_of(model: LanguageModel, marked: Marked, *, per_minute: int) -> LocalEngine:
    engine = LocalEngine(model, slots=2, max_tokens=20)
    engine.detector = Detector(marked.profile, KEY, marked.tokenizer, per_minute=per_minute)
    return engine


def test_a_p_value_is_a_power_of_ten_and_not_below_the_floor(
    model: LanguageModel, marked: Marked
) -> None:
    exact = detect(marked.tokenizer.ids([marked.text])[0], marked.profile, KEY)
    assert exact.log10_p < -7
    with RunningServer(engine_of(model, marked, per_minute=100)) as server:
        told = server.ask(DETECT, text=marked.text)
        assert told == {
            "object": "watermark.detection",
            "profile_id": marked.profile.profile_id,
            "p_value_at_most": 1e-6,
        }
        for text in ("", "The", "An ordinary sentence about the weather and nothing else at all."):
            found = detect(marked.tokenizer.ids([text])[0], marked.profile, KEY)
            p_value = server.ask(DETECT, text=text)["p_value_at_most"]
            assert p_value in (1.0, 0.1, 0.01)
            assert p_value >= found.p_value > p_value / 10


def test_each_key_has_its_own_tries(model: LanguageModel, marked: Marked) -> None:
    engine = engine_of(model, marked, per_minute=2)
    with RunningServer(engine, keys=("first", "second")) as server:
        first, second = ({"x-api-key": key} for key in ("first", "second"))
        for _ in range(2):
            assert server.send(DETECT, {"text": "a"}, headers=first)[0] == 200
        status, headers, body = server.send(DETECT, {"text": "a"}, headers=first)
        assert status == 429
        assert 1 <= int(headers["retry-after"]) <= 60
        assert "2 texts a minute" in json.loads(body)["error"]["message"]
        assert server.send(DETECT, {"text": "a"}, headers=second)[0] == 200
        assert server.send(DETECT, {"text": "a"})[0] == 401


def test_tries_come_back_after_a_minute(marked: Marked) -> None:
    now = [0.0]
    detector = Detector(marked.profile, KEY, marked.tokenizer, per_minute=2, clock=lambda: now[0])
    detector.admit("a")
    now[0] = 30.0
    detector.admit("a")
    with pytest.raises(RefusedError, match="again in 30 s"):
        detector.admit("a")
    now[0] = 60.0
    detector.admit("a")
    with pytest.raises(RefusedError, match="again in 30 s"):
        detector.admit("a")


def test_nothing_is_tested_where_that_was_not_asked_for(model: LanguageModel) -> None:
    with RunningServer(LocalEngine(model, slots=2, max_tokens=20)) as server:
        status, _, body = server.send(DETECT, {"text": "a"})
        assert status == 404
        assert "--detect" in json.loads(body)["error"]["message"]


@pytest.mark.parametrize("fields", [{}, {"text": None}, {"text": 5}, {"text": ["a"]}])
def test_what_is_no_text_is_refused(
    model: LanguageModel, marked: Marked, fields: dict[str, object]
) -> None:
    with RunningServer(engine_of(model, marked, per_minute=100)) as server:
        status, _, body = server.send(DETECT, fields)
        assert status == 400
        assert "text" in json.loads(body)["error"]["message"]


def test_a_server_opens_with_what_its_profile_says(
    tmp_path: Path, tiny_folder: Path, marked: Marked
) -> None:
    now, until = datetime.now(UTC), datetime.now(UTC) + timedelta(days=9)
    create_key(tmp_path / "s.key", name="s", valid_from=now, valid_until=until, now=now)
    key = make_key("mine", tmp_path)
    profile = marked.profile.model_copy(update={"key_id": key.key_id})
    write_profile(tmp_path / "p.json", profile, load_private_key(tmp_path / "s.key"), now=now)
    config = ServeConfig(
        port=0,
        watermark=tmp_path / "p.json",
        watermark_key=tmp_path / "mine.watermark-key",
        detections_per_minute=3,
    )
    engine = open_engine(str(tiny_folder), config)
    with RunningServer(engine) as server:
        assert server.ask(DETECT, text="a")["profile_id"] == profile.profile_id


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"detections_per_minute": 3}, "Give --watermark"),
        ({"detections_per_minute": 0, "watermark": Path("p.json")}, "at least 1"),
    ],
)
def test_tests_without_a_mark_or_a_number_are_refused(
    settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        ServeConfig(**settings)  # type: ignore[arg-type]
