"""Texts of the student that a teacher corrects as they are written.

Speculative knowledge distillation (Xu et al. 2024, arXiv:2410.11325): a token that is not among
the teacher's K likeliest is replaced by one that the teacher draws, and the student goes on from
there. The texts are near enough to the student's own, without the prefixes that no teacher would
have written and on which it has little to teach.

The student writes a block at a time, and the teacher reads it in one pass. Each block is written
after a fresh reading of what stands, so that short texts are what this is for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from stillhouse.chat import EncodedExample
from stillhouse.models import LanguageModel, predicting_batch
from stillhouse.train._live import LiveTeacher
from stillhouse.train._rollouts import Draft, Rollout, draw_texts, seed_of

_READ_ROWS = 32  # texts that the teacher reads at once; not tuned


@dataclass
class _Writing:
    draft: Draft
    ids: list[int] = field(default_factory=list)
    num_replaced: int = 0

    def next_block(self, block_tokens: int) -> Draft:
        return Draft(
            prompt_ids=(*self.draft.prompt_ids, *self.ids),
            max_tokens=min(block_tokens, self.draft.max_tokens - len(self.ids)),
            seed=seed_of(self.draft.seed, "student", len(self.ids)),
        )


class SpeculativeDrawer:
    """Draws texts that student and teacher write together.

    Args:
        model: The student.
        teacher: Looks over it.
        top_k: A token that is not among so many likeliest ones of the teacher is replaced.
        block_tokens: Tokens that the student writes before the teacher looks.
    """

    def __init__(
        self, model: LanguageModel, teacher: LiveTeacher, *, top_k: int, block_tokens: int
    ) -> None:
        self._model = model
        self._teacher = teacher
        self._top_k = min(top_k, teacher.num_ids)
        self._block_tokens = block_tokens
        self._ends = set(model.chat.end_of_turn_ids)

    def __call__(self, drafts: Sequence[Draft]) -> list[Rollout]:
        """One text for each draft, in order."""
        texts = [_Writing(draft) for draft in drafts]
        while unfinished := [text for text in texts if not self._is_finished(text)]:
            blocks = [text.next_block(self._block_tokens) for text in unfinished]
            proposed = draw_texts(self._model, blocks, num_ids=self._teacher.num_ids)
            for start in range(0, len(blocks), _READ_ROWS):
                rows = slice(start, start + _READ_ROWS)
                proposals = [one.ids.tolist() for one in proposed[rows]]
                self._correct(unfinished[rows], blocks[rows], proposals)
        return [
            Rollout(tuple(text.ids), None, text.ids[-1] not in self._ends, text.num_replaced)
            for text in texts
        ]

    def _is_finished(self, text: _Writing) -> bool:
        is_ended = bool(text.ids) and text.ids[-1] in self._ends
        return is_ended or len(text.ids) >= text.draft.max_tokens

    @torch.no_grad()
    def _correct(
        self, texts: Sequence[_Writing], blocks: Sequence[Draft], proposals: Sequence[list[int]]
    ) -> None:
        batch = predicting_batch(
            [
                EncodedExample((*block.prompt_ids, *ids), num_prompt=len(block.prompt_ids))
                for block, ids in zip(blocks, proposals, strict=True)
            ]
        )
        hidden_NE = self._teacher.hidden_states(batch)
        per_text = hidden_NE.split([len(ids) for ids in proposals])
        for text, ids, hidden_TE in zip(texts, proposals, per_text, strict=True):
            self._append(text, ids, hidden_TE @ self._teacher.head_VE.T)

    def _append(self, text: _Writing, ids: list[int], teacher_logits_TV: Tensor) -> None:
        """Keep what the teacher lets pass, and its own token for the first that it does not."""
        least_T = teacher_logits_TV.topk(self._top_k, dim=1).values[:, -1]
        given_T = teacher_logits_TV.gather(1, torch.tensor(ids).unsqueeze(1)).squeeze(1)
        refused = torch.nonzero(given_T < least_T).flatten().tolist()
        if not refused:
            text.ids += ids
            return
        first = refused[0]
        seed = seed_of(text.draft.seed, "teacher", len(text.ids) + first)
        text.ids += [*ids[:first], drawn_token(teacher_logits_TV[first], seed)]
        text.num_replaced += 1


def drawn_token(logits_V: Tensor, seed: int) -> int:
    """A token of a distribution, at temperature 1."""
    cumulative_V = torch.softmax(logits_V.double(), dim=0).cumsum(dim=0)
    uniform = np.random.Generator(np.random.Philox(seed)).random()
    threshold = torch.tensor([uniform * float(cumulative_V[-1])], dtype=torch.float64)
    position = int(torch.searchsorted(cumulative_V, threshold, right=True))
    return min(position, len(logits_V) - 1)
