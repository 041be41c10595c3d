"""What is kept of prompts: under a key, without their words, and the frame apart from the rest."""

import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traffic_cases import KEY, areas

from stillhouse.errors import ConfigError
from stillhouse.traffic import CUES, Featuriser, TrafficKey, cues_in, open_traffic_key, packed
from stillhouse.traffic._features import NO_WORD
from stillhouse.traffic._map import ContentMap, effective_number, likeness

FRAME = "You are the clerk of a large shop. Read what follows.\n\n{}\n\nAnswer in one short line."
OTHER = TrafficKey(bytes(32))
TEXTS = [text for area in areas("fit").values() for text in area.texts]


def test_prompts_in_one_frame_share_bands_and_others_do_not() -> None:
    framed = [FRAME.replace("{}", text) for text in TEXTS[:60]]
    loose = TEXTS[60:120]
    found = Featuriser(KEY).features(framed + loose)
    keys, counts = np.unique(found.frame_NB[:60, 0], return_counts=True)
    assert counts.max() > 50
    assert keys[counts.argmax()] != 0
    assert (found.frame_NB[60:] == 0).all()
    assert (found.frame_words_N[:60] >= 14).all()


def test_a_frame_is_no_part_of_the_content() -> None:
    featuriser = Featuriser(KEY)
    featuriser.features([FRAME.replace("{}", text) for text in TEXTS[:20]])
    bare, framed = TEXTS[30], FRAME.replace("{}", TEXTS[30])
    found = featuriser.features([bare, framed])
    assert (found.content_NC[0] == found.content_NC[1]).all()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(TEXTS[:40]), min_size=1, max_size=12))
def test_contents_and_cues_are_the_same_however_prompts_are_batched(texts: list[str]) -> None:
    once = Featuriser(KEY).features(texts)
    one = Featuriser(KEY)
    apart = [one.features([text]) for text in texts]
    assert once.cues_N.tolist() == [int(part.cues_N[0]) for part in apart]
    assert once.words_N.tolist() == [int(part.words_N[0]) for part in apart]


def test_another_key_gives_other_hashes_and_pseudonyms() -> None:
    one, other = Featuriser(KEY).features(TEXTS[:50]), Featuriser(OTHER).features(TEXTS[:50])
    is_word = one.content_NC != NO_WORD
    assert (one.content_NC[is_word] == other.content_NC[is_word]).mean() < 0.01
    assert KEY.account("anna") != OTHER.account("anna")
    assert KEY.account("anna") == TrafficKey(KEY.secret).account("anna")


def test_nothing_that_is_kept_holds_a_word_of_the_prompt() -> None:
    prompt = "confidential merger of northwind"
    kept = next(packed(Featuriser(KEY).features([prompt]), KEY.key_id)).model_dump_json()
    assert not any(word in kept for word in prompt.split())


@pytest.mark.parametrize(
    "text",
    ["", " \n", "\x00" * 50, "\ud800", "漢字 " * 40, "🙂" * 900, "a" * 2_000_000, "7 " * 9999],
)
def test_any_text_has_features(text: str) -> None:
    found = Featuriser(KEY).features([text])
    assert len(found) == 1
    assert int(found.words_N[0]) <= 1_400


def test_the_same_prompt_again_and_again_becomes_all_frame() -> None:
    found = Featuriser(KEY).features([TEXTS[0]] * 20)
    assert (found.content_NC == NO_WORD).all()
    assert (found.frame_NB[:, 0] != 0).all()


@pytest.mark.parametrize(
    ("text", "num"),
    [
        ("What is the capital of France?", 0),
        ("My card has not arrived, and the app shows a step that I do not know.", 0),
        ("Solve it. Think step by step.", 1),
        ("Show your reasoning for this sum.", 1),
        ("Write a rubric and grade each answer, step-by-step.", 2),
        ("Give three diverse solutions. Show the chain of thought.", 2),
        ("Articulate the internal reasoning behind the completed response.", 2),
    ],
)
def test_cues_are_counted_by_kind(text: str, num: int) -> None:
    assert cues_in(text).bit_count() == num


@pytest.mark.parametrize("number", range(len(CUES)))
def test_no_cue_is_missed_by_what_is_looked_for_first(number: int) -> None:
    cue = re.compile(list(CUES.values())[number], re.IGNORECASE)

    @settings(max_examples=150, deadline=None)
    @given(st.from_regex(cue), st.sampled_from([str, str.upper, str.title]))
    def has_it(text: str, cased: object) -> None:
        text = cased(text)  # type: ignore[operator]
        assert bool(cues_in(text) >> number & 1) == (cue.search(text) is not None)

    has_it()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(("show grade step chain by of before which do not " * 2).split())))
def test_cues_are_those_of_the_rules_one_by_one(words: list[str]) -> None:
    text = " ".join([*words, "answer", "reasoning"])
    slow = sum(
        1 << number
        for number, rule in enumerate(CUES.values())
        if re.search(rule, text, re.IGNORECASE)
    )
    assert cues_in(text) == slow


def test_letters_that_are_equal_where_case_is_ignored_are_seen() -> None:
    assert cues_in("think \u017ftep by \u017ftep") == cues_in("think step by step") == 1


@pytest.mark.parametrize("text", ["show " * 50_000, "grade answer " * 20_000, "<" * 200_000])
def test_no_text_keeps_the_rules_busy(text: str) -> None:
    began_s = time.process_time()
    cues_in(text)
    assert time.process_time() - began_s < 2.0


def test_a_map_puts_topics_together() -> None:
    some = areas("fit")
    texts = [text for area in some.values() for text in area.texts[:150]]
    content_NC = Featuriser(KEY).features(texts).content_NC
    direction_ND = ContentMap.fit(content_NC).directions(content_NC)
    own = [likeness(direction_ND[n * 150 : (n + 1) * 150]) for n in range(len(some))]
    assert min(own) > likeness(direction_ND) + 0.3


def test_effective_number_counts_equal_regions_and_ignores_none() -> None:
    spread = np.tile(np.arange(10, dtype=np.int16), 400)
    assert effective_number(spread) == pytest.approx(10, rel=0.01)
    assert effective_number(np.full(50, 3, np.int16)) == 1.0
    assert effective_number(np.array([-1, -1, 4], np.int16)) == 1.0
    assert likeness(np.zeros((5, 32), np.float32)) == 0.0


def test_a_key_is_made_once_and_must_be_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    key = open_traffic_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert open_traffic_key(path) == key
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        open_traffic_key(path)
    path.chmod(0o600)
    path.write_text(path.read_text()[:40])
    with pytest.raises(ConfigError, match="cut off"):
        open_traffic_key(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(ConfigError, match="symbolic link"):
        open_traffic_key(tmp_path / "link")
    assert key.secret.hex() not in repr(key)
