"""What share of marked text in the training of a suspect would be seen.

The calculation is for the test of tokens that a suspect writes or ranks first. A suspect of which a
share s of the choices follows the marked law scores s times what marked text scores, so

    z = s effect sqrt(contexts) / sd,

where `effect` is the mean centred score of marked text. How much of the marked law a student takes
over is `transfer`: 1 is perfect imitation, and it is measured on a student that is known.
"""

import math

from scipy.special import ndtri
from scipy.stats import norm

from stillhouse.errors import ConfigError
from stillhouse.statistics import ScoreLaw


def detectable_share(
    effect: float,
    law: ScoreLaw,
    num_contexts: int,
    *,
    level: float = 1e-3,
    power: float = 0.8,
    transfer: float = 1.0,
) -> float | None:
    """The smallest share of marked text that is found at `level` with probability `power`.

    Returns:
        A share in (0, 1], or None where not even text that is all marked would be found.

    Raises:
        ConfigError: a number is outside its range.
    """
    _check(effect, level, power, transfer)
    if num_contexts < 1:
        return None
    needed = -ndtri(level) + ndtri(power)
    share = needed * math.sqrt(law.variance / num_contexts) / (effect * transfer)
    return share if share <= 1 else None


def contexts_needed(
    effect: float,
    law: ScoreLaw,
    share: float,
    *,
    level: float = 1e-3,
    power: float = 0.8,
    transfer: float = 1.0,
) -> int:
    """How many contexts find a share of marked text.

    Raises:
        ConfigError: a number is outside its range.
    """
    _check(effect, level, power, transfer)
    if not 0 < share <= 1:
        raise ConfigError(f"share={share:g}: give a share of marked text above 0 and at most 1.")
    needed = -ndtri(level) + ndtri(power)
    return math.ceil(needed**2 * law.variance / (share * transfer * effect) ** 2)


def expected_log10_p(
    effect: float, law: ScoreLaw, share: float, num_contexts: int, *, transfer: float = 1.0
) -> float:
    """The log10 p to expect of so many contexts, by a normal tail.

    Raises:
        ConfigError: a number is outside its range.
    """
    _check(effect, 0.5, 0.5, transfer)
    z = share * transfer * effect * math.sqrt(num_contexts / law.variance)
    return float(norm.logsf(z)) / math.log(10)


def _check(effect: float, level: float, power: float, transfer: float) -> None:
    if not effect > 0:
        raise ConfigError(
            f"effect={effect:g}: marked text must score above unmarked text. Are the texts marked "
            "with this profile and key?"
        )
    if not (0 < level < 1 and 0 < power < 1 and 0 < transfer <= 1):
        raise ConfigError(
            f"level={level:g}, power={power:g}, transfer={transfer:g}: give shares between 0 and 1."
        )
