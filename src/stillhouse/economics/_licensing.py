"""At which royalty a licence is cheaper than evading it.

Who evades pays E for it now, and the penalty P after T years with probability p. Who minds only the
mean, and discounts by the rate d a year, expects to pay

    E + p P (1 + d)^-T,

and takes a licence of R as soon as R is no more. So this is the highest royalty that sells; a buyer
who fears the loss would pay more. Solved for p or P it says what detection, or what penalty, a
given royalty needs. Source: anchors/protection.md, section 6 (royalty <= p_detect x penalty +
evasion cost), with the discount of G. S. Becker 1968, "Crime and Punishment", JPE 76(2), whose
expected penalty it is.
"""

from stillhouse.economics._range import check_amount, check_share
from stillhouse.errors import DataError


def discount(rate_per_year: float, years: float) -> float:
    """What a dollar in so many years is worth now: (1 + d)^-T, in (0, 1].

    Raises:
        DataError: the rate or the time is negative or not finite.
    """
    check_amount("The discount rate", rate_per_year)
    check_amount("The time until detection", years)
    return float((1 + rate_per_year) ** -years)


def royalty_ceiling(
    detection_probability: float,
    penalty_usd: float,
    evasion_usd: float,
    *,
    rate_per_year: float = 0.0,
    years: float = 0.0,
) -> float:
    """The highest royalty that is no dearer than evading, in US dollars.

    Args:
        detection_probability: p, in [0, 1].
        penalty_usd: P, due when detected.
        evasion_usd: E, spent on not being detected.
        rate_per_year: d; 0 counts the future like today.
        years: T, until the penalty is due.

    Raises:
        DataError: the probability is outside [0, 1], or an amount negative or not finite.
    """
    check_share("The probability of detection", detection_probability)
    check_amount("The penalty", penalty_usd)
    check_amount("The cost of evading", evasion_usd)
    return evasion_usd + detection_probability * penalty_usd * discount(rate_per_year, years)


def detection_needed(
    royalty_usd: float,
    penalty_usd: float,
    evasion_usd: float,
    *,
    rate_per_year: float = 0.0,
    years: float = 0.0,
) -> float | None:
    """The probability of detection from which on a royalty sells: (R - E) / (P (1 + d)^-T).

    Returns:
        In [0, 1]; None where even certain detection does not make it sell.

    Raises:
        DataError: an amount is negative or not finite.
    """
    check_amount("The royalty", royalty_usd)
    if royalty_usd <= evasion_usd:
        check_amount("The cost of evading", evasion_usd)
        return 0.0
    most = royalty_ceiling(1.0, penalty_usd, evasion_usd, rate_per_year=rate_per_year, years=years)
    # Above E it takes a penalty, so that the denominator is not 0 where the royalty is in reach.
    return None if most < royalty_usd else (royalty_usd - evasion_usd) / (most - evasion_usd)


def penalty_needed(
    royalty_usd: float,
    detection_probability: float,
    evasion_usd: float,
    *,
    rate_per_year: float = 0.0,
    years: float = 0.0,
) -> float | None:
    """The penalty from which on a royalty sells: (R - E) / (p (1 + d)^-T).

    Returns:
        US dollars; None where nothing is ever detected, and no penalty does.

    Raises:
        DataError: the probability is outside [0, 1], or an amount negative or not finite.
    """
    check_amount("The royalty", royalty_usd)
    check_amount("The cost of evading", evasion_usd)
    check_share("The probability of detection", detection_probability)
    if royalty_usd <= evasion_usd:
        return 0.0
    worth = detection_probability * discount(rate_per_year, years)
    if worth == 0:
        return None
    return (royalty_usd - evasion_usd) / worth


def share_of(royalty_usd: float, base_usd: float) -> float:
    """A royalty as a share of what it is taken from, such as what the student saves.

    Raises:
        DataError: an amount is negative or not finite, or there is nothing to take it from.
    """
    check_amount("The royalty", royalty_usd)
    check_amount("What a royalty is taken from", base_usd)
    if base_usd == 0:
        raise DataError("There is nothing that a royalty could be a share of. Give an amount.")
    return royalty_usd / base_usd
