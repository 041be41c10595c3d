"""One optimiser step: what it learns, what it weighs, and what it refuses."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_chain import Chain, settings
from tiny_model import END_OF_TURN_ID

from stillhouse.artifacts import open_artifact
from stillhouse.errors import NonFiniteLossError
from stillhouse.models import LanguageModel, keep_layers, load_model
from stillhouse.records import Example
from stillhouse.signal import SignalReader
from stillhouse.train import TrainConfig
from stillhouse.train._batches import split_evenly
from stillhouse.train._guides import CapturedSignal, Guide, own_tokens
from stillhouse.train._lessons import Lesson
from stillhouse.train._step import Stepper, StepResult

torch.set_num_threads(1)

# Half of float32's resolution for sums of some hundred terms that lie near 1.
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def teacher(tiny_folder: Path) -> LanguageModel:
    return load_model(tiny_folder)


@pytest.fixture(scope="module")
def lessons(chain: Chain, teacher: LanguageModel) -> list[Lesson]:
    rows = open_artifact(chain.dataset).rows("examples", Example)
    return [
        Lesson(teacher.chat.encode_example(row.messages, row.completion, row.completion_token_ids))
        for row in rows
        if row.split == "train"
    ]


@pytest.fixture(scope="module")
def captured(chain: Chain) -> CapturedSignal:
    return CapturedSignal(SignalReader(open_artifact(chain.signal)))


@pytest.fixture(params=["sft", "forward_kl"])
def guide(request: pytest.FixtureRequest, captured: CapturedSignal) -> Guide:
    return own_tokens if request.param == "sft" else captured


def named(guide: Guide) -> str:
    """The objective that learns from a guide."""
    return "sft" if guide is own_tokens else "forward_kl"


def stepper_of(teacher: LanguageModel, config: TrainConfig, layers: Sequence[int]) -> Stepper:
    return Stepper(keep_layers(teacher, layers, name="student").network, config, num_steps=10)


def gradients(stepper: Stepper) -> Iterator[torch.Tensor]:
    for parameter in stepper.network.parameters():
        assert parameter.grad is not None
        yield parameter.grad.clone()


def copies(stepper: Stepper) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in stepper.network.parameters()]


def three_steps(stepper: Stepper, lessons: list[Lesson], guide: Guide, parts: int) -> list[float]:
    losses = []
    for step in range(3):
        batch = range(8 * step, 8 * step + 8)
        split = [[lessons[index] for index in part] for part in split_evenly(batch, parts)]
        losses.append(stepper.learn(step, split, guide).loss_nats)
        stepper.update(step)
    return losses


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_a_batch_in_parts_is_the_same_step(
    chain: Chain,
    teacher: LanguageModel,
    lessons: list[Lesson],
    guide: Guide,
    parts: int,
) -> None:
    # A large weight decay and clipping, so that a wrong denominator has ways to show.
    config = settings(
        chain, objective=named(guide), learning_rate=1e-3, clip_norm=0.5, weight_decay=0.1
    )
    whole, split = (stepper_of(teacher, config, [0, 3]) for _ in range(2))
    assert three_steps(whole, lessons, guide, 1) == pytest.approx(
        three_steps(split, lessons, guide, parts), abs=TOLERANCE
    )
    # Adam divides by the gradient's size: where that is rounding noise its sign may differ, so
    # a weight may be one learning rate off; nearly all are equal.
    differences = torch.cat(
        [(a - b).abs().flatten() for a, b in zip(copies(whole), copies(split), strict=True)]
    )
    assert differences.max() < 3e-5
    assert differences.quantile(0.999) < TOLERANCE


def test_a_lesson_counts_by_its_weight(
    chain: Chain, teacher: LanguageModel, lessons: list[Lesson]
) -> None:
    light, heavy = (
        replace(lesson, weight=w) for lesson, w in zip(lessons, (1.0, 3.0), strict=False)
    )
    stepper = stepper_of(teacher, settings(chain, objective="sft"), [0, 3])
    both, *alone = (stepper.learn(0, [p], own_tokens) for p in ([light, heavy], [light], [heavy]))
    tokens = (light.num_tokens, 3 * heavy.num_tokens)
    expected = sum(n * one.loss_nats for n, one in zip(tokens, alone, strict=True)) / sum(tokens)
    assert both.loss_nats == pytest.approx(expected, abs=TOLERANCE)
    assert both.num_tokens == light.num_tokens + heavy.num_tokens


def test_padding_changes_neither_loss_nor_gradient(
    chain: Chain, teacher: LanguageModel, lessons: list[Lesson], guide: Guide
) -> None:
    by_length = sorted(lessons, key=lambda lesson: len(lesson.example.ids))
    short, long = by_length[0], by_length[-1]
    assert len(long.example.ids) > len(short.example.ids) + 10
    padded, apart = (
        stepper_of(teacher, settings(chain, objective=named(guide)), [0, 3]) for _ in range(2)
    )
    one = padded.learn(0, [[short, long]], guide)
    two = apart.learn(0, [[short], [long]], guide)
    assert one.num_padded_tokens > two.num_padded_tokens
    assert one.loss_nats == pytest.approx(two.loss_nats, abs=TOLERANCE)
    for a, b in zip(gradients(padded), gradients(apart), strict=True):
        torch.testing.assert_close(a, b, atol=TOLERANCE, rtol=1e-5)


def test_every_token_weighs_the_same_whatever_its_example(
    chain: Chain, teacher: LanguageModel, lessons: list[Lesson]
) -> None:
    few = min(lessons, key=lambda lesson: lesson.num_tokens)
    many = max(lessons, key=lambda lesson: lesson.num_tokens)
    stepper = stepper_of(teacher, settings(chain, objective="sft"), [0, 3])
    both, *alone = (stepper.learn(0, [part], own_tokens) for part in ([few, many], [few], [many]))
    total = sum(one.loss_nats * one.num_tokens for one in alone)
    assert both.loss_nats == pytest.approx(total / both.num_tokens, abs=TOLERANCE)
    assert both.num_tokens == few.num_tokens + many.num_tokens


def test_the_gradient_is_that_of_the_plain_dense_loss(
    chain: Chain, teacher: LanguageModel, lessons: list[Lesson]
) -> None:
    stepper = stepper_of(teacher, settings(chain, objective="sft", clip_norm=1e9), [0, 3])
    result = stepper.learn(0, [lessons[:4], lessons[4:8]], own_tokens)

    naive = keep_layers(teacher, [0, 3], name="naive").network.double()
    naive.get_input_embeddings().padding_idx = None
    losses = []
    for example in (lesson.example for lesson in lessons[:8]):
        logits_TV = naive(input_ids=torch.tensor([example.ids])).logits[0]
        for position in range(example.num_prompt, len(example.ids)):
            logprobs_V = logits_TV[position - 1].log_softmax(dim=0)
            losses.append(-logprobs_V[example.ids[position]])
    loss = torch.stack(losses).mean()
    loss.backward()
    assert result.loss_nats == pytest.approx(loss.item(), abs=TOLERANCE)
    for ours, parameter in zip(gradients(stepper), naive.parameters(), strict=True):
        assert (ours - parameter.grad).norm() < 1e-5 * parameter.grad.norm()


def test_the_end_of_turn_token_learns_even_where_it_is_also_the_pad(
    chain: Chain, teacher: LanguageModel, lessons: list[Lesson]
) -> None:
    stepper = stepper_of(teacher, settings(chain, objective="sft"), [0, 3])
    embedding = stepper.network.get_input_embeddings().weight
    with torch.no_grad():
        stepper.network.get_output_embeddings().weight = torch.nn.Parameter(embedding.clone())
    untied = Stepper(stepper.network, settings(chain, objective="sft"), num_steps=10)
    untied.learn(0, [lessons[:8]], own_tokens)
    assert embedding.grad is not None
    assert embedding.grad[END_OF_TURN_ID].abs().max() > 1e-6


def one_batch(stepper: Stepper, lessons: list[Lesson], guide: Guide) -> StepResult:
    return stepper.learn(0, [lessons[:8]], guide)


def test_a_student_that_is_its_teacher_has_nothing_to_learn_from_the_signal(
    chain: Chain,
    teacher: LanguageModel,
    lessons: list[Lesson],
    captured: CapturedSignal,
) -> None:
    itself = stepper_of(teacher, settings(chain), [0, 1, 2, 3])
    own = one_batch(itself, lessons, captured)
    assert abs(own.loss_nats) < 1e-4

    perturbed = stepper_of(teacher, settings(chain), [0, 1, 2, 3])
    with torch.no_grad():
        perturbed.network.model.layers[1].mlp.up_proj.weight.mul_(1.2)
    other = one_batch(perturbed, lessons, captured)
    assert other.loss_nats > 1e-3
    assert other.grad_norm > 0.1
    assert own.grad_norm < 1e-2 * other.grad_norm  # what is left is the rounding of the codes


def test_sft_still_learns_from_the_text_where_the_signal_has_nothing_to_teach(
    chain: Chain, teacher: LanguageModel, lessons: list[Lesson]
) -> None:
    result = one_batch(
        stepper_of(teacher, settings(chain, objective="sft"), [0, 1, 2, 3]), lessons, own_tokens
    )
    assert result.loss_nats > 0.1
    assert result.grad_norm > 0.1


def test_a_step_that_is_not_finite_changes_no_weight(
    chain: Chain, teacher: LanguageModel, lessons: list[Lesson], guide: Guide
) -> None:
    config = settings(chain, objective=named(guide), learning_rate=1e30, warmup_fraction=0.0)
    stepper = stepper_of(teacher, config, [0, 3])
    one_batch(stepper, lessons, guide)
    stepper.update(0)  # finite gradient, absurd rate: the next forward pass overflows
    before = copies(stepper)
    with pytest.raises(NonFiniteLossError, match=r"Step 1: .* Lower learning_rate \(now 1e\+30\)"):
        stepper.learn(1, [lessons[:8]], guide)
    for now, then in zip(copies(stepper), before, strict=True):
        assert torch.equal(now, then)
        assert now.isfinite().all()
    assert all(not gradient.any() for gradient in gradients(stepper))


def test_a_broken_base_is_refused_at_the_first_step(
    chain: Chain, teacher: LanguageModel, lessons: list[Lesson]
) -> None:
    stepper = stepper_of(teacher, settings(chain, objective="sft"), [0, 3])
    with torch.no_grad():
        stepper.network.model.layers[0].mlp.up_proj.weight[0, 0] = math.nan
    with pytest.raises(NonFiniteLossError, match="check the base model's weights"):
        one_batch(stepper, lessons, own_tokens)


def test_weights_that_the_last_update_broke_are_refused(
    chain: Chain, teacher: LanguageModel, lessons: list[Lesson]
) -> None:
    stepper = stepper_of(teacher, settings(chain, objective="sft", learning_rate=1e39), [0, 3])
    stepper.check_weights(0)
    one_batch(stepper, lessons, own_tokens)
    stepper.update(9)
    with pytest.raises(NonFiniteLossError, match="Step 9 left weights that are not finite"):
        stepper.check_weights(9)


def test_the_rate_warms_up_to_its_peak_and_falls_to_one_step_above_zero(
    chain: Chain, teacher: LanguageModel
) -> None:
    config = settings(chain, learning_rate=1.0, warmup_fraction=0.4)
    stepper = stepper_of(teacher, config, [0, 3])
    rates = [stepper.learning_rate(step) for step in range(10)]
    assert rates == pytest.approx(
        [0.25, 0.5, 0.75, 1.0, 1.0, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6], rel=1e-12
    )


def test_vectors_do_not_decay(chain: Chain, teacher: LanguageModel) -> None:
    stepper = stepper_of(teacher, settings(chain, weight_decay=0.3), [0, 3])
    decay = {
        parameter.ndim: group["weight_decay"]
        for group in stepper.optimizer.param_groups
        for parameter in group["params"]
    }
    assert decay == {1: 0.0, 2: 0.3}
