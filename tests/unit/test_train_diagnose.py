"""What is measured on the student's own texts, against plain float64."""

import math
from pathlib import Path

import pytest
import torch
from on_policy_cases import MAX_TOKENS, Pair, live_settings, make_pair
from tiny_chain import Chain, are_same_weights, losses_of, metrics_of, settings
from tiny_model import END_OF_TURN_ID

from stillhouse.artifacts import open_artifact
from stillhouse.chat import EncodedExample
from stillhouse.errors import ConfigError
from stillhouse.train import train
from stillhouse.train._diagnose import Diagnosis, DiagnosisClock, compare_models
from stillhouse.train._live import LiveTeacher
from stillhouse.train._rollouts import Draft
from stillhouse.train._speculative import SpeculativeDrawer, drawn_token

torch.set_num_threads(1)

TOP_K = 5


@pytest.fixture(scope="module")
def pair(chain: Chain) -> Pair:
    return make_pair(chain)


def drafts_of(pair: Pair, number: int, max_tokens: int = MAX_TOKENS) -> list[Draft]:
    examples = [text.example for text in pair.texts[:number]]
    return [
        Draft(example.ids[: example.num_prompt], max_tokens, seed=100 + row)
        for row, example in enumerate(examples)
    ]


def diagnosis_of(pair: Pair) -> Diagnosis:
    examples = [text.example for text in pair.texts[:6]]
    return Diagnosis(pair.student, pair.teacher, examples, drafts=drafts_of(pair, 6), top_k=TOP_K)


def logprobs(network: torch.nn.Module, example: EncodedExample) -> torch.Tensor:
    logits_TV = network(input_ids=torch.tensor([example.ids])).logits[0]
    return logits_TV[example.num_prompt - 1 : -1].detach().double().log_softmax(1)


def test_each_position_is_compared_as_a_plain_pass_would(pair: Pair) -> None:
    examples = [text.example for text in pair.texts[:7]]
    with torch.no_grad():
        found = compare_models(pair.student, pair.teacher, examples, TOP_K)
    start = 0
    for example in examples:
        q = logprobs(pair.student.network, example)
        p = logprobs(pair.teacher.model.network, example)
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


# Speculative texts -----------------------------------------------------------------------------


def speculative(pair: Pair, *, top_k: int, block_tokens: int = 4) -> SpeculativeDrawer:
    return SpeculativeDrawer(pair.student, pair.teacher, top_k=top_k, block_tokens=block_tokens)


@pytest.mark.parametrize("block_tokens", [1, 4, 50])
def test_every_token_of_a_speculative_text_is_the_teachers_top_k_or_its_own_draw(
    pair: Pair, block_tokens: int
) -> None:
    drafts = drafts_of(pair, 5, max_tokens=10)
    texts = speculative(pair, top_k=TOP_K, block_tokens=block_tokens)(drafts)
    num_outside = 0
    for draft, text in zip(drafts, texts, strict=True):
        assert len(text.ids) == 10 or text.ids[-1] == END_OF_TURN_ID
        assert text.is_truncated == (text.ids[-1] != END_OF_TURN_ID)
        assert END_OF_TURN_ID not in text.ids[:-1]
        assert text.logprobs is None
        p_TV = logprobs(
            pair.teacher.model.network,
            EncodedExample((*draft.prompt_ids, *text.ids), len(draft.prompt_ids)),
        )
        ranks = (p_TV > p_TV.gather(1, torch.tensor(text.ids).unsqueeze(1))).sum(1)
        outside = int((ranks >= TOP_K).sum())
        assert outside <= text.num_replaced  # what the teacher drew may lie outside its own top-k
        num_outside += outside
    assert sum(text.num_replaced for text in texts) > num_outside


def test_a_teacher_that_lets_everything_pass_replaces_nothing(pair: Pair) -> None:
    texts = speculative(pair, top_k=10_000)(drafts_of(pair, 4))
    assert [text.num_replaced for text in texts] == [0, 0, 0, 0]


def test_a_strict_teacher_replaces_even_its_own_draws(chain: Chain) -> None:
    same = make_pair(chain, layers=(0, 1, 2, 3))
    strict = speculative(same, top_k=1)(drafts_of(same, 4))
    assert sum(text.num_replaced for text in strict) > 0


def test_a_teachers_draw_follows_its_distribution() -> None:
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    counts = torch.bincount(torch.tensor([drawn_token(logits, seed) for seed in range(4000)]))
    for count, share in zip(counts.tolist(), (0.1, 0.2, 0.3, 0.4), strict=True):
        assert abs(count - 4000 * share) < 4 * math.sqrt(4000 * share * (1 - share))


def test_a_speculative_run_says_how_much_was_replaced(chain: Chain, tmp_path: Path) -> None:
    config = live_settings(
        chain,
        source="speculative",
        objective="forward_kl",
        epochs=0.5,
        rollout={"max_tokens": 6, "teacher_top_k": TOP_K},
    )
    train(chain.dataset, tmp_path / "s", config=config)
    for line in metrics_of(tmp_path / "s"):
        assert 0 < line["train/replaced_fraction"] <= 1


def test_teachers_of_the_wrong_size_are_cut_to_what_both_know(pair: Pair) -> None:
    small = LiveTeacher(pair.teacher.model, 350)
    texts = SpeculativeDrawer(pair.student, small, top_k=3, block_tokens=4)(drafts_of(pair, 6))
    assert all(token < 350 for text in texts for token in text.ids)
