"""Texts that student and teacher write together: what is kept, what is replaced."""

import math
from pathlib import Path

import pytest
import torch
from on_policy_cases import Pair, completion_logits, drafts_of, live_settings, make_pair
from tiny_chain import Chain, metrics_of
from tiny_model import END_OF_TURN_ID

from stillhouse.chat import EncodedExample
from stillhouse.train import train
from stillhouse.train._live import LiveTeacher
from stillhouse.train._speculative import SpeculativeDrawer, drawn_token

torch.set_num_threads(1)

TOP_K = 5


@pytest.fixture(scope="module")
def pair(chain: Chain) -> Pair:
    return make_pair(chain)


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
        written = EncodedExample((*draft.prompt_ids, *text.ids), len(draft.prompt_ids))
        p_TV = completion_logits(pair.teacher.model.network, written)
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
