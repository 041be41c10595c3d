"""The parts of the signal benchmark that judge: the gradient's error, tables."""

import numpy as np
import pytest
import torch
from benchmarks._parts.goals import rows
from benchmarks._parts.pages import PAGE, with_tables
from benchmarks._parts.results import read
from benchmarks._signal.fidelity import sparse_gradient
from benchmarks._signal.tables import GOALS, RELATIVE, bytes_table, tables
from benchmarks.signal_store import RESULTS

from stillhouse.losses import Objective, TopKTarget, loss_of_logits
from stillhouse.signal import TopKSignal

torch.set_num_threads(1)


def test_the_gradient_that_is_judged_is_the_one_that_is_trained_on() -> None:
    generator = torch.Generator().manual_seed(0)
    logits_CV = torch.randn(6, 40, generator=generator, requires_grad=True)
    ids_CK = torch.randn(6, 40, generator=generator).topk(5, dim=1).indices
    probs_CK = np.random.default_rng(0).dirichlet(np.ones(9), 6)[:, :5]
    full = TopKSignal.of(ids_CK.numpy(), np.log(probs_CK))
    # One token has an id only, the others are fillers.
    signal = TopKSignal.joined([full.rows(0, 5), full.rows(5, 6).truncated(1)])
    target = TopKTarget(
        torch.from_numpy(signal.ids).long(),
        torch.from_numpy(signal.logprobs),
        torch.from_numpy(signal.tail_logprob),
    )
    loss_of_logits(logits_CV, target, Objective("forward_kl")).sum().backward()
    student_CV = torch.softmax(logits_CV.detach(), dim=1)
    torch.testing.assert_close(
        logits_CV.grad, sparse_gradient(student_CV, signal), atol=1e-6, rtol=1e-5
    )


def test_a_codec_stands_with_its_bytes_by_text() -> None:
    speed = {"decode_tokens_per_s": {"shuffled": 250_000.0}}
    few = {"bytes_per_token": 31.26, "ids_per_token": 9.04, **speed}
    one = {"bytes_per_token": 2.4, "ids_per_token": None, **speed}
    table = bytes_table({"chat": {"codecs": {"adaptive": few, "actual": one}}})
    assert "| `adaptive` | 31.3 (9.0 ids) | 250,000 |" in table
    assert "| `actual` | 2.4 | 250,000 |" in table


@pytest.mark.parametrize(("size", "met"), [(64.0, "yes"), (64.1, "**no**")])
def test_a_goal_holds_up_to_its_limit(size: float, met: str) -> None:
    document = {"chat": {"codecs": {RELATIVE: {"bytes_per_token": size}}}}
    words = f"chat: `{RELATIVE}`, each token"
    (row,) = (row for row in rows(document, GOALS) if row.goal.words == words)
    assert row.cells[3] == met


def test_the_page_shows_what_the_results_hold() -> None:
    page = PAGE.read_text()
    assert with_tables(page, "signal", tables(read(RESULTS))) == page, (
        "run: python benchmarks/signal_store.py --table"
    )
