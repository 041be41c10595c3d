"""A teacher's top-k as outcomes in a student's tokens."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from other_tokenizer import END_OF_TURN_ID, id_of, make_map, other_chat
from tiny_model import END_OF_TURN_ID as TINY_END_OF_TURN_ID

from stillhouse.chat import NO_ID, ChatTokenizer, VocabularyMap
from stillhouse.losses import Objective, ProjectedTarget, TopKTarget, loss_of_logits
from stillhouse.models import load_chat, locate_model
from stillhouse.signal import TopKSignal
from stillhouse.train._projection import ProjectedRows, project, token_rows

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> ChatTokenizer:
    return load_chat(locate_model(tiny_folder))


@pytest.fixture(scope="module")
def other() -> ChatTokenizer:
    return other_chat()


def ids_of(chat: ChatTokenizer, *texts: str) -> list[int]:
    return [id_of(chat, text) for text in texts]


def one_row(ids: Sequence[int], probabilities: Sequence[float]) -> TopKSignal:
    return TopKSignal.of([list(ids)], [np.log(probabilities).tolist()])


def outcomes(rows: ProjectedRows) -> dict[tuple[int, ...], float]:
    """Student ids of each outcome of the only row, and the teacher's mass on it."""
    return {
        tuple(one for one in ids.tolist() if one != NO_ID): pytest.approx(mass)
        for ids, mass in zip(rows.ids[0], rows.mass[0], strict=True)
        if mass > 0
    }


def test_teacher_tokens_that_the_student_begins_alike_are_one_outcome(
    tiny: ChatTokenizer, other: ChatTokenizer
) -> None:
    # The tiny one writes " Farm" and " Wins" with a space first; " the" it has whole.
    farm, wins, the = ids_of(other, " Farm", " Wins", " the")
    rows = project(one_row([farm, the, wins], [0.5, 0.2, 0.1]), make_map(other, tiny))
    space, whole = ids_of(tiny, " ", " the")
    assert outcomes(rows) == {(space,): 0.6, (whole,): 0.2}
    assert rows.tail[0] == pytest.approx(0.2, rel=1e-5)


def test_student_tokens_that_go_on_belong_to_the_outcome(
    tiny: ChatTokenizer, other: ChatTokenizer
) -> None:
    space, town = ids_of(tiny, " ", " Town")
    rows = project(
        one_row([space, town], [0.7, 0.2]), make_map(tiny, other, {" Farm": 2, " Wins": 1})
    )
    expected = {
        tuple(ids_of(other, " ", " Farm", " Wins")): 0.7,
        tuple(ids_of(other, " Town")): 0.2,
    }
    assert outcomes(rows) == expected


def test_what_the_student_cannot_write_is_in_the_tail(
    tiny: ChatTokenizer, other: ChatTokenizer
) -> None:
    control, end, x = 1, TINY_END_OF_TURN_ID, ids_of(tiny, "x")[0]
    rows = project(one_row([control, end, x], [0.4, 0.3, 0.2]), make_map(tiny, other))
    assert outcomes(rows) == {(END_OF_TURN_ID,): 0.3, tuple(ids_of(other, "x")): 0.2}
    assert rows.tail[0] == pytest.approx(0.5, rel=1e-5)


def test_fillers_of_a_narrow_signal_add_nothing(tiny: ChatTokenizer, other: ChatTokenizer) -> None:
    x, y = ids_of(tiny, "x", "y")
    narrow = TopKSignal(
        np.array([[x, y, x, x]], dtype=np.int32),
        np.log(np.array([[0.6, 0.3, 1.0, 1.0]], dtype=np.float32)),
        np.log(np.array([0.1], dtype=np.float32)),
    )
    narrow.logprobs[:, 2:] = -np.inf
    expected = {tuple(ids_of(other, "x")): 0.6, tuple(ids_of(other, "y")): 0.3}
    assert outcomes(project(narrow, make_map(tiny, other))) == expected


def test_no_student_token_is_claimed_twice_and_no_mass_is_lost(
    tiny: ChatTokenizer, other: ChatTokenizer
) -> None:
    rng = np.random.default_rng(0)
    for teacher, student in ((tiny, other), (other, tiny)):
        counts = np.ones(len(student.text_bytes), dtype=np.int64)
        vocabulary = VocabularyMap(
            teacher, student, student_counts=counts, closing_id=student.end_of_turn_ids[0], width=40
        )
        size = len(teacher.text_bytes)
        ids = np.stack([rng.permutation(size)[:64] for _ in range(50)])
        logits = np.sort(rng.normal(size=ids.shape) * 3)[:, ::-1]
        logprobs = np.log(np.exp(logits) / (np.exp(logits).sum(axis=1, keepdims=True) * 1.1))
        rows = project(TopKSignal.of(ids, logprobs), vocabulary)
        assert rows.mass.sum(axis=1) + rows.tail == pytest.approx(1.0, abs=1e-5)
        for row in rows.ids:
            claimed = row[row != NO_ID].tolist()
            assert len(claimed) == len(set(claimed))
        assert (rows.ids[..., 0][rows.mass > 0] != NO_ID).all()


def test_the_same_tokenizer_projects_a_signal_to_itself(tiny: ChatTokenizer) -> None:
    counts = np.ones(len(tiny.text_bytes), dtype=np.int64)
    vocabulary = VocabularyMap(
        tiny, tiny, student_counts=counts, closing_id=tiny.end_of_turn_ids[0], width=4
    )
    generator = torch.Generator().manual_seed(0)
    size = len(tiny.text_bytes)
    teacher_NV = torch.randn(20, size, generator=generator) * 3
    top, ids = torch.log_softmax(teacher_NV, dim=1).topk(16)
    signal = TopKSignal.of(ids.numpy(), top.numpy())
    plain = TopKTarget(ids, top, torch.from_numpy(signal.tail_logprob))
    losses, grads = [], []
    for target in (plain, project(signal, vocabulary).target()):
        logits = torch.randn(20, size, generator=torch.Generator().manual_seed(1))
        logits.requires_grad_()
        loss = loss_of_logits(logits, target, Objective("forward_kl"))
        loss.sum().backward()
        losses.append(loss.detach())
        grads.append(logits.grad)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-5, atol=1e-6)


def kl_of(rows: ProjectedRows, logits: torch.Tensor) -> torch.Tensor:
    target: ProjectedTarget = rows.target()
    return loss_of_logits(logits, target, Objective("forward_kl"))


def test_silent_rows_teach_nothing() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(2)).requires_grad_()
    loss = kl_of(ProjectedRows.silent((3, 4, 2)), logits)
    loss.sum().backward()
    assert loss.abs().max() < 1e-6
    assert logits.grad.abs().max() < 1e-6


def test_token_rows_are_cross_entropy() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(2))
    ids = np.array([7, 0, 49])
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(ids), reduction="none")
    torch.testing.assert_close(kl_of(token_rows(ids), logits), expected)


def test_rows_are_put_over_wider_ones() -> None:
    rows = ProjectedRows.silent((3, 4, 2))
    rows.put(np.array([1]), token_rows(np.array([9])))
    assert rows.mass.tolist() == [[0.0] * 4, [1.0, 0.0, 0.0, 0.0], [0.0] * 4]
    assert rows.tail.tolist() == [1.0, 0.0, 1.0]
    assert rows.ids[1, 0].tolist() == [9, NO_ID]
