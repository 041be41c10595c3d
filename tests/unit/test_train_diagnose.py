"""What is measured on the student's own texts, against plain float64."""

from pathlib import Path

import pytest
import torch
from on_policy_cases import (
    MAX_TOKENS,
    Pair,
    completion_logits,
    drafts_of,
    live_settings,
    make_pair,
)
from tiny_chain import Chain, are_same_weights, losses_of, metrics_of, settings

from stillhouse.artifacts import open_artifact
from stillhouse.errors import ConfigError
from stillhouse.train import train
from stillhouse.train._diagnose import Diagnosis, DiagnosisClock, compare_models

torch.set_num_threads(1)

TOP_K = 5


@pytest.fixture(scope="module")
def pair(chain: Chain) -> Pair:
    return make_pair(chain)


def diagnosis_of(pair: Pair) -> Diagnosis:
    examples = [text.example for text in pair.texts[:6]]
    return Diagnosis(pair.student, pair.teacher, examples, drafts=drafts_of(pair, 6), top_k=TOP_K)


def test_each_position_is_compared_as_a_plain_pass_would(pair: Pair) -> None:
    examples = [text.example for text in pair.texts[:7]]
    with torch.no_grad():
        found = compare_models(pair.student, pair.teacher, examples, TOP_K)
    start = 0
    for example in examples:
        q = completion_logits(pair.student.network, example).detach().log_softmax(1)
        p = completion_logits(pair.teacher.model.network, example).detach().log_softmax(1)
        rows = slice(start, start + len(q))
        start = rows.stop
        assert found.position_N[rows].tolist() == list(range(len(q)))
        for values, wanted in (
            (found.forward_kl_N, (p.exp() * (p - q)).sum(1)),
            (found.reverse_kl_N, (q.exp() * (q - p)).sum(1)),
            (found.entropy_N, -(q.exp() * q).sum(1)),
        ):
            torch.testing.assert_close(values[rows].double(), wanted, atol=1e-4, rtol=1e-4)
        overlaps = [
            len(set(a.topk(TOP_K).indices.tolist()) & set(b.topk(TOP_K).indices.tolist())) / TOP_K
            for a, b in zip(p, q, strict=True)
        ]
        assert found.overlap_N[rows].tolist() == pytest.approx(overlaps)


def test_measuring_twice_gives_the_same_and_bins_add_up(pair: Pair) -> None:
    first, second = diagnosis_of(pair).measure(), diagnosis_of(pair).measure()
    assert first.pop("time/diagnose_s") > 0
    second.pop("time/diagnose_s")
    assert first == second
    near, far = (
        first[f"diagnose/rollout_forward_kl_{part}_nats"] for part in ("0_to_7", "8_to_31")
    )
    mean = first["diagnose/rollout_forward_kl_nats"]
    assert min(near, far) < mean < max(near, far)
    assert first["diagnose/exposure_bias"] == pytest.approx(
        mean / first["diagnose/text_forward_kl_nats"]
    )
    assert first["diagnose/length_ratio"] > 0


def test_a_student_that_is_its_teacher_shows_no_difference(chain: Chain) -> None:
    same = diagnosis_of(make_pair(chain, layers=(0, 1, 2, 3))).measure()
    assert abs(same["diagnose/rollout_forward_kl_nats"]) < 1e-5
    assert abs(same["diagnose/rollout_reverse_kl_nats"]) < 1e-5
    assert same["diagnose/topk_overlap_fraction"] == 1.0


def test_the_clock_waits_for_its_step_and_for_its_share_of_time() -> None:
    clock = DiagnosisClock(every_steps=3, max_time_fraction=0.1)
    assert [clock.is_due(step) for step in range(4)] == [True, False, False, True]
    clock.spent(1e6)
    assert not any(clock.is_due(step) for step in range(10))


def test_diagnosing_changes_nothing_about_the_student(chain: Chain, tmp_path: Path) -> None:
    asked = {"every_steps": 2, "prompts": 4, "max_tokens": MAX_TOKENS, "max_time_fraction": 1.0}
    for name, diagnose in (("with", {**asked, "teacher": chain.teacher}), ("without", None)):
        config = settings(chain, diagnose=diagnose)
        train(chain.dataset, tmp_path / name, config=config, signal=chain.signal)
    assert losses_of(tmp_path / "with") == losses_of(tmp_path / "without")
    assert are_same_weights(tmp_path / "with", tmp_path / "without")
    measured = [line for line in metrics_of(tmp_path / "with") if "time/diagnose_s" in line]
    assert [line["step"] for line in measured] == [0, 2, 4, 6]
    results = open_artifact(tmp_path / "with").manifest.results
    assert results["diagnosis_after"].keys() == results["diagnosis_before"].keys()
    assert results["diagnosis_seconds"] > sum(line["time/diagnose_s"] for line in measured)


def test_a_diagnosis_without_a_teacher_is_refused(chain: Chain, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Set diagnose.teacher to local:"):
        train(
            chain.dataset,
            tmp_path / "s",
            config=settings(chain, diagnose={}),
            signal=chain.signal,
        )
    two = {"teachers": {"a": chain.teacher, "b": chain.teacher}}
    with pytest.raises(ConfigError, match="and 2 are live"):
        train(chain.dataset, tmp_path / "s", config=live_settings(chain, live=two, diagnose={}))
    assert not (tmp_path / "s").exists()
