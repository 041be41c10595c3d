"""Marks in a batch of the shape that vLLM's engine v1 gives its logits processors."""

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from watermark_cases import KEY, Row, profile_of, signed_profile

from stillhouse.errors import ConfigError
from stillhouse.models._sampling import sampling_law
from stillhouse.watermark import LogitsMark, make_mark, score_tokens
from stillhouse.watermark.vllm import WatermarkLogitsProcessor, nucleus


class MoveDirectionality(Enum):
    """As in vllm/v1/sample/logits_processor/interface.py."""

    UNIDIRECTIONAL = auto()
    SWAP = auto()


@dataclass(frozen=True)
class BatchUpdate:
    """As there."""

    batch_size: int
    removed: tuple[int, ...] = ()
    added: tuple[Any, ...] = ()
    moved: tuple[Any, ...] = ()


@dataclass
class SamplingParams:
    seed: int | None = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0


def processor_of(mark: LogitsMark) -> WatermarkLogitsProcessor:
    return WatermarkLogitsProcessor(None, torch.device("cpu"), False, mark=mark)


def added(index: int, output_ids: list[int], **changes: Any) -> tuple[Any, ...]:
    return (index, SamplingParams(**changes), [1, 2, 3], output_ids)


@pytest.mark.parametrize("scheme", ["gumbel", "dual_gumbel", "kgw", "synthid"])
def test_requests_are_marked_as_they_grow(scheme: str) -> None:
    profile = profile_of(scheme, context_width=2)
    processor = processor_of(make_mark(profile, KEY))
    outputs: list[list[int]] = [[], [], []]
    processor.update_state(
        BatchUpdate(3, added=tuple(added(n, ids, seed=n) for n, ids in enumerate(outputs)))
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(120):
        logits = torch.randn(3, 300, generator=generator)
        probs = torch.softmax(processor.apply(logits), dim=1)
        for ids, token in zip(
            outputs, torch.multinomial(probs, 1, generator=generator), strict=True
        ):
            ids.append(int(token))
        processor.update_state(None)
    found = [score_tokens(profile, KEY, ids) for ids in outputs]
    ratio = np.concatenate([one.scores_N for one in found]).mean() / found[0].null.mean
    assert ratio > 1.3


def test_what_is_not_marked_is_not_touched() -> None:
    processor = processor_of(make_mark(profile_of(context_width=2), KEY))
    lists = [[4, 5, 6], [4, 5, 6], [4], [4, 5, -1], [4, 5, 4, 5], [4, 5, 6]]
    temperatures = [1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    new = tuple(
        added(n, ids, temperature=temperature)
        for n, (ids, temperature) in enumerate(zip(lists, temperatures, strict=True))
    )
    processor.update_state(BatchUpdate(6, added=new))
    logits = torch.randn(6, 300, generator=torch.Generator().manual_seed(2))
    marked = processor.apply(logits.clone())
    assert [bool(torch.equal(marked[n], logits[n])) for n in range(6)] == [
        False,
        True,  # greedy
        True,  # no context yet
        True,  # its last id is not there yet
        True,  # its context was there before
        False,
    ]
    assert processor.is_argmax_invariant()
    assert torch.equal(marked[0], marked[5])  # the same words, key and seed


@pytest.mark.parametrize("scheme", ["gumbel", "kgw", "synthid"])
def test_top_k_and_nucleus_that_come_later_change_nothing(scheme: str) -> None:
    """Exactly one token is left, and it is among those that would be drawn."""
    processor = processor_of(make_mark(profile_of(scheme, context_width=1), KEY))
    processor.update_state(BatchUpdate(1, added=(added(0, [4], top_k=5, top_p=0.8),)))
    generator = torch.Generator().manual_seed(3)
    for _ in range(50):
        logits = torch.randn(1, 300, generator=generator)
        marked = processor.apply(logits.clone())[0]
        (token_id,) = torch.nonzero(marked > -torch.inf).flatten().tolist()
        assert nucleus(logits[0], top_k=5, top_p=0.8)[token_id] > -torch.inf


def test_requests_that_move_keep_their_marks() -> None:
    profile = profile_of(context_width=2)
    mark = make_mark(profile, KEY)
    processor = processor_of(mark)
    lists = [[n, n + 1, n + 2] for n in range(5)]
    processor.update_state(
        BatchUpdate(5, added=tuple(added(n, ids, seed=n) for n, ids in enumerate(lists)))
    )
    # 1 ends; 4 takes its place; then 0 and 2 change places, and 3 is replaced by a new one.
    new_ids = [50, 51, 52]
    processor.update_state(
        BatchUpdate(
            4,
            removed=(1,),
            added=(added(3, new_ids, seed=9),),
            moved=(
                (4, 1, MoveDirectionality.UNIDIRECTIONAL),
                (0, 2, MoveDirectionality.SWAP),
            ),
        )
    )
    where = {0: (lists[2], 2), 1: (lists[4], 4), 2: (lists[0], 0), 3: (new_ids, 9)}
    logits = torch.randn(1, 300, generator=torch.Generator().manual_seed(4)).expand(4, -1)
    marked = processor.apply(logits.clone())
    for index, (ids, seed) in where.items():
        assert int(marked[index].argmax()) == mark(Row(seed=seed), ids, logits[0])
    processor.update_state(BatchUpdate(0, removed=(0, 1, 2, 3)))
    assert torch.equal(processor.apply(logits.clone()), logits)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.sampled_from([0, -1, 1, 3, 50, 999]), st.floats(0.01, 1.0))
def test_the_nucleus_is_what_our_own_engine_draws_from(seed: int, top_k: int, top_p: float) -> None:
    logits = 2 * torch.randn(200, generator=torch.Generator().manual_seed(seed))
    found = nucleus(logits, top_k=top_k, top_p=top_p)
    if 0 < top_k < 200:
        kept = logits.topk(top_k).indices
        logits = torch.full_like(logits, -torch.inf).index_copy(0, kept, logits[kept])
    expected = sampling_law(logits, temperature=1.0, top_p=top_p)
    assert torch.equal(found > -torch.inf, expected > -torch.inf)
    assert torch.allclose(found.softmax(0), expected.softmax(0))


def test_the_profile_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (None, torch.device("cpu"), False)
    monkeypatch.delenv("STILLHOUSE_WATERMARK", raising=False)
    with pytest.raises(ConfigError, match="STILLHOUSE_WATERMARK is not set"):
        WatermarkLogitsProcessor(*arguments)
    path, _ = signed_profile(tmp_path, context_width=1)
    monkeypatch.setenv("STILLHOUSE_WATERMARK", str(path))
    monkeypatch.setenv("STILLHOUSE_KEYS", str(tmp_path))
    processor = WatermarkLogitsProcessor(*arguments)
    processor.update_state(BatchUpdate(1, added=(added(0, [4], seed=None),)))
    assert int((processor.apply(torch.zeros(1, 30)) > -torch.inf).sum()) == 1
