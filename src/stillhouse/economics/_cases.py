"""Copying beside training, and licensing beside evading, for the figures of a chain."""

import math

from stillhouse.economics._copying import copying_ratio, harvest_usd
from stillhouse.economics._drivers import DOUBLE, HALF, widest_first
from stillhouse.economics._inputs import Inputs
from stillhouse.economics._licensing import detection_needed, royalty_ceiling, share_of
from stillhouse.economics._range import Range, exactly
from stillhouse.economics._records import Copying, Licensing, Swing

_LICENCE_INPUTS = (
    ("detection_probability", "chance of detection", "probability"),
    ("penalty_usd", "penalty", "USD"),
    ("evasion_usd", "cost of evading", "USD"),
    ("rate_per_year", "discount rate", "share per year"),
    ("years", "time until the penalty", "years"),
)


def copying_of(inputs: Inputs) -> tuple[Copying, ...]:
    """This chain, then the scenarios."""
    spent, training = inputs.calls_usd, inputs.given.teacher_training_usd
    copy = None if spent is None else exactly(spent)
    trained = None if training is None else exactly(training)
    ratio = None
    if spent is not None and training is not None:
        ratio = exactly(copying_ratio(spent, training))
    first = Copying(name="this chain", copy_usd=copy, training_usd=trained, ratio=ratio)
    return (first, *(_scenario(name, inputs) for name in inputs.given.copying))


def licensing_of(inputs: Inputs, *, saving_usd: float | None, forgone: Range | None) -> Licensing:
    """The highest royalty that sells, and what detection would make the owner whole."""
    given = inputs.given
    penalty = inputs.calls_usd if given.penalty_usd is None else given.penalty_usd
    later = {"rate_per_year": given.discount_rate_per_year, "years": given.years_to_penalty}
    ceiling = discounted = needed = None
    if penalty is not None:
        ceiling = royalty_ceiling(given.detection_probability, penalty, given.evasion_usd)
        discounted = royalty_ceiling(
            given.detection_probability, penalty, given.evasion_usd, **later
        )
        if forgone is not None:
            needed = detection_needed(forgone.value, penalty, given.evasion_usd, **later)
    rows = inputs.chain.num_rows
    saved = None if saving_usd is None else saving_usd * given.requests
    return Licensing(
        detection_probability=given.detection_probability,
        penalty_usd=penalty,
        evasion_usd=given.evasion_usd,
        ceiling_usd=ceiling,
        discounted_usd=discounted,
        per_row_usd=discounted / rows if discounted is not None and rows else None,
        per_request_usd=None if discounted is None else discounted / given.requests,
        share_of_saving=(
            share_of(discounted, saved)
            if discounted is not None and saved is not None and saved > 0
            else None
        ),
        forgone_usd=None if forgone is None else forgone.value,
        detection_needed=needed,
    )


def licence_swings_of(inputs: Inputs) -> tuple[Swing, ...]:
    """The highest royalty that sells with half and with twice each input; none without a penalty.

    A probability is doubled to 1 at most. Inputs of 0 have no half, and are left out.
    """
    given = inputs.given
    penalty = inputs.calls_usd if given.penalty_usd is None else given.penalty_usd
    if penalty is None:
        return ()
    now = {
        "detection_probability": given.detection_probability,
        "penalty_usd": penalty,
        "evasion_usd": given.evasion_usd,
        "rate_per_year": given.discount_rate_per_year,
        "years": given.years_to_penalty,
    }

    def at(name: str, by: float) -> float:
        most = 1.0 if name == "detection_probability" else math.inf
        return royalty_ceiling(**{**now, name: min(by * now[name], most)})

    return widest_first(
        Swing(
            name=words,
            unit=unit,
            value=now[name],
            half=at(name, HALF),
            double=at(name, DOUBLE),
        )
        for name, words, unit in _LICENCE_INPUTS
        if now[name] > 0
    )


def _scenario(name: str, inputs: Inputs) -> Copying:
    one = inputs.given.copying[name]
    copy = harvest_usd(one.exchanges, one.output_tokens, one.usd_per_million)
    # The middle of amounts that differ by powers of ten is their geometric one.
    middle = math.sqrt(one.training_usd_low) * math.sqrt(one.training_usd_high)
    low, high = one.training_usd_low, one.training_usd_high
    training = Range(value=min(max(middle, low), high), low=low, high=high)
    return Copying(
        name=name,
        copy_usd=exactly(copy),
        training_usd=training,
        ratio=Range(
            value=copying_ratio(copy, training.value),
            low=copying_ratio(copy, training.high),
            high=copying_ratio(copy, training.low),
        ),
    )
