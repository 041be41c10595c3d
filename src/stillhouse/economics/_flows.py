"""Who pays whom for what, and who bears what is no payment, over so many requests."""

from collections.abc import Iterator, Sequence

from stillhouse.economics._chain import ORDER
from stillhouse.economics._inputs import Inputs
from stillhouse.economics._range import Range, exactly, product
from stillhouse.economics._records import PARTIES, Basis, Effect, Flow, Party

MAKER, OPERATOR, OWNER, OUTSIDE, USERS, AUTHORS = PARTIES
_SECONDS_PER_HOUR = 3_600


def flows_of(inputs: Inputs, refresh_usd: Range | None) -> tuple[Flow, ...]:
    """Every payment, whether its amount is known or not."""
    return (
        *_spent_first(inputs),
        *_spent_by_request(inputs, refresh_usd),
        *_of_the_owner(inputs),
        Flow(
            item="licence or royalty",
            payer=MAKER,
            receiver=OWNER,
            usd=None,
            basis="unrecorded",
            how="no record of this chain speaks of one",
        ),
        Flow(
            item="what the teacher learnt from",
            payer=OWNER,
            receiver=AUTHORS,
            usd=None,
            basis="unrecorded",
            how="no record of this chain speaks of a payment to them, by anyone",
        ),
    )


def parties_of(flows: Sequence[Flow]) -> tuple[Party, ...]:
    """What each party pays and earns in all flows."""
    return tuple(
        Party(
            name=name,
            pays_usd=sum(one.usd.value for one in flows if one.payer == name and one.usd),
            earns_usd=sum(one.usd.value for one in flows if one.receiver == name and one.usd),
            num_unknown=sum(one.usd is None and name in (one.payer, one.receiver) for one in flows),
        )
        for name in PARTIES
    )


def effects_of(inputs: Inputs) -> tuple[Effect, ...]:
    """What somebody bears or loses without a payment."""
    given = inputs.given
    number = f"{given.requests:,.0f}"
    return (
        Effect(
            name="answers that the teacher no longer sells",
            bearer=OWNER,
            usd=forgone_usd(inputs),
            how=f"of {number} requests those that the student answers alone, at its price",
        ),
        _unpaid_research(inputs),
        Effect(
            name="waiting for marked answers",
            bearer=USERS,
            usd=_waiting_usd(inputs),
            how=_waiting_words(inputs),
        ),
        Effect(
            name="honest requests refused by mistake",
            bearer=USERS,
            usd=_times(inputs.teacher_paid_usd, given.requests * given.refused_share),
            how=f"{given.refused_share:.2%} of {number} requests of others to the teacher, each "
            "worth its price at least",
        ),
        Effect(
            name="work that the teacher was trained on",
            bearer=AUTHORS,
            usd=None,
            how="its use by teacher and student is paid by nobody in this chain; what it is worth "
            "is in no record",
        ),
    )


def forgone_usd(inputs: Inputs) -> Range | None:
    """What the owner no longer earns over the requests, before the cost of computing it."""
    share, price = inputs.teacher_share, inputs.teacher_paid_usd
    if share is None or price is None:
        return None
    alone = Range(value=1 - share.value, low=1 - share.high, high=1 - share.low)
    return product(alone, price, exactly(inputs.given.requests))


def _spent_first(inputs: Inputs) -> Iterator[Flow]:
    calls = inputs.chain.calls
    tokens = f"{calls.prompt_tokens:,} tokens read and {calls.completion_tokens:,} written"
    yield Flow(
        item="labelling calls",
        payer=MAKER,
        receiver=OWNER,
        usd=_exactly(inputs.calls_usd),
        basis=_basis(inputs.calls_usd, "logged" if calls.total_usd is not None else "computed"),
        how=f"{calls.num_calls:,} calls, {tokens}",
    )
    seconds = inputs.seconds
    for purpose in ("labelling", *ORDER):
        if purpose in seconds:
            yield _machine(inputs, purpose, seconds[purpose])
    if inputs.stages_usd != 0:
        yield Flow(
            item="paid by stages",
            payer=MAKER,
            receiver=OUTSIDE,
            usd=_exactly(inputs.stages_usd),
            basis=_basis(inputs.stages_usd, "logged"),
            how="to judges and other services",
        )
    given = inputs.given
    yield Flow(
        item="people's work",
        payer=MAKER,
        receiver=OUTSIDE,
        usd=_exactly(inputs.people_usd),
        basis=_basis(inputs.people_usd, "assumed"),
        how=f"{given.curation_hours:g} hours of curation and {given.governance_hours:g} of "
        "governance, as was given; nothing logs them",
    )


