"""The parts of the benchmark of protection that judge: marked texts, halves of a corpus, tables."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks._parts.goals import rows
from benchmarks._parts.pages import PAGE, with_tables
from benchmarks._parts.results import read
from benchmarks._protect import drift, tails
from benchmarks._protect.corpus import LENGTH, read_corpus
from benchmarks._protect.marked import VOCABULARY, edited, marked_texts, profile_of
from benchmarks._protect.options import RESULTS, Options
from benchmarks._protect.tables import GOALS, tables

from stillhouse.watermark import decoy_key, detect_many, drawn_scores, score_tokens, zipf_law


class Words:
    """A tokenizer whose ids are the lengths of words."""

    sha256 = "0" * 64

    def ids(self, texts: list[str]) -> list[list[int]]:
        return [[len(word) for word in text.split()] for text in texts]


def test_texts_are_marked_as_the_scheme_marks_them() -> None:
    key = decoy_key(0)
    profile = profile_of(key, 2)
    ids = marked_texts(40, 60, 1.5, key, profile, np.random.default_rng(0))
    scores = np.concatenate([score_tokens(profile, key, row).scores_N for row in ids])
    law = drawn_scores(profile, zipf_law(1.5, VOCABULARY), 50_000, np.random.default_rng(1))
    # 2,300 scores, some of contexts that came before and are not marked.
    assert scores.mean() == pytest.approx(law.mean(), rel=0.08)
    assert all(one.is_marked(1e-3) for one in detect_many(list(ids), profile, key))
    other = decoy_key(1)
    unmarked = detect_many(list(ids), profile_of(other, 2), other)
    assert sum(one.is_marked(0.01) for one in unmarked) <= 4


def test_the_share_of_tokens_that_is_asked_for_is_replaced() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(0, VOCABULARY, size=(50, 200))
    assert (edited(ids, 0.2, rng) != ids).mean() == pytest.approx(0.2, abs=0.02)
    assert (edited(ids, 0.0, rng) == ids).all()


def test_halves_of_a_corpus_share_no_work(tmp_path: Path) -> None:
    text = tmp_path / "prose_gutenberg" / "text"
    text.mkdir(parents=True)
    names = [f"{number}.txt" for number in range(30)]
    (tmp_path / "prose_gutenberg" / "index.csv").write_text("\n".join(["file", *names]))
    for number, name in enumerate(names):
        (text / name).write_text(" ".join(["x" * (number + 1)] * (2 * LENGTH + 7)))
    for folder in ("digitalgov_news", "gsm8k", "pubmedqa_l", "scitldr"):
        (tmp_path / folder).mkdir()
        row = {"document": "a b", "question": "c", "answer": "d"}
        (tmp_path / folder / "train.jsonl").write_text(json.dumps(row) + "\n")
    options = Options(data=tmp_path)
    corpus = read_corpus(options, Words())  # type: ignore[arg-type]
    tested = {int(ids[0]) for ids in corpus.tested}
    reference = {int(ids[0]) for ids in corpus.reference}
    assert tested
    assert reference
    assert not tested & reference
    assert len(tested | reference) == 30
    assert len(corpus.tested) == 2 * len(tested)
    assert corpus.sources["prose_gutenberg"] == (2 * len(tested), 2 * len(reference))


def test_the_truth_of_tails_is_that_of_one_gamma_law_where_weights_are_nearly_the_same() -> None:
    from stillhouse.statistics import log_gamma_tail

    truth = tails._truth(150.0, 1.0, 1 - 1e-9, 50, 50)
    assert truth == pytest.approx(log_gamma_tail([150.0], [100])[0], abs=1e-5)


def test_sums_of_a_text_count_its_distinct_runs_of_tokens() -> None:
    logprobs = np.array([-1.0, -2.0, -0.5, -0.5], dtype=np.float32)
    assert drift.sums_of([5, 6, 5, 6], logprobs, True) == [4, 4, 1, True, 2, 2, 2, 4, 3, 2]
    assert drift.sums_of([5], logprobs[:1], False) == [1, 1, 1, False, 1, 0, 0, 1, 0, 0]


def test_changes_are_of_all_texts_together_and_their_intervals_cover_what_is_true() -> None:
    rng = np.random.default_rng(0)

    def texts(mean: float, nats: float) -> np.ndarray:
        rows = []
        for tokens in rng.poisson(mean, 600) + 3:
            logprobs = -rng.exponential(nats, tokens)
            rows.append(drift.sums_of(rng.integers(0, 9, tokens).tolist(), logprobs, tokens > 40))
        return np.array(rows, dtype=np.float64)

    plain, same, other = texts(37, 2.0), texts(37, 2.0), texts(57, 2.5)
    found = drift.changes(plain, same)
    for name, one in found.items():
        low, high = one["interval"]
        assert low < one["change"] < high, name
        assert abs(one["change"]) < 0.8 * (high - low), name  # three standard errors
    found = drift.changes(plain, other)
    assert found["tokens"]["change"] == pytest.approx(0.5, abs=0.03)
    assert found["nats_per_token"]["change"] == pytest.approx(0.25, abs=0.03)
    assert found["tokens"]["interval"][0] > 0.4
    assert found["cut_share"]["change"] == pytest.approx(0.5, abs=0.15)  # points, not a ratio
    assert found["distinct_1"]["change"] < -0.2


def test_few_texts_say_nothing_of_goals() -> None:
    power = {"texts": 10, "by_length": {"2": {"50": {"found": 1.0}}}}
    found = {row.goal.words: row for row in rows({"power": power}, GOALS)}
    words = "found of 50 marked tokens, 2 nats"
    assert found[words].value is None
    found = {row.goal.words: row for row in rows({"power": power | {"texts": 500}}, GOALS)}
    assert found[words].cells[2:] == ("100 %", "yes")


def test_the_page_shows_what_the_results_hold() -> None:
    page = PAGE.read_text()
    assert with_tables(page, "protect", tables(read(RESULTS))) == page, (
        "run: python benchmarks/protect.py --table"
    )
