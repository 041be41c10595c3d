"""An attribution as evidence: every sentence that the report says."""

import math
from datetime import datetime

from stillhouse.protect._attribution import Attribution, TeacherFinding
from stillhouse.protect._evidence import Evidence, EvidenceTable, KeyFigure
from stillhouse.protect._words import p_text

_FLOOR = 1e-300  # what a p-value of 0 is told as


def attribution_evidence(
    found: Attribution,
    *,
    suspect: str,
    inputs: dict[str, str],
    command: str,
    created_utc: datetime,
) -> Evidence:
    """What was found, in words.

    Args:
        found: Of `attribute`.
        suspect: Its name.
        inputs: Fingerprints of what was compared, by name.
        command: That makes it again.
        created_utc: When.
    """
    best = min(found.findings, key=lambda one: (one.p_adjusted, -one.excess))
    return Evidence(
        title=f"Attribution of {suspect} without a watermark",
        verdict=_verdict(found, suspect, best),
        is_found=found.teacher is not None,
        null_hypothesis=(
            f"{suspect} was distilled from none of {len(found.findings)} teachers: it is closer to "
            "one than to the others by no more than models of its base that were trained likewise."
        ),
        statistic=(
            "mean over texts of the overlap of next-token distributions with a teacher, less the "
            "mean overlap with the other teachers, less the same of the controls."
        ),
        log10_p=_log10(best.p_adjusted),
        level=found.level,
        num_observations=found.num_texts,
        figures=_figures(found, best),
        shows=_shows(found, suspect),
        tables=(_table(found),),
        assumptions=(
            "The controls are models as the suspect would be had it not been distilled: of the "
            "same base, trained on the like, with differences among them that are about normal. "
            "The closer this is to the truth, the more the p-value is worth.",
            "Texts are independent of one another.",
        ),
        controls=(
            f"{found.num_controls} controls on the same {found.num_texts} texts. Of the two "
            "p-values, from the texts and from the spread of controls, the larger counts; a large "
            "number of texts cannot make up for few controls.",
            f"Corrected by Holm for {len(found.findings)} teachers.",
            "The spread of controls for a teacher is taken no smaller than its mean over teachers.",
        ),
        not_shown=_not_shown(found),
        inputs=inputs,
        created_utc=created_utc,
        command=command,
        results=found.model_dump(mode="json"),
    )


def _log10(p: float) -> float:
    return math.log10(max(p, _FLOOR))


def _verdict(found: Attribution, suspect: str, best: TeacherFinding) -> str:
    p = p_text(_log10(best.p_adjusted))
    if found.teacher is not None:
        return f"{suspect} was distilled from {found.teacher} (p = {p})."
    if found.candidates:
        return f"{suspect} was distilled from {' or '.join(found.candidates)}; which, is open."
    return f"No teacher can be named for {suspect} (smallest p = {p})."


def _figures(found: Attribution, best: TeacherFinding) -> tuple[KeyFigure, ...]:
    return (
        KeyFigure(
            label="p-value",
            value=p_text(_log10(best.p_adjusted)),
            details=(f"of {best.teacher}", f"level {found.level:g}"),
        ),
        KeyFigure(
            label="Imitation",
            value=f"{best.imitation:.0%}",
            details=("of what a perfect copy shows",),
        ),
        KeyFigure(
            label="Visible from",
            value=f"{best.detectable:.0%}",
            details=("of a perfect copy",),
        ),
        KeyFigure(
            label="Compared on",
            value=f"{found.num_texts:,} texts",
            details=(f"with {found.num_controls} controls",),
        ),
    )


def _shows(found: Attribution, suspect: str) -> tuple[tuple[str, str], ...]:
    if found.teacher is not None:
        whom = (
            f"From {found.teacher}, of the teachers that were given: {suspect} is closer to it "
            "than any control, by more than texts and training explain."
        )
    elif found.candidates:
        whom = (
            f"From {' or '.join(found.candidates)}. They are too much alike to be told apart here."
        )
    else:
        whom = (
            "None can be named. It may have learnt from none of them, from several, or from too "
            "little of one."
        )
    return (
        ("From which teacher?", whom),
        (
            "By whose doing?",
            "This test cannot say. Closeness comes from a teacher's text by whatever way it came: "
            "bought, published, or written by another model that learnt from it first.",
        ),
    )


def _table(found: Attribution) -> EvidenceTable:
    return EvidenceTable(
        title="Each teacher",
        header=("teacher", "overlap", "imitation", "visible from", "p texts", "p models", "p"),
        rows=tuple(
            (
                one.teacher,
                f"{one.agreement:.3f}",
                f"{one.imitation:.0%}",
                f"{one.detectable:.0%}",
                p_text(_log10(one.p_texts)),
                p_text(_log10(one.p_models)),
                p_text(_log10(one.p_adjusted)),
            )
            for one in found.findings
        ),
        note="Imitation: the excess over controls as a share of a perfect copy's. The last p is "
        "the larger of the two, after Holm.",
    )


def _not_shown(found: Attribution) -> tuple[str, ...]:
    lines = [
        "That a teacher which was not among those given is not the true one: a sibling of the "
        "named teacher would look alike.",
        "Who trained the suspect, and whether terms forbade it.",
        "Anything, if controls are of another base or another kind of training than the suspect: "
        "then what they share is not what the suspect shares.",
    ]
    if found.teacher is None:
        lines.append("That the suspect was distilled from none of them.")
    return tuple(lines)
