"""From which of several teachers was a suspect distilled, or from none?

Models that share a base agree with every teacher of its kind, and a better model agrees with all of
them more. So what counts is not how close a suspect is to a teacher but how much closer than to the
other teachers, and that against *controls*: models of the same base that were trained likewise, but
on text of none of these teachers. Both kinds of chance must be ruled out: that of the texts, by
paired tests against each control, and that of training another model, by how much controls differ
among themselves. The larger p-value counts, corrected by Holm over the teachers.

Letters: P texts, J teachers, C controls.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field
from scipy.stats import t as student_t

from stillhouse.errors import ConfigError, DataError, ShapeError
from stillhouse.records import Record
from stillhouse.statistics import holm

Floats = npt.NDArray[np.float64]

MIN_TEACHERS = 2
MIN_CONTROLS = 3
MIN_TEXTS = 20


class AttributionConfig(Record):
    """How a suspect is attributed."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    level: float = Field(default=0.01, gt=0, lt=1)
    """Chance of naming a teacher of a model that learnt from none of them."""
    max_texts: int = Field(default=400, ge=MIN_TEXTS)
    """Texts that models are compared on at most."""
    max_tokens: int = Field(default=64, ge=1)
    """Of the beginning of each answer."""


class TeacherFinding(Record):
    """What speaks for one teacher."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    teacher: str
    """Its name."""
    agreement: float
    """Mean overlap of the suspect's next-token distribution with the teacher's."""
    excess: float
    """How much closer the suspect is to it than to the other teachers, less the same of controls.
    """
    imitation: float
    """That excess as a share of what a perfect copy of the teacher would show."""
    detectable: float
    """The imitation from which on the level is reached, given how controls differ."""
    p_texts: float
    """Of the excess over the closest control, if only texts vary."""
    p_models: float
    """Of the excess, if only training another model varies."""
    p_adjusted: float
    """The larger of both, after Holm over the teachers."""


class Attribution(Record):
    """What was found."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    teacher: str | None
    """Whom the suspect was distilled from; None where that is not shown."""
    candidates: tuple[str, ...]
    """Teachers for whom the level is reached; more than one means that they cannot be told apart.
    """
    findings: tuple[TeacherFinding, ...]
    """Of each teacher, in the order given."""
    num_texts: int
    """P."""
    num_controls: int
    """C."""
    level: float
    """Chosen before."""


@dataclass(frozen=True)
class Agreements:
    """How much models agree with the teachers, text by text, each from 0 to 1.

    Attributes:
        suspect_PJ: The suspect's.
        controls_CPJ: Of each control.
        teachers_JPJ: Of each teacher with all of them; about 1 with itself.
    """

    suspect_PJ: Floats
    controls_CPJ: Floats
    teachers_JPJ: Floats

    def __post_init__(self) -> None:
        """Refuse what cannot be compared."""
        num_texts, num_teachers = self.suspect_PJ.shape
        if self.controls_CPJ.shape[1:] != self.suspect_PJ.shape or self.teachers_JPJ.shape != (
            num_teachers,
            num_texts,
            num_teachers,
        ):
            raise ShapeError(
                f"Agreements of {self.suspect_PJ.shape}, {self.controls_CPJ.shape} and "
                f"{self.teachers_JPJ.shape} do not belong together. Give (P, J), (C, P, J) and "
                "(J, P, J)."
            )
        for values in (self.suspect_PJ, self.controls_CPJ, self.teachers_JPJ):
            if not np.isfinite(values).all():
                raise DataError("An agreement is not finite. Leave out texts that were not read.")


