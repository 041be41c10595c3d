"""One statistic under one key, and the same under decoys."""

from collections.abc import Iterable

import numpy as np
from pydantic import ConfigDict

from stillhouse.errors import DataError
from stillhouse.protect._keyed import KeyedScores
from stillhouse.protect._weights import WeightedTokens
from stillhouse.records import Record
from stillhouse.statistics import WeightedSum, WeightedTail

_CHUNK = 1 << 20  # scores at once: 8 MB for each array that the hash needs


class KeyTest(Record):
    """How much more than chance a suspect favours what a key favours."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    z: float
    """The statistic in standard deviations: mean 0 and scale 1 exactly without a mark."""
    log10_p: float
    """Of a statistic at least as large without a mark."""
    log10_bound: float
    """Chernoff's bound on it, which no assumption on the number of contexts can break."""
    num_contexts: int
    """Different contexts that counted."""
    effective: float
    """How many equal weights would vary as much as these."""


class DecoyCheck(Record):
    """The same test under keys that nobody used: it must find nothing."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    z: tuple[float, ...]
    """Of each key."""
    z_mean: float
    """Of their statistics; 0 expected."""
    z_sd: float
    """Of their statistics; 1 expected."""
    num_below: int
    """With a p of 0.01 or less; a hundredth of the keys is expected."""
    num_above: int
    """With a statistic at least as large as the real key's."""

    @property
    def num_keys(self) -> int:
        """How many."""
        return len(self.z)

    @property
    def is_sound(self) -> bool:
        """Whether mean and spread are within four of their standard errors."""
        error = 1 / np.sqrt(self.num_keys)
        return bool(abs(self.z_mean) < 4 * error and abs(self.z_sd - 1) < 4 * error)


class TokenTest:
    """The law of one statistic, whatever the key.

    Raises:
        DataError: no context is left, or all weights are 0.
    """

    def __init__(self, tokens: WeightedTokens, keyed: KeyedScores) -> None:
        if not len(tokens):
            raise DataError(
                "No context is left to test: texts are shorter than the watermark's context, "
                "refusals, or repeat one another. Give more or longer texts."
            )
        self._tokens = tokens
        self._sum = WeightedSum(tokens.weights_NK, keyed.law)
        self._num_contexts = len(np.unique(tokens.contexts_N))

    def total(self, keyed: KeyedScores) -> float:
        """The statistic itself: the sum of weight times score."""
        tokens, total = self._tokens, 0.0
        rows = max(1, _CHUNK // max(1, tokens.ids_NK.shape[1]))
        for start in range(0, len(tokens), rows):
            part = slice(start, start + rows)
            scores = keyed.scorer(tokens.contexts_N[part, None], tokens.ids_NK[part])
            total += float(np.sum(tokens.weights_NK[part] * scores))
        return total

    def under(self, keyed: KeyedScores, *, times: float = 1.0) -> KeyTest:
        """The result for one key; `times` as many contexts of the same kind if asked."""
        return self._result(self._sum.tail(self.total(keyed), times=times), times)

    def decoys(self, keys: Iterable[KeyedScores], real: KeyTest) -> DecoyCheck:
        """The results of keys that nobody used, beside the real one's."""
        tails = [self._sum.tail(self.total(keyed)) for keyed in keys]
        z = np.array([tail.z for tail in tails])
        if len(z) < 2:
            raise DataError(f"{len(z)} decoy keys have no spread. Take 2 or more, or none.")
        return DecoyCheck(
            z=tuple(float(one) for one in z),
            z_mean=float(z.mean()),
            z_sd=float(z.std(ddof=1)),
            num_below=sum(tail.log10_p <= -2 for tail in tails),
            num_above=int(np.sum(z >= real.z)),
        )

    def _result(self, tail: WeightedTail, times: float) -> KeyTest:
        return KeyTest(
            z=tail.z,
            log10_p=tail.log10_p,
            log10_bound=tail.log10_bound,
            num_contexts=round(self._num_contexts * times),
            effective=tail.effective,
        )
