"""How the arena's report writes ranks, points and verdicts."""

from stillhouse.evaluate._arena._results import Claim, Contrast, PairResult, Standing
from stillhouse.evaluate._results import Estimate
from stillhouse.pages import MINUS, fixed

_EN_DASH = "\N{EN DASH}"
_VERDICTS = {"better": "better", "non_inferior": "no worse", "worse": "worse"}


def rank_text(standing: Standing) -> str:
    """`1`, or `1-3` with a dash where the intervals leave several ranks open."""
    best, worst = standing.best_rank, standing.worst_rank
    return str(best) if best == worst else f"{best}{_EN_DASH}{worst}"


def points(estimate: Estimate) -> str:
    """`1043 [1012, 1075]`."""
    value, low, high = (round(one) for one in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def signed_points(estimate: Estimate) -> str:
    """`+43 [-5, +90]`, with real minus signs."""
    value, low, high = (_signed(one) for one in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def claim_text(claim: Claim) -> str:
    """A verdict in a word or two, with what is missing where it is open."""
    if claim.verdict != "inconclusive":
        return _VERDICTS[claim.verdict]
    if claim.num_groups_needed is None:
        return "open"
    return f"open, about {claim.num_groups_needed:,} prompts would tell"


def contrast_text(pair: PairResult, contrast: Contrast) -> str:
    """What holds between two models, in one line."""
    claim, reverse = contrast.claim.verdict, contrast.reverse.verdict
    for name, ahead, behind in ((pair.a, claim, reverse), (pair.b, reverse, claim)):
        if ahead == "better":
            less = ", by less than the margin" if behind == "non_inferior" else ""
            return f"{name} is better{less}"
    if claim == reverse == "non_inferior":
        return "as good as each other, within the margin"
    if "non_inferior" in (claim, reverse):
        name = pair.a if claim == "non_inferior" else pair.b
        return f"{name} is no worse"
    return claim_text(contrast.claim)


def _signed(value: float) -> str:
    text = fixed(value, 0)
    return text if text.startswith(MINUS) or text == "0" else f"+{text}"
