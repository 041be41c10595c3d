"""Whose key marked a text? One of many customers', or nobody's.

Letters: C customers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import ConfigError
from stillhouse.watermark._key import WatermarkKey
from stillhouse.watermark._keyed import check_customers, customer_profile
from stillhouse.watermark._ngrams import NgramFilter
from stillhouse.watermark._null_tail import log10_tail
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._window_scores import null_law, window_scores
from stillhouse.watermark._windows import windows


@dataclass(frozen=True, slots=True)
class Candidate:
    """A customer with the p-value of their key.

    Attributes:
        customer: Their name.
        log10_p: Of their key alone.
        log10_adjusted_p: Corrected for the number of customers (Holm).
    """

    customer: str
    log10_p: float
    log10_adjusted_p: float


@dataclass(frozen=True, slots=True)
class Identification:
    """Whose marks a text bears.

    Attributes:
        found: Customers at or below the level, the surest first; usually none or one.
        next: The likeliest customers after them, with their p-values: what the others look like.
        num_customers: How many keys were tried.
        num_scored: Tokens that were counted.
        level: How likely it may be that anybody is named whose key is not in the text.
    """

    found: tuple[Candidate, ...]
    next: tuple[Candidate, ...]
    num_customers: int
    num_scored: int
    level: float


def identify(
    ids: npt.ArrayLike,
    profile: Profile,
    key: WatermarkKey,
    customers: Sequence[str],
    *,
    prompt: npt.ArrayLike | None = None,
    common: NgramFilter | None = None,
    level: float = 1e-3,
) -> Identification:
    """Test the keys of all customers on one text.

    Args:
        ids: Token ids, by the profile's tokenizer.
        profile: Of the deployment or of any of its customers: what they share.
        key: From which their keys are derived.
        customers: Their names, each once.
        prompt: What the text answers.
        common: N-grams not to be counted.
        level: Chance that anybody is named wrongly, over all customers.

    Raises:
        ConfigError: no customer, one that is given twice, or as in `detect_many`.
        DataError, ShapeError: as in `detect_many`.
    """
    if not customers or len(set(customers)) != len(customers):
        raise ConfigError(
            f"{len(customers)} customers were given, {len(set(customers))} of them different. Give "
            "at least one, and each once."
        )
    if not 0 < level < 1:
        raise ConfigError(f"level={level} is no chance. Give one between 0 and 1, such as 0.001.")
    check_customers(profile)
    if common is not None:
        common.check_tokenizer(profile.tokenizer_sha256)
    prompts = None if prompt is None else [prompt]
    found = windows([ids], width=profile.context_width, prompts=prompts, common=common)
    sums_C = np.array(
        [
            window_scores(customer_profile(profile, key, customer), key, found).sum()
            for customer in customers
        ]
    )
    log10_p_C = log10_tail(null_law(profile), sums_C, np.full(len(sums_C), len(found.ids_N)))
    order_C = np.argsort(log10_p_C, kind="stable")
    steps_C = np.log10(np.arange(len(order_C), 0, -1))
    # Holm's step-down in logarithms: p-values may be too small for a float.
    adjusted_C = np.minimum(np.maximum.accumulate(log10_p_C[order_C] + steps_C), 0.0)
    adjusted_C += 0.0  # and not -0.0
    ranked = [
        Candidate(customers[place], float(log10_p_C[place]), float(adjusted))
        for place, adjusted in zip(order_C, adjusted_C, strict=True)
    ]
    num_found = int((adjusted_C <= np.log10(level)).sum())
    return Identification(
        tuple(ranked[:num_found]),
        tuple(ranked[num_found : num_found + 3]),
        len(customers),
        len(found.ids_N),
        level,
    )
