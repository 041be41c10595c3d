"""The scan as one HTML file, in the look of the reports."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

from stillhouse.pages import Figure, Tile, duration, money, page_environment, utc_text
from stillhouse.pipeline._scan_results import PartResult, ScanResults
from stillhouse.pipeline._scan_words import promise_text
from stillhouse.pipeline._yield_chart import CurveChart, Measure
from stillhouse.statistics import CallsFor, Interval

_KINDS = {
    "classification": "answers are labels",
    "extraction": "answers are JSON",
    "text": "answers are free text",
}


@dataclass(frozen=True)
class Fact:
    """One figure of a part."""

    label: str
    value: str
    detail: str = ""


def render_scan(results: ScanResults, *, command: str) -> str:
    """The page as text, to be written as UTF-8.

    Args:
        results: What was found.
        command: What a reader types to get the same results.
    """
    environment = page_environment("stillhouse.pipeline")
    beyond = ""
    if results.num_prompts_beyond:
        beyond = (
            f"{results.num_prompts_beyond:,} prompts belong to smaller parts, of which nothing is "
            "said. Scan with --set max_parts=N to see more of them."
        )
    return environment.get_template("_scan.html.jinja").render(
        # The shared head shows the title of whatever was measured.
        results=SimpleNamespace(title=f"Scan of {results.source}", verdict=results.verdict),
        created=utc_text(results.created_utc),
        seconds=duration(results.seconds),
        tiles=_tiles(results),
        parts=[_part(part, results) for part in results.parts],
        beyond=beyond,
        command=command,
        environment={
            "source": results.source,
            "SHA-256 of the manifest": results.manifest_sha256[:16],
            "answered by": ", ".join(list(results.models)[:3]) or "unknown",
        },
    )


def _tiles(results: ScanResults) -> list[Tile]:
    promised = results.promised_share
    target = f"at {results.target:.0%} agreement, {results.confidence:.0%} sure"
    tiles = [
        Tile("Promised share of calls", "none", (target,))
        if promised is None
        else Tile("Promised share of calls", _range(promised), (target,))
    ]
    savings = [
        (part.share_of_calls, part.promise.saving_usd_per_1000_calls)
        for part in results.parts
        if part.promise is not None and part.promise.saving_usd_per_1000_calls is not None
    ]
    if savings:
        low = sum(weight * saving.low for weight, saving in savings)
        high = sum(weight * saving.high for weight, saving in savings)
        tiles.append(
            Tile("Saving in 1,000 calls", f"{money(low)} to {money(high)}", ("at logged prices",))
        )
    repeated = f"{results.repeated_fraction:.0%} repeat an earlier prompt"
    tiles.append(Tile("Calls in the log", f"{results.num_calls:,}", (repeated,)))
    looked_at = f"{results.num_scanned:,} were looked at"
    tiles.append(Tile("Distinct prompts", f"{results.num_prompts:,}", (looked_at,)))
    priced = f"{results.num_priced:,} calls with a price"
    tiles.append(Tile("Paid for the log", money(results.cost_usd), (priced,)))
    return tiles


def _part(part: PartResult, results: ScanResults) -> SimpleNamespace:
    share = f"{part.share_of_calls:.0%} of the calls that were looked at"
    given = "as the task says" if part.is_given else "as the answers tell"
    return SimpleNamespace(
        title=part.name,
        lede=f"{share}, {part.num_prompts:,} prompts; {_KINDS[part.kind]}, {given}.",
        begins=part.begins,
        promise=promise_text(part),
        facts=list(_facts(part)),
        figure=curve_figure(part, results.target),
        note=_note(part),
        notes=part.notes,
    )


def _facts(part: PartResult) -> Iterator[Fact]:
    for tried in part.tried:
        yield Fact(f"{tried.student}, if it answered everything", *_estimate(tried.agreement))
    if part.most_frequent_share is not None:
        shown = f"{part.most_frequent_share.value:.0%}"
        yield Fact("always the most frequent answer", shown, f"'{part.most_frequent}'")
    if part.self_agreement is not None:
        yield Fact("the teacher with itself", *_estimate(part.self_agreement))
    yield Fact("distinct answers", f"{part.num_distinct_answers:,}")
    if part.num_invalid:
        yield Fact("prompts without a valid answer", f"{part.num_invalid:,}")
    if part.cost_usd_per_call is not None:
        cost = part.cost_usd_per_call
        yield Fact("cost of a call", money(cost.value), f"{money(cost.low)} to {money(cost.high)}")
    if part.prompts_to_learn is not None:
        yield Fact("prompts to learn the target from", *_to_learn(part.prompts_to_learn))
    if part.prompts_needed is not None:
        yield Fact("prompts that might do", f"about {part.prompts_needed:,}")
    if part.task_file is not None:
        yield Fact("as a task", part.task_file, "to be read and corrected")


def curve_figure(part: PartResult, target: float) -> Figure | None:
    """The learning curve of a part; None where there is none."""
    if not part.curve:
        return None
    measured = [_measure(one.num_rows, one.agreement) for one in part.curve]
    fitted = [_measure(one.num_rows, one.agreement) for one in part.forecast]
    seen = ", ".join(f"{one.value:.0%} with {one.x:,.0f}" for one in measured)
    return CurveChart(
        measured=measured,
        fitted=fitted,
        target=target,
        x_label="prompts to learn from",
        y_label="agreement with the teacher",
        label=f"Agreement by prompts to learn from: {seen}",
    ).figure()


def _measure(num_rows: int, agreement: Interval) -> Measure:
    return Measure(float(num_rows), agreement.value, agreement.low, agreement.high)


def _note(part: PartResult) -> str:
    note = "Points: prompts that were held out from the student in turn, with 95 % intervals."
    if part.forecast:
        note += " Line: the curve that fits them, with its 95 % band; dashed beyond what was seen."
    return note


def _estimate(interval: Interval) -> tuple[str, str]:
    return f"{interval.value:.1%}", f"[{interval.low:.1%}, {interval.high:.1%}], n = {interval.n:,}"


def _to_learn(needed: CallsFor) -> tuple[str, str]:
    """With which a student that answers everything would reach the target, by the curve."""
    if needed.value is None:
        return "not in sight", "" if needed.low is None else f"{needed.low:,.0f} at the earliest"
    low = "?" if needed.low is None else f"{needed.low:,.0f}"
    high = "no end" if needed.high is None else f"{needed.high:,.0f}"
    return f"about {float(f'{needed.value:.2g}'):,.0f}", f"[{low}, {high}]"


def _range(interval: Interval) -> str:
    return f"{interval.low:.0%} to {interval.high:.0%}"
