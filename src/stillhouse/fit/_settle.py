"""Which answers are taken to be right: as given, settled among teachers, or corrected.

Letters: N rows, L labels.
"""

from dataclasses import dataclass, replace
from typing import Any

from stillhouse.errors import ConfigError
from stillhouse.fit._confident import Jury, answer_numbers
from stillhouse.fit._config import FitConfig
from stillhouse.fit._crossfit import softened
from stillhouse.fit._repair import Repaired, repaired
from stillhouse.fit._results import estimate
from stillhouse.fit._rows import Floats, TaskRows, joined
from stillhouse.fit._validation import predicted_answers
from stillhouse.fit._votes import num_disputed, settled_votes
from stillhouse.runlog import Listener
from stillhouse.statistics import Interval

_FEWEST_TO_JUDGE = 50


@dataclass(frozen=True)
class Settled:
    """What is learnt and expected in place of what was answered.

    Attributes:
        learnt: Training rows with their repairs.
        aside: Rows that were set aside, with what is expected of a student.
        expected: The likeliest answer to each of these.
        report: What was found and done, for the manifest.
    """

    learnt: Repaired
    aside: TaskRows
    expected: tuple[str, ...]
    report: dict[str, Any]


def settle(config: FitConfig, learn: TaskRows, aside: TaskRows, on_progress: Listener) -> Settled:
    """Find answers that are probably wrong, and do with them what `config` says.

    Args:
        config: With the method and the action.
        learn: Rows to learn from.
        aside: Rows that were set aside; nothing is learnt from them.
        on_progress: Told how far it is.

    Raises:
        ConfigError: the method does not fit the task or its teachers.
    """
    noise = config.noise
    if noise.method == "off":
        return _as_given(learn, aside, "noise.method is off")
    is_disputed = num_disputed(learn) + num_disputed(aside) > 0
    if noise.method == "committee" or (noise.method == "auto" and is_disputed):
        return _by_committee(config, learn, aside)
    why_not = _why_not_by_students(learn)
    if why_not is None:
        return _by_students(config, learn, aside, on_progress)
    if noise.method == "confident":
        raise ConfigError(
            f"noise.method=confident is not possible here: {why_not}. Ask several teachers, or set "
            "noise.method=off."
        )
    return _as_given(learn, aside, why_not)


def _why_not_by_students(learn: TaskRows) -> str | None:
    if learn.task.multiple:
        return "it judges answers with one label, and this task has several"
    if len(learn) < _FEWEST_TO_JUDGE:
        return f"{len(learn)} rows are too few for students of some to judge the others"
    if len(set(learn.answers)) < 2:
        return "all answers are the same"
    return None


def _as_given(
    learn: TaskRows, aside: TaskRows, why: str, found: dict[str, Any] | None = None
) -> Settled:
    report = {"applied": None, "why": why, **(found or {}), "repaired": 0}
    return Settled(Repaired(learn, ()), aside, aside.answers, report)


def _by_committee(config: FitConfig, learn: TaskRows, aside: TaskRows) -> Settled:
    # Together: no text is read, so what was set aside stays unseen by the student.
    found = settled_votes(joined(learn, aside))
    learn_NL, aside_ML = found.posterior_NL[: len(learn)], found.posterior_NL[len(learn) :]
    repair = repaired(
        learn, learn_NL, soft_NL=learn_NL, action=config.noise.action, reason="committee"
    )
    report = {
        "applied": "committee",
        "why": f"teachers differ on {found.num_disputed} rows",
        "disputed": found.num_disputed,
        "reliability": found.reliability,
        "repaired": len(repair.log),
    }
    return _settled(repair, aside, aside_ML, aside_ML, report)


def _by_students(
    config: FitConfig, learn: TaskRows, aside: TaskRows, on_progress: Listener
) -> Settled:
    noise = config.noise
    jury = Jury(config, learn, aside, on_progress)
    found = {"rate": estimate(jury.rate), "proxy": jury.first.proxy.kind}
    if noise.method == "auto" and jury.rate.low <= noise.min_rate:
        why = f"{_wrong(jury.rate)}, which is not clearly above {noise.min_rate:.0%}"
        return _as_given(learn, aside, why, found)
    correction = jury.correct()
    soft_NL = softened(learn.targets_NL, correction.learn_NL, answer_numbers(learn))
    repair = repaired(
        learn, correction.learn_NL, soft_NL=soft_NL, action=noise.action, reason="confident"
    )
    report = {
        "applied": "confident",
        "why": _wrong(correction.rate),
        "rate": estimate(correction.rate),
        "proxy": correction.kind,
        "repaired": len(repair.log),
    }
    expected_ML = softened(aside.targets_NL, correction.aside_ML, answer_numbers(aside))
    return _settled(repair, aside, correction.aside_ML, expected_ML, report)


def _settled(
    learnt: Repaired,
    aside: TaskRows,
    posterior_ML: Floats,
    expected_ML: Floats,
    report: dict[str, Any],
) -> Settled:
    expected, _ = predicted_answers(aside.task, posterior_ML)
    return Settled(learnt, replace(aside, targets_NL=expected_ML), tuple(expected), report)


def _wrong(rate: Interval) -> str:
    return (
        f"an estimated {rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}] of the answers are wrong "
        "at random"
    )
