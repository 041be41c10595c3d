"""What a scan found, in sentences."""

from collections.abc import Sequence

from stillhouse.pipeline._scan_results import PartResult
from stillhouse.statistics import Interval

_NEARLY_ALL = 0.99  # of the prompts
_FEWEST_TO_SAY = 10  # prompts: a few that are answered alike are no surprise
_MAX_ANSWER_CHARS = 40


def verdict_of(parts: Sequence[PartResult], *, target: float, confidence: float) -> str:
    """One sentence on the whole log, with a second one on what to do next."""
    promised = [part for part in parts if part.promise is not None]
    if not promised:
        return f"No promise. {_largest(parts).refusal}"
    low, high = (
        sum(
            part.share_of_calls * getattr(part.promise.share, end)
            for part in promised
            if part.promise is not None
        )
        for end in ("low", "high")
    )
    return (
        f"A small student could answer {low:.0%} to {high:.0%} of this traffic, and agree with the "
        f"teacher in at least {target:.0%} of what it answers ({confidence:.0%} confidence)."
    )


def promise_text(part: PartResult) -> str:
    """What is promised of one part, or why nothing is."""
    promise = part.promise
    if promise is None:
        return part.refusal or ""
    share, agreement = promise.share, promise.agreement
    text = (
        f"{promise.student} answers {share.value:.0%} [{share.low:.0%}, {share.high:.0%}], "
        f"{agreement.value:.1%} of it as the teacher (at least {agreement.low:.1%}; n = "
        f"{promise.num_tested:,})"
    )
    saving = promise.saving_usd_per_1000_calls
    if saving is None:
        return text
    return (
        f"{text}; saves ${saving.value:.4g} [{saving.low:.4g}, {saving.high:.4g}] per 1,000 calls"
    )


def sameness_note(answer: str, share: Interval) -> str | None:
    """What to know of a part whose answers are nearly all the same; None where they are not."""
    if share.value < _NEARLY_ALL or share.n < _FEWEST_TO_SAY:
        return None
    times = round(share.value * share.n)
    return (
        f"{times:,} of {share.n:,} prompts ({share.value:.1%}) have the same answer, "
        f"{answer[:_MAX_ANSWER_CHARS]!r}. Always saying it agrees as often, so no figure here says "
        "whether a student would find the others. Check that this is the right log and that its "
        "prompts ask what you mean. If so, no model is needed for them; or scan a log with more "
        "of the other answers."
    )


def _largest(parts: Sequence[PartResult]) -> PartResult:
    return max(parts, key=lambda part: part.num_calls)
