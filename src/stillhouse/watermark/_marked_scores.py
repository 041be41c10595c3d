"""Scores that marked tokens would have, drawn from a law of the next token without a model.

Letters: V tokens, S draws, P of a pool.
"""

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError
from stillhouse.watermark._profile import Profile

Floats = npt.NDArray[np.float64]

_VOCABULARY = 49_152
_POOL = 2_000
_IN_POOL = 2_000  # tokens that a draw of bits is made for; the rest of a law is left out


def zipf_law(entropy_nats: float, num_tokens: int = _VOCABULARY) -> Floats:
    """(V,) the Zipf-shaped law with the given entropy: p(v) falls as a power of v.

    Raises:
        ConfigError: no such law has it.
    """
    most = float(np.log(num_tokens))
    if not 0 < entropy_nats < most:
        raise ConfigError(
            f"An entropy of {entropy_nats:g} nats is not between 0 and {most:.2f}, the most for "
            f"{num_tokens:,} tokens. Give the mean of the sampled law: 0.5 to 3 is usual."
        )
    log_ranks_V = np.log(np.arange(1, num_tokens + 1))
    low, high = 0.0, 60.0
    for _ in range(60):
        power = (low + high) / 2
        low, high = (
            (power, high)
            if _entropy(_law(power, log_ranks_V)) > entropy_nats
            else (
                low,
                power,
            )
        )
    return _law((low + high) / 2, log_ranks_V)


def drawn_scores(
    profile: Profile, law_V: npt.NDArray[np.float64], size: int, rng: np.random.Generator
) -> Floats:
    """(S,) scores of marked tokens that are drawn from a law.

    Exact for one and two Gumbel keys: the winner's number is exp(-p E), with p its probability and
    E exponential. For the others green lists and tournaments are drawn for a pool of contexts.
    """
    if profile.scheme in ("gumbel", "dual_gumbel"):
        chosen_S = np.searchsorted(np.cumsum(law_V), rng.random(size) * law_V.sum())
        return gumbel_scores_of(profile, law_V[np.minimum(chosen_S, len(law_V) - 1)], rng)
    top_V = law_V[:_IN_POOL] / law_V[:_IN_POOL].sum()
    if profile.scheme == "kgw":
        rates_P = _green_rates(profile, top_V, rng)
        return (rng.random(size) < rates_P[rng.integers(len(rates_P), size=size)]).astype(float)
    pool_P = _tournament_scores(int(profile.parameters["layers"]), top_V, rng)
    return pool_P[rng.integers(len(pool_P), size=size)]


def gumbel_scores_of(
    profile: Profile, probabilities_S: npt.NDArray[np.float64], rng: np.random.Generator
) -> Floats:
    """(S,) scores of marked tokens whose probabilities under the sampled law are known."""
    size = len(probabilities_S)
    marked_S = -np.log(-np.expm1(-probabilities_S * rng.exponential(size=size)))
    if profile.scheme == "gumbel":
        return np.asarray(marked_S)
    alpha = profile.parameters["alpha"]
    other_S = rng.exponential(size=size)
    is_second_S = rng.random(size) < alpha
    first_S = np.where(is_second_S, other_S, marked_S)
    second_S = np.where(is_second_S, marked_S, other_S)
    return np.asarray((1 - alpha) * first_S + alpha * second_S)


def _law(power: float, log_ranks_V: Floats) -> Floats:
    weights_V = np.exp(-power * log_ranks_V)
    return np.asarray(weights_V / weights_V.sum())


def _entropy(law_V: Floats) -> float:
    some_V = law_V[law_V > 0]
    return float(-(some_V * np.log(some_V)).sum())


def _green_rates(profile: Profile, law_V: Floats, rng: np.random.Generator) -> Floats:
    """(P,) how likely a green token is, over green lists."""
    gamma, delta = profile.parameters["gamma"], profile.parameters["delta"]
    green_P = np.array(
        [law_V[rng.random(len(law_V)) < gamma].sum() for _ in range(_POOL)], dtype=np.float64
    )
    raised_P = np.exp(delta) * green_P
    return np.asarray(raised_P / (raised_P + 1 - green_P))


def _tournament_scores(num_layers: int, law_V: Floats, rng: np.random.Generator) -> Floats:
    """(P,) bits that are 1 of the winner of a tournament, over keys."""
    scores_P = np.zeros(_POOL)
    for place in range(_POOL):
        bits_LV = rng.integers(0, 2, size=(num_layers, len(law_V)), dtype=np.int8)
        probs_V = law_V
        for bits_V in bits_LV:
            probs_V = probs_V * (1 + bits_V - bits_V @ probs_V)
        winner = min(int(np.searchsorted(np.cumsum(probs_V), rng.random())), len(law_V) - 1)
        scores_P[place] = bits_LV[:, winner].sum()
    return scores_P
