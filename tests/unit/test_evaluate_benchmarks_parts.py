"""What benchmarks are made of: texts to tokens, scores of continuations, stops, comparisons."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import other_tokenizer
import pytest
import torch

from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.evaluate._benchmarks import read_benchmark_results
from stillhouse.evaluate._benchmarks._compare import (
    Question,
    Scores,
    benchmark_result,
    verdict_sentence,
)
from stillhouse.evaluate._benchmarks._requests import (
    TextEncoder,
    fitted,
    generation_job,
    stops_of,
)
from stillhouse.evaluate._benchmarks._results import BenchmarkResult, BenchmarkRow
from stillhouse.evaluate._benchmarks._rows import MetricFacts, paired_scores, rows_of_task
from stillhouse.evaluate._benchmarks._scoring import score_continuations
from stillhouse.evaluate._benchmarks._until import UntilGrammar, cut_at
from stillhouse.models import GenerationJob, LanguageModel, generate, load_model
from stillhouse.statistics import compare_paired, compare_paired_binary, wilson_interval

QUESTION = Question(margin=0.02, seed=0)
NAMES = ("student", "base")


@pytest.fixture(scope="module")
def model(tiny_folder: Path) -> LanguageModel:
    return load_model(tiny_folder)


@pytest.fixture(scope="module")
def encoder(model: LanguageModel) -> TextEncoder:
    return TextEncoder(model.chat)


# Texts to tokens


def test_a_context_and_its_continuation_are_tokenised_as_one_text(encoder: TextEncoder) -> None:
    example = encoder.pair("The town opened", " a bridge")
    assert example.ids == encoder.ids("The town opened a bridge")
    assert example.ids[: example.num_prompt] == encoder.ids("The town opened")


def test_white_space_before_a_continuation_is_part_of_it(encoder: TextEncoder) -> None:
    assert encoder.pair("The town  ", "bridge") == encoder.pair("The town", "  bridge")


def test_a_text_without_context_stands_behind_the_beginning_of_text(encoder: TextEncoder) -> None:
    example = encoder.pair("", "bridge")
    assert example.num_prompt == 1
    assert example.ids == (encoder.prefix_id, *encoder.ids("bridge"))


def test_a_continuation_without_a_token_is_refused(encoder: TextEncoder) -> None:
    for context in ("The town", ""):
        with pytest.raises(DataError, match="no token of its own"):
            encoder.pair(context, "")


def test_a_tokenizer_that_begins_texts_itself_is_heard(model: LanguageModel) -> None:
    chat = other_tokenizer.other_chat()
    assert TextEncoder(chat).ids("the Town")[0] != 2  # this one writes none
    backend = chat.tokenizer.backend_tokenizer
    from tokenizers.processors import TemplateProcessing

    backend.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    encoder = TextEncoder(chat)
    assert encoder.ids("the Town") == (2, *encoder.ids("the Town", is_start=False))
    assert encoder.ids("<bos>the Town").count(2) == 1  # a chat template may have written it
    assert encoder.pair("the Town", " Bridge").ids[0] == 2


def test_what_is_longer_than_the_context_loses_its_beginning() -> None:
    example = EncodedExample(tuple(range(10)), 7)
    assert fitted(example, 9) == example  # the last token is predicted and not read
    assert fitted(example, 8) == EncodedExample(tuple(range(1, 10)), 6)
    assert fitted(example, 3) == EncodedExample((6, 7, 8, 9), 1)
    with pytest.raises(DataError, match="continuation of 3 tokens; the model reads 2"):
        fitted(example, 2)


# Scores of continuations


@torch.inference_mode()
def alone(model: LanguageModel, example: EncodedExample) -> tuple[float, bool]:
    """One continuation, one row, all logits."""
    logits_TV = model.network(input_ids=torch.tensor([example.ids[:-1]])).logits[0].double()
    logprobs_TV = torch.log_softmax(logits_TV, dim=1)
    targets = example.ids[example.num_prompt :]
    rows = logprobs_TV[example.num_prompt - 1 :]
    total = sum(float(row[token]) for row, token in zip(rows, targets, strict=True))
    return total, all(int(row.argmax()) == token for row, token in zip(rows, targets, strict=True))


def test_continuations_score_as_they_do_alone(model: LanguageModel, encoder: TextEncoder) -> None:
    contexts = ["The town of Aston opened", "A bakery won", "The town of Aston opened a bridge and"]
    ends = [" a bridge", " a prize for its bread", " it", " Monday"]
    examples = [encoder.pair(*pair) for pair in itertools.product(contexts, ends)]
    found = score_continuations(model, examples)
    for one, example in zip(found, examples, strict=True):
        nats, is_greedy = alone(model, example)
        assert one.logprob_nats == pytest.approx(nats, abs=1e-4)
        assert one.is_greedy == is_greedy


def test_a_continuation_that_the_model_would_write_is_greedy(model: LanguageModel) -> None:
    prompt = tuple(range(20, 30))
    job = GenerationJob(key="one", prompt_ids=prompt, max_tokens=5)
    ((item,),) = generate(model, feed([job]))
    written = (*prompt, *item.ids.tolist())
    other = (*written[:-1], (written[-1] + 1) % 300)
    found = score_continuations(model, [EncodedExample(ids, 10) for ids in (written, other)])
    assert [one.is_greedy for one in found] == [True, False]


def test_many_continuations_are_scored_in_several_passes(model: LanguageModel) -> None:
    rng = np.random.default_rng(0)
    examples = [
        EncodedExample(tuple(rng.integers(3, 300, 200 + index % 40).tolist()), 150)
        for index in range(60)
    ]
    counts: list[int] = []
    found = score_continuations(model, examples, counts.append)
    assert sum(counts) == 60
    assert len(counts) > 1
    for index in (0, 31, 59):
        nats, _ = alone(model, examples[index])
        assert found[index].logprob_nats == pytest.approx(nats, rel=1e-5)
    assert score_continuations(model, []) == []


def test_damaged_weights_give_an_error_and_no_score(tiny_folder: Path) -> None:
    model = load_model(tiny_folder)
    with torch.no_grad():
        model.network.get_decoder().norm.weight[0] = torch.nan
    with pytest.raises(IntegrityError, match="NaN"):
        score_continuations(model, [EncodedExample((5, 6, 7), 2)])


# Generation up to a stop


def feed(todo: Sequence[GenerationJob]) -> Callable[[int], list[GenerationJob]]:
    queue = iter(todo)
    return lambda limit: list(itertools.islice(queue, limit))


def completions(model: LanguageModel, jobs: Sequence[GenerationJob]) -> dict[str, tuple[str, int]]:
    return {
        item.key: (model.chat.decode_completion(item.ids.tolist())[0], len(item.ids))
        for group in generate(model, feed(jobs), num_ids=len(model.chat.text_bytes))
        for item in group
    }


def test_a_stop_ends_a_completion_where_cutting_would(model: LanguageModel) -> None:
    free = [
        GenerationJob(
            key=str(seed), prompt_ids=(5, 6, 7, 8 + seed), max_tokens=60, temperature=1.0, seed=seed
        )
        for seed in range(30)
    ]
    stops = ["e", "to"]
    grammar = UntilGrammar(model.chat, stops)
    stopped = completions(model, [dataclasses.replace(job, grammar=grammar) for job in free])
    whole = completions(model, free)
    assert sum(stopped[key][1] < whole[key][1] for key in whole) > 20  # less is generated
    for key, (text, _) in whole.items():
        assert cut_at(stopped[key][0], stops) == cut_at(text, stops)


def test_a_stop_that_is_spread_over_tokens_is_seen(model: LanguageModel) -> None:
    chat = model.chat
    constraint = UntilGrammar(chat, ["zq\nx"]).begin()
    for character in "azq\nx":
        assert constraint.allowed_V().all()
        ((token_id,),) = chat.encode_pieces([character])
        constraint.advance(token_id)
    assert np.flatnonzero(constraint.allowed_V()).tolist() == list(chat.end_of_turn_ids)


def test_text_is_cut_at_the_first_of_its_stops() -> None:
    assert cut_at("one two three", ["three", "two"]) == "one "
    assert cut_at("one", ["two"]) == "one"
    assert cut_at("one", []) == "one"
    assert stops_of({"until": "\n"}) == ("\n",)
    assert stops_of({"until": ["\n", ""]}) == ("\n",)
    assert stops_of({}) == ()


def job_of(model: LanguageModel, context: str, **settings: Any) -> tuple[GenerationJob, bool]:
    return generation_job(
        TextEncoder(model.chat), model.chat, "k", context, settings, context_tokens=64, seed=3
    )


def test_a_request_becomes_the_job_that_it_asks_for(model: LanguageModel) -> None:
    job, is_cut = job_of(
        model, "The town", until=["\n"], max_gen_toks=9, do_sample=True, temperature=0.5
    )
    assert (job.max_tokens, job.temperature, job.seed, is_cut) == (9, 0.5, 3, False)
    assert job.grammar is not None
    greedy, _ = job_of(model, "The town", max_gen_toks=9, do_sample=False, temperature=0.5)
    assert greedy.temperature == 0.0
    assert greedy.grammar is None
    assert job_of(model, "", max_gen_toks=9)[0].prompt_ids == (1,)


def test_a_prompt_that_leaves_no_room_loses_its_beginning(model: LanguageModel) -> None:
    long = " ".join(["town"] * 60)
    job, is_cut = job_of(model, long, max_gen_toks=40)
    assert is_cut
    assert job.prompt_ids == TextEncoder(model.chat).ids(long)[-24:]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 4}, "num_beams=4"),
        ({"typical_p": 0.2}, "typical_p=0.2"),
        ({"max_gen_toks": 64}, "64 generated tokens"),
        ({"max_gen_toks": 0}, "0 generated tokens"),
        ({}, "256 generated tokens"),
    ],
)
def test_ways_of_generating_that_we_have_not_are_refused(
    settings: dict[str, Any], message: str, model: LanguageModel
) -> None:
    with pytest.raises(ConfigError, match=message):
        job_of(model, "The town", **settings)
    job_of(model, "The town", num_beams=1, top_k=None, max_gen_toks=5)


# Rows


def sample(item: int, *, filter_name: str = "none", **metrics: Any) -> dict[str, Any]:
    return {
        "doc_id": item,
        "doc": {"text": f"text {item}", "page": item // 2},
        "doc_hash": f"hash {item}",
        "target": item % 2,
        "filter": filter_name,
        "filtered_resps": [[-1.5, False], [-2.0, True]],
        "metrics": list(metrics),
        **metrics,
    }


def test_each_metric_of_an_item_is_a_row() -> None:
    rows, not_scored = rows_of_task(
        "quiz",
        [sample(0, acc=1.0, f1=np.float64(0.5)), sample(1, acc=False, f1=0)],
        model="student",
        cluster_column="page",
    )
    assert not_scored == set()
    found = [(row.item, row.metric, row.score, row.group, row.target) for row in rows]
    assert found == [
        (0, "acc", 1.0, "0", "0"),
        (0, "f1", 0.5, "0", "0"),
        (1, "acc", 0.0, "0", "1"),
        (1, "f1", 0.0, "0", "1"),
    ]
    assert json.loads(rows[0].answer) == [[-1.5, False], [-2.0, True]]


def test_what_is_no_score_of_single_items_is_named_and_no_row() -> None:
    samples = [
        sample(0, acc=1.0, word_perplexity=(-3.0, 7), odd=1.0),
        sample(1, acc=1.0, word_perplexity=(-2.0, 4), odd=float("nan")),
    ]
    rows, not_scored = rows_of_task("quiz", samples, model="student", cluster_column=None)
    assert not_scored == {"word_perplexity", "odd"}
    assert [row.metric for row in rows] == ["acc", "acc"]


def test_a_column_of_clusters_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="columns page, text"):
        rows_of_task("quiz", [sample(0, acc=1.0)], model="student", cluster_column="passage")


FACTS = MetricFacts(
    task="quiz",
    version="1",
    metric="acc",
    filter="none",
    is_main=True,
    is_higher_better=True,
    num_fewshot=0,
)


def rows(*items: int, model: str = "student", scores: Sequence[float] = ()) -> list[BenchmarkRow]:
    found, _ = rows_of_task(
        "quiz",
        [
            sample(item, acc=score)
            for item, score in itertools.zip_longest(items, scores, fillvalue=1.0)
        ],
        model=model,
        cluster_column=None,
    )
    return found


def test_scores_of_two_models_meet_item_by_item() -> None:
    ours, theirs = rows(0, 1, 2, scores=[1, 0, 1]), rows(2, 0, 1, scores=[0, 1, 1])
    scores = paired_scores(FACTS, ours, theirs)
    assert scores.student_N.tolist() == [1, 0, 1]
    assert scores.base_N is not None
    assert scores.base_N.tolist() == [1, 1, 0]
    assert paired_scores(FACTS, ours, None).base_N is None


def test_models_that_were_asked_different_items_are_not_compared() -> None:
    with pytest.raises(DataError, match="different items of quiz"):
        paired_scores(FACTS, rows(0, 1), rows(0, 2))
    with pytest.raises(DataError, match="different items of quiz"):
        paired_scores(FACTS, rows(0, 1), rows(0))


# Comparison and verdict


def scores_of(student: Any, base: Any = None, **changes: Any) -> Scores:
    facts = FACTS.model_dump()
    return Scores(
        **{**facts, **changes},
        student_N=np.asarray(student, dtype=float),
        base_N=None if base is None else np.asarray(base, dtype=float),
    )


def right_or_wrong(n: int, lost: int, won: int) -> tuple[list[int], list[int]]:
    """Scores of student and base that differ on `lost` and `won` items, else right."""
    student = [0] * lost + [1] * (n - lost)
    base = [1] * lost + [0] * won + [1] * (n - lost - won)
    return student, base


def test_right_and_wrong_are_judged_by_the_exact_paired_methods() -> None:
    student, base = right_or_wrong(400, lost=3, won=5)
    result = benchmark_result(scores_of(student, base), QUESTION, names=NAMES)
    wanted = compare_paired_binary(student, base, margin=0.02)
    assert result.comparison is not None
    assert result.comparison.verdict == wanted.verdict == "non_inferior"
    assert result.comparison.difference.low == wanted.difference.low
    assert result.comparison.p_non_inferior == wanted.p_non_inferior
    interval = wilson_interval(397, 400)
    assert (result.student.value, result.student.low) == (interval.value, interval.low)
    assert result.student.n == 400


@pytest.mark.parametrize(
    ("lost", "won", "n", "verdict"),
    [
        (60, 2, 400, "worse"),
        (2, 60, 400, "better"),
        (3, 5, 400, "non_inferior"),
        (3, 2, 30, "inconclusive"),
    ],
)
def test_each_verdict_can_be_reached(lost: int, won: int, n: int, verdict: str) -> None:
    result = benchmark_result(scores_of(*right_or_wrong(n, lost, won)), QUESTION, names=NAMES)
    assert result.comparison is not None
    assert result.comparison.verdict == verdict


def test_graded_scores_are_judged_by_the_paired_bootstrap() -> None:
    rng = np.random.default_rng(4)
    base = rng.random(80)
    student = np.clip(base + rng.normal(0, 0.03, 80), 0, 1)
    result = benchmark_result(scores_of(student, base), QUESTION, names=NAMES)
    wanted = compare_paired(student, base, margin=0.02)
    assert result.comparison is not None
    assert result.comparison.difference.low == pytest.approx(wanted.difference.low)
    assert result.comparison.discordance is None


def test_a_loss_is_turned_so_that_more_is_better() -> None:
    rng = np.random.default_rng(5)
    base = rng.random(200) + 2
    student = base - 0.5 + rng.normal(0, 0.1, 200)  # a lower loss
    result = benchmark_result(
        scores_of(student, base, is_higher_better=False), QUESTION, names=NAMES
    )
    assert result.comparison is not None
    assert result.comparison.verdict == "better"
    assert result.comparison.difference.value == pytest.approx(0.5, abs=0.05)
    assert result.student.value == pytest.approx(student.mean())


def test_items_that_hang_together_count_as_one() -> None:
    student, base = right_or_wrong(400, lost=12, won=10)
    groups = tuple(str(index // 20) for index in range(400))
    together = benchmark_result(
        dataclasses.replace(scores_of(student, base), groups=groups), QUESTION, names=NAMES
    )
    apart = benchmark_result(scores_of(student, base), QUESTION, names=NAMES)
    assert together.student.num_clusters == 20
    assert together.comparison is not None
    assert apart.comparison is not None
    assert together.comparison.difference.num_clusters == 20
    width = together.comparison.difference.high - together.comparison.difference.low
    assert width > apart.comparison.difference.high - apart.comparison.difference.low


def test_too_few_items_give_a_note_or_an_error_and_no_number() -> None:
    result = benchmark_result(scores_of([0.5, 0.2, 0.3], [0.5, 0.1, 0.4]), QUESTION, names=NAMES)
    assert result.comparison is None
    assert "too few" in result.note
    with pytest.raises(DataError):
        benchmark_result(scores_of([0.5]), QUESTION, names=NAMES)
    with pytest.raises((DataError, ConfigError)):
        benchmark_result(scores_of([]), QUESTION, names=NAMES)


def judged(task: str, lost: int, won: int, n: int, *, is_main: bool = True) -> BenchmarkResult:
    return benchmark_result(
        scores_of(*right_or_wrong(n, lost, won), task=task, is_main=is_main), QUESTION, names=NAMES
    )


def test_the_sentence_says_the_worst_that_was_found() -> None:
    good, lost = judged("quiz", 3, 5, 400), judged("maths", 60, 2, 400)
    unclear = judged("small", 3, 2, 30)
    assert verdict_sentence([good], names=NAMES) == (
        "student forgot no more than 2 points against base on any of 1 task."
    )
    both = verdict_sentence([good, judged("maths", 2, 60, 400)], names=NAMES)
    assert both.endswith("on any of 2 tasks, and is better on 1.")
    assert verdict_sentence([good, lost, unclear], names=NAMES).startswith(
        "student forgot on maths, 1 of 3 tasks: student is worse than base ("
    )
    assert verdict_sentence([good, unclear], names=NAMES).startswith(
        "What student forgot is open on small, 1 of 2 tasks: It is open whether"
    )
    ignored = judged("maths", 60, 2, 400, is_main=False)
    assert "no more than 2 points" in verdict_sentence([good, ignored], names=NAMES)


def test_a_task_that_cannot_be_compared_leaves_the_verdict_open() -> None:
    few = benchmark_result(
        scores_of([0.5, 0.2, 0.3], [0.5, 0.1, 0.4], task="few"), QUESTION, names=NAMES
    )
    sentence = verdict_sentence([judged("quiz", 3, 5, 400), few], names=NAMES)
    assert sentence.startswith("What student forgot is open on few, 1 of 2 tasks: 3 clusters")


def test_without_a_base_the_sentence_gives_figures() -> None:
    result = benchmark_result(scores_of([1, 0, 1, 1]), QUESTION, names=NAMES[:1])
    assert verdict_sentence([result], names=NAMES[:1]).startswith("student: quiz acc 0.75 [0.3")


@pytest.mark.parametrize("text", ["", "{", "{}", '{"schema_version": 2}', "[]"])
def test_damaged_results_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    with pytest.raises(IntegrityError, match="run them again"):
        read_benchmark_results(path)
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_benchmark_results(tmp_path / "none.json")
