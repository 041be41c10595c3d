"""Read prompts and, behind each, every beginning of an answer, in one forward pass.

The beginnings form a tree, and a mask lets each see its prompt and what it begins with only: what a
prompt costs is then its own tokens and one more for each beginning, however many labels share them.
Tokens of one depth stand at one position, as they would if each answer had been read alone.

Letters: B prompts, S their tokens after the shared ones, R tree nodes, the root among them, Q
queries, W keys, D hidden.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from stillhouse.models._label_trie import LabelTrie
from stillhouse.models._load import LanguageModel
from stillhouse.models._masks import attention_masks
from stillhouse.models._prefix import shared_prefix
from stillhouse.models._slots import SlotCache


class Tree(NamedTuple):
    """R beginnings whose next token is asked for, the root first; closed under beginning.

    Attributes:
        nodes_R: Which nodes of the trie they are.
        tokens_R: The token of each; that of the root is not read.
        depths_R: Its distance from the root.
        holds_RR: Whether a beginning (row) begins with another (column).
    """

    nodes_R: Tensor
    tokens_R: Tensor
    depths_R: Tensor
    holds_RR: Tensor


def tree_of(trie: LabelTrie, *, only_choices: bool) -> Tree:
    """All beginnings of a trie, or those alone that lead to a choice."""
    leads_on_M = trie.is_branching_M if only_choices else np.ones_like(trie.is_branching_M)
    nodes_R = np.flatnonzero(np.logical_or.reduce(trie.holds_MM[leads_on_M], axis=0))
    return Tree(
        nodes_R=torch.from_numpy(nodes_R),
        tokens_R=torch.from_numpy(trie.tokens_M[nodes_R]),
        depths_R=torch.from_numpy(trie.depths_M[nodes_R]),
        holds_RR=torch.from_numpy(trie.holds_MM[np.ix_(nodes_R, nodes_R)]),
    )


def tree_hidden_states(
    model: LanguageModel, prompts: Sequence[tuple[int, ...]], tree: Tree
) -> Tensor:
    """What the last layer says after each beginning, behind each prompt, (B, R, D)."""
    shared = shared_prefix(prompts, limit=min(map(len, prompts)) - 1)
    ids_BQ, positions_BQ, last_B = _layout(prompts, tree, shared)
    cache = SlotCache(num_layers=model.num_layers)
    cache.resize(num_slots=len(prompts), num_tokens=shared + ids_BQ.shape[1])
    cache.prefill_slots = slice(0, len(prompts))
    decoder = model.network.get_decoder()
    if shared:
        first_1P = torch.tensor([prompts[0][:shared]])
        decoder(input_ids=first_1P, past_key_values=cache, use_cache=True)
    cache.prefill_start = shared
    hidden_BQD: Tensor = decoder(
        input_ids=ids_BQ,
        position_ids=positions_BQ,
        attention_mask=_masks(
            model.network.config.get_text_config(), positions_BQ, last_B, tree, shared
        ),
        past_key_values=cache,
        use_cache=True,
    ).last_hidden_state
    root_B1D = hidden_BQD[torch.arange(len(prompts)), last_B].unsqueeze(1)
    return torch.cat([root_B1D, hidden_BQD[:, ids_BQ.shape[1] - len(tree.nodes_R) + 1 :]], dim=1)


def _layout(
    prompts: Sequence[tuple[int, ...]], tree: Tree, shared: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens and positions of what is read after the shared ones, and where each prompt ends.

    The tree stands behind the longest prompt, at the positions that its own prompt gives it.
    """
    width = max(map(len, prompts)) - shared
    num_queries = width + len(tree.nodes_R) - 1
    ids_BQ = torch.zeros(len(prompts), num_queries, dtype=torch.long)
    for row, prompt in enumerate(prompts):
        ids_BQ[row, : len(prompt) - shared] = torch.tensor(prompt[shared:])
    ids_BQ[:, width:] = tree.tokens_R[1:]
    last_B = torch.tensor([len(prompt) - shared - 1 for prompt in prompts])
    positions_BQ = (shared + torch.arange(num_queries)).repeat(len(prompts), 1)
    positions_BQ[:, width:] = shared + last_B.unsqueeze(1) + tree.depths_R[1:]
    return ids_BQ, positions_BQ, last_B


def _masks(
    config: Any, positions_BQ: Tensor, last_B: Tensor, tree: Tree, shared: int
) -> Tensor | dict[str, Tensor]:
    """What each query sees: what its position allows, in its own prompt and branch."""
    num_rows, num_queries = positions_BQ.shape
    width = num_queries - len(tree.nodes_R) + 1
    keys_BW = torch.cat([torch.arange(shared).repeat(num_rows, 1), positions_BQ], dim=1)
    is_own_BQW = torch.ones(num_rows, num_queries, shared + num_queries, dtype=torch.bool)
    is_own_BQW[:, :width, shared + width :] = False
    is_prompt_BS = torch.arange(width) <= last_B.unsqueeze(1)
    is_own_BQW[:, width:, shared : shared + width] = is_prompt_BS.unsqueeze(1)
    is_own_BQW[:, width:, shared + width :] = tree.holds_RR[1:, 1:]
    by_position = attention_masks(config, positions_BQ, int(keys_BW.max()) + 1)

    def of_keys(mask_B1QP: Tensor) -> Tensor:
        index_B1QW = keys_BW[:, None, None, :].expand(-1, 1, num_queries, -1)
        return mask_B1QP.gather(3, index_B1QW) & is_own_BQW.unsqueeze(1)

    if isinstance(by_position, dict):
        return {kind: of_keys(mask) for kind, mask in by_position.items()}
    return of_keys(by_position)
