"""How long must a text be for its mark to be found? Told before anything is generated.

Letters: R drawn texts, T tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from stillhouse.errors import ConfigError
from stillhouse.watermark._marked_scores import drawn_scores, gumbel_scores_of, zipf_law
from stillhouse.watermark._null_tail import critical_sums
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._scores import NullLaw
from stillhouse.watermark._window_scores import null_law

LENGTHS = (25, 50, 100, 200, 400, 800)
"""What a forecast tells of, unless others are asked for."""

_DRAWN_TEXTS = 4_000  # the chance of detection is then within 1.6 points at 95 %
_LONGEST_DRAWN = 2_000
_SEED = 20_261_129


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect of marked texts.

    Attributes:
        level: Chance of a false alarm.
        power: Chance of detection at each length, in tokens of text.
        target: The chance of detection that is wanted.
        tokens_needed: The shortest text with it; None where the scores carry no evidence.
        excess_per_token: Evidence of a scored token: its mean score above that of unmarked text.
        scored_fraction: Of the tokens of a text.
    """

    level: float
    power: dict[int, float]
    target: float
    tokens_needed: int | None
    excess_per_token: float
    scored_fraction: float


def forecast(
    profile: Profile,
    *,
    entropies_nats: Sequence[float] = (),
    probabilities: npt.ArrayLike | None = None,
    lengths: Sequence[int] = LENGTHS,
    level: float = 1e-3,
    target: float = 0.95,
    scored_fraction: float = 1.0,
) -> Forecast:
    """The chance of detection by length, and the length that a chance needs.

    One of the two must be given: what is known of the law that tokens are sampled from.

    Args:
        profile: How texts would be marked.
        entropies_nats: Of the sampled law, in nats; each token has one of them at random, and a
            Zipf-shaped law with it.
        probabilities: Of tokens that were sampled, under the law that they were sampled from
            (after temperature and nucleus); for the Gumbel schemes, which need no more.
        lengths: Tokens of text to tell the chance for.
        level: Chance of a false alarm.
        target: Chance of detection that is wanted.
        scored_fraction: Tokens that are left to be scored (`calibrate` measures it).

    Raises:
        ConfigError: a value is outside its range, or nothing or too much is given.
    """
    for name, value in (("level", level), ("target", target)):
        if not 0 < value < 1:
            raise ConfigError(f"{name}={value:g} is not between 0 and 1. Give a chance.")
    if not 0 < scored_fraction <= 1:
        raise ConfigError(f"scored_fraction={scored_fraction:g}; give more than 0, and at most 1.")
    if not lengths or min(lengths) < 1:
        raise ConfigError(
            f"lengths are {list(lengths)[:5]}; give at least one, of 1 token or more."
        )
    if (probabilities is None) == (not entropies_nats):
        raise ConfigError("Give either entropies or probabilities of sampled tokens.")
    rng = np.random.default_rng(_SEED)
    num_each = max(1, min(_LONGEST_DRAWN, round(max(lengths) * scored_fraction)))
    num_each = max(num_each, 400)
    if probabilities is not None:
        scores_RT = _of_probabilities(profile, probabilities, num_each, rng)
    else:
        scores_RT = _of_entropies(profile, entropies_nats, num_each, rng)
    null = null_law(profile)
    sums_RT = np.cumsum(scores_RT, axis=1)
    critical_T = critical_sums(null, np.arange(1, num_each + 1), np.log10(level))
    power_T = (sums_RT >= critical_T - 1e-9).mean(axis=0)
    mean, deviation = float(scores_RT.mean()), float(scores_RT.std())
    beyond = _Normal(null, mean, deviation, level)
    scored = [max(1, round(length * scored_fraction)) for length in lengths]
    power = [power_T[n - 1] if n <= num_each else beyond.power(n) for n in scored]
    # A coarse law's power goes up and down with the length: it must stay above from there on.
    is_enough_T = np.minimum.accumulate(power_T[::-1])[::-1] >= target
    needed: float | None = None
    if is_enough_T.any():
        needed = float(is_enough_T.argmax() + 1)
    elif mean > null.mean:
        needed = max(float(num_each), beyond.needed(target))
    return Forecast(
        level,
        {length: float(each) for length, each in zip(lengths, power, strict=True)},
        target,
        None if needed is None else int(np.ceil(needed / scored_fraction)),
        mean - null.mean,
        scored_fraction,
    )


@dataclass(frozen=True, slots=True)
class _Normal:
    """Sums so long that they are normal."""

    null: NullLaw
    mean: float
    deviation: float
    level: float

    def power(self, num_scored: int) -> float:
        from scipy.special import ndtr

        root = num_scored**0.5
        limit = self.null.mean * root - ndtri(self.level) * self.null.variance**0.5
        return float(ndtr((self.mean * root - limit) / max(self.deviation, 1e-12)))

    def needed(self, target: float) -> float:
        spread = -ndtri(self.level) * self.null.variance**0.5 + ndtri(target) * self.deviation
        return float((spread / (self.mean - self.null.mean)) ** 2)


def _of_entropies(
    profile: Profile, entropies_nats: Sequence[float], num_each: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    size = _DRAWN_TEXTS * num_each
    share = -(-size // len(entropies_nats))
    parts = [drawn_scores(profile, zipf_law(each), share, rng) for each in entropies_nats]
    scores = np.concatenate(parts)
    rng.shuffle(scores)
    return scores[:size].reshape(_DRAWN_TEXTS, num_each)


def _of_probabilities(
    profile: Profile, probabilities: npt.ArrayLike, num_each: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    if profile.scheme not in ("gumbel", "dual_gumbel"):
        raise ConfigError(
            f"The probabilities of sampled tokens do not tell the power of {profile.scheme}, which "
            "depends on the whole law. Give entropies."
        )
    given = np.asarray(probabilities, dtype=np.float64).ravel()
    if not given.size or not ((given > 0) & (given <= 1)).all():
        raise ConfigError(
            f"{given.size} probabilities were given, or one is not in (0, 1]. Give those of tokens "
            "that were sampled."
        )
    chosen = given[rng.integers(len(given), size=_DRAWN_TEXTS * num_each)]
    return gumbel_scores_of(profile, chosen, rng).reshape(_DRAWN_TEXTS, num_each)
