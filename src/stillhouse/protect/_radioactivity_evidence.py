"""A test for radioactivity as evidence: every sentence that the report says."""

from stillhouse.protect._evidence import Evidence, EvidenceTable, KeyFigure, Strip
from stillhouse.protect._results import STATISTICS, RadioactivityResults
from stillhouse.protect._test import KeyTest
from stillhouse.protect._words import p_text, share_text

_MOST_SHOWN = 20  # customers in the table; evidence.json has all
_LIKE_THE_TEACHER = 0.5


def radioactivity_evidence(
    results: RadioactivityResults, *, inputs: dict[str, str], command: str
) -> Evidence:
    """What a test found, in words.

    Args:
        results: Of `find_radioactivity`.
        inputs: Fingerprints of what it read, by name.
        command: That makes it again.
    """
    primary = results.tests[results.primary]
    return Evidence(
        title=f"Radioactivity of {results.suspect}",
        verdict=_verdict(results),
        is_found=results.is_found,
        null_hypothesis=(
            f"Nothing in the training of {results.suspect} depends on the key of the watermark "
            f"{results.profile_id[:12]} ({results.scheme})."
        ),
        statistic=f"{results.primary}: {STATISTICS[results.primary]}.",
        log10_p=_deciding(results),
        level=results.level,
        num_observations=primary.num_contexts,
        figures=_figures(results, primary),
        shows=_shows(results),
        strip=_strip(results, primary),
        tables=_tables(results),
        assumptions=_assumptions(results),
        controls=_controls(results),
        not_shown=_not_shown(results),
        inputs=inputs,
        created_utc=results.created_utc,
        command=command,
        results=results.model_dump(mode="json"),
    )


def _deciding(results: RadioactivityResults) -> float:
    return min([results.log10_p, *(one.log10_p_adjusted for one in results.customers)])


def _verdict(results: RadioactivityResults) -> str:
    p = p_text(_deciding(results))
    if results.is_found:
        return f"{results.suspect} learnt from text with this mark (p = {p})."
    if results.detectable_share is None:
        return (
            f"No sign of this mark in {results.suspect} (p = {p}); this test may have been blind."
        )
    return (
        f"No sign of this mark in {results.suspect} (p = {p}); from about "
        f"{share_text(results.detectable_share)} of its choices on, the mark would show."
    )


def _figures(results: RadioactivityResults, primary: KeyTest) -> tuple[KeyFigure, ...]:
    counts = results.counts
    found = [
        KeyFigure(
            label="p-value",
            value=p_text(_deciding(results)),
            details=(f"level {results.level:g}", f"z = {primary.z:.1f}"),
        ),
        KeyFigure(
            label="Contexts",
            value=f"{primary.num_contexts:,}",
            details=(f"{counts.texts:,} texts", "each counts once"),
        ),
    ]
    if results.decoys is not None:
        found.append(
            KeyFigure(
                label="Decoy keys",
                value=f"{results.decoys.num_above} of {results.decoys.num_keys}",
                details=("as far out as the real key",),
            )
        )
    found.append(
        KeyFigure(
            label="Visible from",
            value=share_text(results.detectable_share),
            details=("of choices that follow the mark",),
        )
    )
    if counts.aligned_share < 1:
        found.append(
            KeyFigure(
                label="Aligned",
                value=f"{counts.aligned_share:.0%}",
                details=(f"shared vocabulary {results.shared_share:.0%}",),
            )
        )
    return tuple(found)


def _shows(results: RadioactivityResults) -> tuple[tuple[str, str], ...]:
    if results.is_found:
        data = (
            f"Yes, at level {results.level:g}. What {results.suspect} favours follows a secret key "
            "that it could not know, as models do that learnt from text marked with that key."
        )
        who = (
            "This test cannot say. The text may have come from an account of this service, from a "
            "data set or the open web where somebody put it, or from a model that learnt from it "
            "in turn. Records of accounts and contracts, and keys of single customers, can."
        )
    else:
        data = (
            f"Not shown at level {results.level:g}. That is no proof that there was none: a small "
            "share, a paraphrase or a removal of the mark leaves too little."
        )
        who = "The question does not arise from this test."
    named = [one.customer for one in results.customers if one.log10_p_adjusted < _log10(results)]
    if results.customers:
        whose = (
            f"Under the key of {', '.join(named)} the mark shows, after correction for "
            f"{len(results.customers)} customers and the profile's own key: text that was written "
            "for that account was in the training. Who brought it there is another question."
            if named
            else f"Under none of {len(results.customers)} customers' keys the mark shows."
        )
        return (
            ("Was marked text in its training?", data),
            ("Written for whom?", whose),
            ("Who put it there?", who),
        )
    return (("Was marked text in its training?", data), ("Who put it there?", who))


