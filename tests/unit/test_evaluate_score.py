"""Scores against the teacher, by hand: dense float64 distributions, token by token."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_chain import FIXED_TEXTS
from tiny_model import make_tiny_model

from stillhouse.chat import EncodedExample
from stillhouse.errors import VocabularyMismatchError
from stillhouse.evaluate._config import EvaluateConfig
from stillhouse.evaluate._estimates import Estimator, Measured
from stillhouse.evaluate._results import Estimate, ModelRole
from stillhouse.evaluate._score import TeacherScorer, TokenScores
from stillhouse.evaluate._speed import measure_speed
from stillhouse.models import LanguageModel, keep_layers, load_model
from stillhouse.records import Message

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def teacher(tiny_folder: Path) -> LanguageModel:
    return load_model(tiny_folder)


@pytest.fixture(scope="module")
def student(teacher: LanguageModel) -> LanguageModel:
    return keep_layers(teacher, [0, 3], name="student")


@pytest.fixture(scope="module")
def examples(teacher: LanguageModel) -> list[EncodedExample]:
    return [
        teacher.chat.encode_example([Message(role="user", content=prompt)], completion)
        for prompt, completion in FIXED_TEXTS
    ]


@dataclass(frozen=True)
class Naive:
    """Sums over one example, in float64 over the whole vocabulary."""

    kl: float
    top1: int
    nll: float
    kl_by_position: list[float]


def naive(teacher: LanguageModel, student: LanguageModel, example: EncodedExample) -> Naive:
    ids = torch.tensor([example.ids])
    with torch.no_grad():
        p_TV, q_TV = (
            model.network(input_ids=ids).logits[0].double().softmax(dim=1)
            for model in (teacher, student)
        )
    kl_by_position, top1, nll = [], 0, 0.0
    for position in range(example.num_prompt, len(example.ids)):
        p_V, q_V = p_TV[position - 1], q_TV[position - 1]
        kl_by_position.append(
            sum(float(p * torch.log(p / q)) for p, q in zip(p_V, q_V, strict=True))
        )
        top1 += int(p_V.argmax() == q_V.argmax())
        nll -= float(torch.log(q_V[example.ids[position]]))
    return Naive(sum(kl_by_position), top1, nll, kl_by_position)


def test_sums_of_two_prompts_are_those_of_the_dense_computation(
    teacher: LanguageModel, student: LanguageModel, examples: list[EncodedExample]
) -> None:
    two = [examples[2], examples[0]]  # the longer completion first: scoring sorts by length
    scores = TeacherScorer(teacher, two).score(student)
    by_hand = [naive(teacher, student, example) for example in two]
    assert scores.tokens_P.tolist() == [len(example.completion_ids) for example in two]
    for values_N, expected in (
        (scores.forward_kl_N, [one.kl for one in by_hand]),
        (scores.nll_N, [one.nll for one in by_hand]),
        (scores.top1_N, [one.top1 for one in by_hand]),
    ):
        assert scores.per_prompt(values_N).tolist() == pytest.approx(expected, abs=1e-4)
    for prompt, one in enumerate(by_hand):
        at = scores.prompt_N == prompt
        assert scores.position_N[at].tolist() == list(range(len(one.kl_by_position)))
        assert scores.forward_kl_N[at].tolist() == pytest.approx(one.kl_by_position, abs=1e-5)


def test_the_teacher_is_at_no_distance_from_itself(
    teacher: LanguageModel, examples: list[EncodedExample]
) -> None:
    scorer = TeacherScorer(teacher, examples)
    for model in (teacher, keep_layers(teacher, [0, 1, 2, 3], name="copy")):
        scores = scorer.score(model)
        assert scores.forward_kl_N.max() <= 1e-6
        assert scores.top1_N.min() == 1.0
    assert not np.any(scorer.score(teacher).forward_kl_N)


def test_scores_do_not_depend_on_which_prompts_share_a_batch(
    teacher: LanguageModel, student: LanguageModel, examples: list[EncodedExample]
) -> None:
    many = examples * 12  # about 2,800 padded tokens: more than one batch
    scores = TeacherScorer(teacher, many).score(student)
    alone = TeacherScorer(teacher, examples).score(student)
    per_prompt = scores.per_prompt(scores.forward_kl_N).reshape(12, len(examples))
    expected = alone.per_prompt(alone.forward_kl_N)
    np.testing.assert_allclose(per_prompt, np.tile(expected, (12, 1)), atol=1e-4)


def test_a_student_that_reads_other_tokens_is_refused(
    teacher: LanguageModel, examples: list[EncodedExample], tmp_path: Path
) -> None:
    folder = make_tiny_model(tmp_path / "other")
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("assistant", "helper"))
    other = load_model(folder)
    with pytest.raises(VocabularyMismatchError, match=r"other has another .*chat template"):
        TeacherScorer(teacher, examples).score(other)


def measured(
    name: str,
    role: ModelRole,
    model: LanguageModel,
    scores: TokenScores,
    texts: list[str | None] | None = None,
) -> Measured:
    texts = texts or ["A text."] * len(scores.tokens_P)
    return Measured(name, role, None, None, model, scores, texts, 0, None)


@pytest.fixture(scope="module")
def many(examples: list[EncodedExample]) -> list[EncodedExample]:
    return [examples[number % len(examples)] for number in range(24)]


@pytest.fixture(scope="module")
def estimator() -> Estimator:
    clusters = [f"g{number // 2}" for number in range(24)]
    return Estimator(clusters, EvaluateConfig(num_resamples=400, max_position=6))


def holds(estimate: Estimate | None, value: float) -> bool:
    assert estimate is not None
    assert estimate.value == pytest.approx(value, rel=1e-6)
    return estimate.low <= value <= estimate.high


def test_estimates_are_per_token_and_inside_their_intervals(
    teacher: LanguageModel,
    student: LanguageModel,
    many: list[EncodedExample],
    estimator: Estimator,
) -> None:
    scores = TeacherScorer(teacher, many).score(student)
    result = estimator.model_result(measured("student", "student", student, scores))
    num_tokens = len(scores.prompt_N)
    assert holds(result.forward_kl_nats, scores.forward_kl_N.sum() / num_tokens)
    assert holds(result.top1_agreement, scores.top1_N.sum() / num_tokens)
    perplexity = float(np.exp(scores.nll_N.sum() / num_tokens))
    assert holds(result.teacher_text_perplexity, perplexity)
    assert result.forward_kl_nats is not None
    assert result.forward_kl_nats.n == num_tokens
    assert result.forward_kl_nats.num_clusters == 12
    assert result.forward_kl_nats.low < result.forward_kl_nats.high
    for point in result.by_position:
        at = scores.position_N == point.position
        assert holds(point.forward_kl, float(scores.forward_kl_N[at].mean()))
    assert [point.position for point in result.by_position] == list(range(6))


def test_the_teacher_has_no_distance_to_report(
    teacher: LanguageModel, many: list[EncodedExample], estimator: Estimator
) -> None:
    scores = TeacherScorer(teacher, many).score(teacher)
    result = estimator.model_result(measured("teacher", "teacher", teacher, scores))
    assert result.forward_kl_nats is result.top1_agreement is None
    assert result.by_position == ()
    assert result.teacher_text_perplexity is not None
    assert result.num_layers == 4
    assert result.weight_bytes == 4 * result.num_parameters


def test_looping_counts_only_the_texts_that_were_asked_for(
    teacher: LanguageModel, many: list[EncodedExample], estimator: Estimator
) -> None:
    scores = TeacherScorer(teacher, many).score(teacher)
    texts: list[str | None] = [None] * 24
    texts[0], texts[2], texts[4], texts[6] = "a b c " * 3, "A text.", "Another.", ""
    result = estimator.model_result(measured("student", "student", teacher, scores, texts))
    assert result.looping_fraction.value == 0.25
    assert (result.looping_fraction.n, result.looping_fraction.num_clusters) == (4, 4)


def test_a_comparison_is_signed_and_paired(
    teacher: LanguageModel,
    student: LanguageModel,
    many: list[EncodedExample],
    estimator: Estimator,
) -> None:
    scorer = TeacherScorer(teacher, many)
    far = measured("far", "student", student, scorer.score(student))
    near_scores = scorer.score(keep_layers(teacher, [0, 1, 2, 3], name="near"))
    near = measured("near", "student", teacher, near_scores)
    comparison = estimator.compare_kl(near, far)
    assert comparison.difference.high < 0
    assert comparison.verdict == "near is closer to the teacher than far."
    turned = estimator.compare_kl(far, near)
    assert turned.difference.low > 0
    assert turned.ratio is None  # over zero: the copy is the teacher
    same = estimator.compare_kl(far, measured("twin", "student", student, far.scores))
    assert (same.difference.value, same.ratio.value if same.ratio else None) == (0.0, 1.0)
    assert same.verdict.startswith("Inconclusive")


def test_speed_is_measured_at_equal_work(teacher: LanguageModel, student: LanguageModel) -> None:
    prompts = [teacher.chat.encode_prompt([Message(role="user", content="Town")])] * 4
    slow, fast = measure_speed([teacher, student], prompts, 6)
    for speed in (slow, fast):
        assert speed.tokens_per_s > 0
        assert speed.latency_s > 0
    longest = len(prompts[0]) + 6
    # keys and values, 2 heads of 8 dimensions, float32, per layer
    cache = 2 * 2 * 8 * 4 * longest * len(prompts)
    assert slow.memory_bytes == 4 * teacher.num_parameters + 4 * cache
    assert fast.memory_bytes == 4 * student.num_parameters + 2 * cache