def attribute(agreements: Agreements, teachers: Sequence[str], *, level: float) -> Attribution:
    """Name the teacher, several that cannot be told apart, or none.

    Args:
        agreements: Of suspect, controls and teachers.
        teachers: J names.
        level: Of the whole family of teachers.

    Raises:
        ConfigError: there are too few teachers, controls or texts.
        DataError: controls do not differ at all, so that they are one model.
    """
    num_texts, num_teachers = agreements.suspect_PJ.shape
    num_controls = len(agreements.controls_CPJ)
    check_sizes(num_teachers, num_controls, num_texts)
    suspect_PJ = _preference(agreements.suspect_PJ)
    controls_CPJ = _preference(agreements.controls_CPJ)
    perfect_J = np.array(
        [_preference(own_PJ)[:, j].mean() for j, own_PJ in enumerate(agreements.teachers_JPJ)]
    )
    controls_CJ = controls_CPJ.mean(axis=1)
    excess_J = suspect_PJ.mean(axis=0) - controls_CJ.mean(axis=0)
    sd_J = _spread(controls_CJ)
    scale_J = sd_J * np.sqrt(1 + 1 / num_controls)
    p_models_J = student_t.sf(excess_J / scale_J, df=num_controls - 1)
    p_texts_J = np.array([_closest(suspect_PJ, controls_CPJ, j) for j in range(num_teachers)])
    adjusted_J = holm(np.maximum(p_models_J, p_texts_J))
    reach_J = perfect_J - controls_CJ.mean(axis=0)
    critical = float(student_t.isf(level / num_teachers, df=num_controls - 1))
    findings = tuple(
        TeacherFinding(
            teacher=name,
            agreement=float(agreements.suspect_PJ[:, j].mean()),
            excess=float(excess_J[j]),
            imitation=float(excess_J[j] / reach_J[j]),
            detectable=float(critical * scale_J[j] / reach_J[j]),
            p_texts=float(p_texts_J[j]),
            p_models=float(p_models_J[j]),
            p_adjusted=float(adjusted_J[j]),
        )
        for j, name in enumerate(teachers)
    )
    candidates = tuple(one.teacher for one in findings if one.p_adjusted <= level)
    return Attribution(
        teacher=_named(suspect_PJ, controls_CPJ, findings, candidates, level),
        candidates=candidates,
        findings=findings,
        num_texts=num_texts,
        num_controls=num_controls,
        level=level,
    )


def check_sizes(num_teachers: int, num_controls: int, num_texts: int | None = None) -> None:
    """Refuse what cannot give an answer.

    Raises:
        ConfigError: there are too few of something.
    """
    if num_teachers < MIN_TEACHERS:
        raise ConfigError(
            f"{num_teachers} teacher was given: being close to one teacher says nothing until it "
            f"is held against another. Give {MIN_TEACHERS} or more; any model of the kind will do."
        )
    if num_controls < MIN_CONTROLS:
        raise ConfigError(
            f"{num_controls} controls were given, and {MIN_CONTROLS} or more are needed, better 5: "
            "models of the suspect's base that were trained likewise on other text. Without them "
            "nobody knows how close a model comes by chance."
        )
    if num_texts is not None and num_texts < MIN_TEXTS:
        raise ConfigError(f"{num_texts} texts are too few. Give {MIN_TEXTS} or more, better 200.")


def _preference(agreements: Floats) -> Floats:
    """How much closer each is to a teacher than to the mean of the others, (..., P, J)."""
    num_teachers = agreements.shape[-1]
    total = agreements.sum(axis=-1, keepdims=True)
    return np.asarray(agreements - (total - agreements) / (num_teachers - 1))


def _spread(controls_CJ: Floats) -> Floats:
    """Standard deviation of controls for each teacher, and never below that of all teachers.

    Few controls may be alike by luck for one teacher; taking the larger keeps that from accusing.
    """
    variance_J = controls_CJ.var(axis=0, ddof=1)
    if not variance_J.max() > 0:
        raise DataError(
            "The controls agree with the teachers in exactly the same way: they are one model. "
            "Give different ones."
        )
    spread_J: Floats = np.sqrt(np.maximum(variance_J, variance_J.mean()))
    return spread_J


def _closest(suspect_PJ: Floats, controls_CPJ: Floats, j: int) -> float:
    """The largest p-value over controls of a paired test on texts."""
    return max(_paired_p(suspect_PJ[:, j] - control_PJ[:, j]) for control_PJ in controls_CPJ)


def _paired_p(difference_P: Floats) -> float:
    """One-sided, of a mean above 0."""
    sd = float(difference_P.std(ddof=1))
    mean = float(difference_P.mean())
    if sd == 0:
        return 0.0 if mean > 0 else 1.0
    root = np.sqrt(len(difference_P))
    return float(student_t.sf(mean / sd * root, df=len(difference_P) - 1))


def _named(
    suspect_PJ: Floats,
    controls_CPJ: Floats,
    findings: Sequence[TeacherFinding],
    candidates: Sequence[str],
    level: float,
) -> str | None:
    """The one candidate, or of several the one that clearly leads; None else."""
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    excess_PJ = suspect_PJ - controls_CPJ.mean(axis=0)
    places = [j for j, one in enumerate(findings) if one.teacher in candidates]
    first, *others = sorted(places, key=lambda j: -excess_PJ[:, j].mean())
    worst = max(_paired_p(excess_PJ[:, first] - excess_PJ[:, other]) for other in others)
    return findings[first].teacher if worst <= level else None
