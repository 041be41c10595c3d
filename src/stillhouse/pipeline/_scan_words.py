"""What a scan found, in sentences."""

from collections.abc import Sequence

from stillhouse.pipeline._scan_results import PartResult


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


def _largest(parts: Sequence[PartResult]) -> PartResult:
    return max(parts, key=lambda part: part.num_calls)
