"""Completions that are one label of a set, and nothing else."""

from dataclasses import dataclass

import numpy as np

from stillhouse.models._constrained import Bools
from stillhouse.models._label_trie import ROOT, LabelTrie


@dataclass(frozen=True, eq=False)
class LabelGrammar:
    """The labels of a trie as a grammar; it needs no package that stillhouse does not.

    Drawn at temperature 1, a label comes with the probability that `trie_probabilities` gives.
    Greedy decoding takes the best token at each choice, which need not lead to the likeliest label.

    Attributes:
        trie: The labels, encoded for the model that generates.
    """

    trie: LabelTrie

    def begin(self) -> "LabelConstraint":
        """The place before a completion's first token."""
        return LabelConstraint(self.trie)


class LabelConstraint:
    """Where one completion stands among the labels."""

    def __init__(self, trie: LabelTrie) -> None:
        self._trie = trie
        self._node = ROOT
        self._whole = set(trie.nodes_L.tolist())

    def allowed_V(self) -> Bools:
        """(V,) the tokens that lead on to a label, and the end of the turn behind a whole one."""
        trie = self._trie
        ids = list(trie.children[self._node])
        if self._node in self._whole:
            ids.extend(trie.end_ids)
        allowed_V = np.zeros(max(ids) + 1, dtype=np.bool_)
        allowed_V[ids] = True
        return allowed_V

    def advance(self, token_id: int) -> None:
        """Go on with an allowed id; the end of the turn leads nowhere."""
        self._node = self._trie.children[self._node].get(token_id, self._node)