def _machine(inputs: Inputs, purpose: str, seconds: float) -> Flow:
    return Flow(
        item=f"{purpose}: machines",
        payer=MAKER,
        receiver=OUTSIDE,
        usd=inputs.machine(seconds),
        basis="computed",
        how=f"{seconds:,.1f} s x {inputs.cores} cores x {inputs.given.usd_per_core_hour:g} USD an "
        "hour",
    )


def _spent_by_request(inputs: Inputs, refresh_usd: Range | None) -> Iterator[Flow]:
    number = inputs.given.requests
    student = _times(inputs.student_usd, number)
    yield Flow(
        item="serving the student",
        payer=OPERATOR,
        receiver=OUTSIDE,
        usd=student,
        basis=_basis(student, "computed"),
        how=f"{number:,.0f} requests; {inputs.student_source}",
    )
    asked = None
    if inputs.teacher_share is not None and inputs.teacher_paid_usd is not None:
        asked = product(inputs.teacher_share, inputs.teacher_paid_usd, exactly(number))
    yield Flow(
        item="falling back to the teacher",
        payer=OPERATOR,
        receiver=OWNER,
        usd=asked,
        basis=_basis(asked, "computed"),
        how=f"share of requests: {inputs.share_source}",
    )
    if inputs.teacher_seconds and inputs.teacher_share is not None:
        own = inputs.machine(inputs.teacher_seconds)
        yield Flow(
            item="falling back to the teacher: machines",
            payer=OPERATOR,
            receiver=OUTSIDE,
            usd=product(inputs.teacher_share, own, exactly(number)),
            basis="computed",
            how="the teacher runs on the maker's own machines",
        )
    if refresh_usd is None or refresh_usd.value > 0:
        refreshed = _times(refresh_usd, number)
        yield Flow(
            item="refreshing the student",
            payer=OPERATOR,
            receiver=MAKER,
            usd=refreshed,
            basis=_basis(refreshed, "assumed"),
            how="a share of what was spent at first, every so many requests",
        )


def _of_the_owner(inputs: Inputs) -> Iterator[Flow]:
    margin = inputs.given.teacher_margin
    computing = None
    if margin is not None and inputs.calls_usd is not None:
        computing = (1 - margin) * inputs.calls_usd
    yield Flow(
        item="computing the labelling calls",
        payer=OWNER,
        receiver=OUTSIDE,
        usd=_exactly(computing),
        basis=_basis(computing, "assumed"),
        how="their price without the margin" if margin is not None else "teacher_margin is unknown",
    )
    protection = inputs.given.protection_usd
    yield Flow(
        item="protection",
        payer=OWNER,
        receiver=OUTSIDE,
        usd=_exactly(protection),
        basis=_basis(protection, "assumed"),
        how="watching traffic, testing suspects, disputes"
        + ("" if protection is not None else "; protection_usd is unknown"),
    )


def _unpaid_research(inputs: Inputs) -> Effect:
    """What these calls would have to bring in for research and training, beside their price."""
    spent, over = inputs.given.teacher_training_usd, inputs.given.teacher_requests
    usd = None
    if spent is not None and over is not None:
        usd = exactly(inputs.chain.calls.num_calls * spent / over)
    return Effect(
        name="the calls' part of the teacher's research and training",
        bearer=OWNER,
        usd=usd,
        how="calls x teacher_training_usd / teacher_requests; a call's price pays for inference, "
        "and for this only with its margin",
    )


def _waiting_seconds(inputs: Inputs) -> float | None:
    times = inputs.chain.calls.seconds_N
    if not times:
        return None
    return sum(times) / len(times) * inputs.given.slowdown_share


def _waiting_usd(inputs: Inputs) -> Range | None:
    seconds, price = _waiting_seconds(inputs), inputs.given.usd_per_user_hour
    if seconds is None or price is None:
        return None
    return exactly(inputs.given.requests * seconds * price / _SECONDS_PER_HOUR)


def _waiting_words(inputs: Inputs) -> str:
    seconds = _waiting_seconds(inputs)
    if seconds is None:
        return "no call has a logged time"
    hours = inputs.given.requests * seconds / _SECONDS_PER_HOUR
    words = (
        f"{1_000 * seconds:.3g} ms more for each of {inputs.given.requests:,.0f} requests of "
        f"others to the teacher, {hours:,.3g} hours in all"
    )
    priced = inputs.given.usd_per_user_hour is not None
    return words if priced else f"{words}; usd_per_user_hour is unknown"


def _times(price: Range | None, number: float) -> Range | None:
    return None if price is None else product(price, exactly(number))


def _exactly(value: float | None) -> Range | None:
    return None if value is None else exactly(value)


def _basis(amount: object | None, basis: Basis) -> Basis:
    return "unknown" if amount is None else basis