def _log10(results: RadioactivityResults) -> float:
    from math import log10

    return log10(results.level)


def _strip(results: RadioactivityResults, primary: KeyTest) -> Strip | None:
    if results.decoys is None:
        return None
    best = sorted(results.customers, key=lambda one: -one.test.z)[:2]
    return Strip(
        title="The real key among keys that nobody used",
        axis="standard deviations from what chance gives",
        ordinary=results.decoys.z,
        ordinary_label=f"the same test under {results.decoys.num_keys} decoy keys",
        marked=(("the key", primary.z), *((one.customer, one.test.z) for one in best)),
    )


def _tables(results: RadioactivityResults) -> tuple[EvidenceTable, ...]:
    header = ("statistic", "z", "p", "p at most", "contexts", "count as")
    rows = tuple(
        (
            f"{name}{' (decides)' if name == results.primary else ''}",
            f"{test.z:.2f}",
            p_text(test.log10_p),
            p_text(test.log10_bound),
            f"{test.num_contexts:,}",
            f"{test.effective:,.0f}",
        )
        for name, test in results.tests.items()
    )
    tests = EvidenceTable(
        title="All statistics",
        header=header,
        rows=rows,
        note="One decides, chosen by what was at hand and not by its result. 'p at most' is "
        "Chernoff's bound, which holds for any number of contexts; 'count as' is how many equal "
        "weights would vary as much.",
    )
    if not results.customers:
        return (tests,)
    ranked = sorted(results.customers, key=lambda one: one.test.log10_p)
    customers = EvidenceTable(
        title="Keys of customers",
        header=("customer", "z", "p", "p after Holm"),
        rows=tuple(
            (
                one.customer,
                f"{one.test.z:.2f}",
                p_text(one.test.log10_p),
                p_text(one.log10_p_adjusted),
            )
            for one in ranked[:_MOST_SHOWN]
        ),
        note=f"{len(ranked)} were tried; evidence.json has all."
        if len(ranked) > _MOST_SHOWN
        else "",
    )
    return (tests, customers)


def _assumptions(results: RadioactivityResults) -> tuple[str, ...]:
    lines = [
        "The key was drawn at random and kept secret; whoever trained the suspect did not have it.",
        "Keyed scores behave as independent random numbers: the published function passes for "
        "that, and its HMAC mode rests on SHA-256.",
    ]
    if results.access == "open":
        lines.append(
            "The texts that the suspect read were chosen without the key's scores. Marked texts "
            "depend on the key; contexts that stand earlier in a text do not count, so that "
            "what a suspect copies from them is no evidence."
        )
    else:
        lines.append(
            "The answers are the suspect's own. If its outputs are marked when they are served, "
            "with this key, the test finds that and says nothing about training."
        )
    if results.reference is not None:
        lines.append(
            f"Nothing is assumed of {results.reference}: a reference that saw marked text itself "
            "costs power and cannot make an innocent suspect look guilty."
        )
    return tuple(lines)


def _controls(results: RadioactivityResults) -> tuple[str, ...]:
    counts = results.counts
    lines = [
        f"Each context counted once in all texts: {counts.windows:,} of {counts.tokens:,} tokens.",
        "The p-value is of the exact law of the weighted sum (saddlepoint, checked against exact "
        "laws and importance sampling), not of a normal curve.",
    ]
    if results.decoys is not None:
        decoys = results.decoys
        state = "as it must be" if decoys.is_sound else "NOT as it must be: do not use this result"
        lines.append(
            f"{decoys.num_keys} decoy keys: mean z {decoys.z_mean:.2f}, standard deviation "
            f"{decoys.z_sd:.2f}, {decoys.num_below} with p of 0.01 or less; {state}."
        )
    if results.effect_z is not None and results.effect is not None:
        lines.append(
            f"The owner's texts under this key: z = {results.effect_z:.1f}, "
            f"{results.effect:.3f} a token."
        )
    return tuple(lines)


def _not_shown(results: RadioactivityResults) -> tuple[str, ...]:
    lines = [
        "Who trained the suspect, who collected the text, and whether terms forbade it.",
        "That the suspect was distilled from this teacher alone, or how much it owes to it.",
        "Anything about a copier who paraphrases the text, learns the rule and removes the mark, "
        "or does so when the suspect is served: published attacks remove it completely.",
    ]
    if not results.is_found:
        lines.append("That the suspect is innocent.")
    if results.share_estimate is not None and results.share_estimate > _LIKE_THE_TEACHER:
        lines.insert(
            0,
            f"That this is a student at all: its answers carry {results.share_estimate:.0%} of the "
            "mark of the teacher's own texts, as they would if the teacher itself answered behind "
            "another name.",
        )
    return tuple(lines)
