"""One part of the traffic, from its prompts to what is promised of it."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stillhouse.pipeline._scan_choice import (
    Answered,
    Certified,
    certify,
    grid_of,
    least_prompts,
    prompts_needed,
)
from stillhouse.pipeline._scan_config import ScanConfig, ScanStudent
from stillhouse.pipeline._scan_forecast import forecast
from stillhouse.pipeline._scan_measure import FitTicker, Measured, is_measurable
from stillhouse.pipeline._scan_parts import Part
from stillhouse.pipeline._scan_results import Forecast, PartResult, Promise
from stillhouse.pipeline._scan_rows import LoggedPrompt
from stillhouse.pipeline._scan_split import TaskRows, read_answers, split_rows, task_rows
from stillhouse.pipeline._scan_student import Answering
from stillhouse.pipeline._scan_words import sameness_note
from stillhouse.statistics import Interval, clustered_bootstrap, fraction_interval
from stillhouse.tasks import Task, TaskAnswer

_MAX_SHOWN_CHARS = 120
_FEWEST_ASKED_TWICE = 20
_CALLS = 1000.0  # that savings are stated for


class PartScan:
    """The scan of one part.

    Args:
        part: The prompts.
        task: What they ask.
        is_given: Whether the user said so; else it was told from the answers.
        config: How to scan.
        confidence: Of what is promised of this part.
        ticker: Advances with every student that is made.
    """

    def __init__(
        self,
        part: Part,
        task: Task,
        *,
        is_given: bool,
        config: ScanConfig,
        confidence: float,
        ticker: FitTicker,
    ) -> None:
        self._part = part
        self._task = task
        self._is_given = is_given
        self._config = config
        self._confidence = confidence
        self._ticker = ticker
        self._answers = read_answers(part.rows, task)
        self._rows = task_rows(self._answers, task)
        self._cost = cost_per_call(part.rows, confidence=confidence)
        self._notes: list[str] = list(_notes(part))

    def result(self, *, num_calls: int) -> PartResult:
        """All that is said of the part.

        Args:
            num_calls: Calls to all parts together.
        """
        chosen_on, tested_on = split_rows(self._rows, self._config)
        measured = self._measure(chosen_on)
        certified = None if measured is None else self._certify(measured, tested_on)
        most_frequent = _most_frequent(self._rows)
        if most_frequent is not None and (note := sameness_note(*most_frequent)) is not None:
            self._notes.insert(0, note)
        curve = () if measured is None else measured.curve()
        drawn_on, prompts_to_learn = forecast(curve, target=self._config.target)
        refusal, needed = None, None
        if certified is None:
            refusal, needed = self._refusal(measured, len(tested_on), drawn_on)
        return PartResult(
            name=self._part.name if not self._is_given else self._task.name,
            system_sha256=self._part.system_sha256,
            begins=self._part.before,
            ends=self._part.after,
            num_prompts=len(self._part.rows),
            num_calls=self._part.num_calls,
            share_of_calls=self._part.num_calls / num_calls,
            kind=self._task.kind,
            is_given=self._is_given,
            num_distinct_answers=len(set(self._rows.answers) - {None}),
            num_invalid=sum(answer is None for answer in self._rows.answers),
            most_frequent=None if most_frequent is None else most_frequent[0][:_MAX_SHOWN_CHARS],
            most_frequent_share=None if most_frequent is None else most_frequent[1],
            self_agreement=self_agreement(self._answers),
            tried=() if measured is None else measured.tried,
            curve=curve,
            forecast=drawn_on,
            prompts_to_learn=prompts_to_learn,
            promise=self._promise(measured.kind, certified, len(tested_on))
            if measured is not None and certified is not None
            else None,
            refusal=refusal,
            prompts_needed=needed,
            cost_usd_per_call=self._cost,
            notes=(*self._notes, *(measured.notes if measured is not None else ())),
        )

    def _measure(self, chosen_on: TaskRows) -> Measured | None:
        if not is_measurable(chosen_on, self._config):
            return None
        # Of labels all are known; of other answers only those that come again can be given.
        least = 1 if self._task.kind == "classification" else 2
        return Measured(chosen_on, least, self._config, self._ticker)

    def _certify(self, measured: Measured, tested_on: TaskRows) -> Certified | None:
        target, confidence = self._config.target, self._confidence
        thresholds_G = grid_of(
            measured.chosen_on, len(tested_on), target=target, confidence=confidence
        )
        if not len(thresholds_G):
            return None
        student: Answering = measured.student()
        given = student(tested_on.texts)
        tested = Answered(given.confidence_N, given.agrees_N(tested_on.answers))
        return certify(tested, thresholds_G.tolist(), target=target, confidence=confidence)

    def _promise(self, kind: ScanStudent, certified: Certified, num_tested: int) -> Promise:
        saving = None
        if self._cost is not None:
            share = certified.share
            saving = Interval(
                _CALLS * share.value * self._cost.value,
                _CALLS * share.low * self._cost.low,
                _CALLS * share.high * self._cost.high,
                n=share.n,
                num_clusters=share.num_clusters,
            )
        return Promise(
            student=kind,
            share=certified.share,
            agreement=certified.agreement,
            num_tested=num_tested,
            confidence=self._confidence,
            saving_usd_per_1000_calls=saving,
        )

    def _refusal(
        self, measured: Measured | None, num_tested: int, drawn_on: Sequence[Forecast]
    ) -> tuple[str, int | None]:
        """Why nothing is promised, and how many prompts might change that."""
        config = self._config
        goal = {"target": config.target, "confidence": self._confidence}
        least = least_prompts(**goal, certify_fraction=config.certify_fraction)
        num_prompts = len(self._part.rows)
        if measured is None:
            return (
                f"{num_prompts:,} prompts are too few to measure anything; at least {least:,} are "
                "needed to promise something.",
                least,
            )
        needed = prompts_needed(
            measured.chosen_on, **goal, certify_fraction=config.certify_fraction
        )
        if num_prompts < least:
            return (
                f"{num_prompts:,} prompts are too few: even without one wrong answer it takes "
                f"{least:,}.",
                max(least, needed or 0),
            )
        seen = max(one.agreement.value for one in measured.tried)
        if needed is None:
            return (
                f"A cheap student agrees with the teacher in {seen:.0%} of its answers, and in "
                f"too few even where it is surest; the target is {config.target:.0%}."
                f"{_outlook(drawn_on)}",
                None,
            )
        if needed <= num_prompts:
            return (
                f"The share that looked safe on one half of the prompts was not confirmed by the "
                f"{num_tested:,} of the other half; twice as many would settle it.",
                2 * num_prompts,
            )
        return (
            f"On {num_tested:,} prompts no share of the traffic could be shown to reach "
            f"{config.target:.0%}; about {needed:,} prompts might show one.",
            needed,
        )


def _outlook(drawn_on: Sequence[Forecast]) -> str:
    """Where the curve goes, for who has more prompts."""
    if not drawn_on:
        return ""
    last = drawn_on[-1]
    return (
        f" With {last.num_rows:,} prompts to learn from, the curve puts it at "
        f"{last.agreement.value:.0%} [{last.agreement.low:.0%}, {last.agreement.high:.0%}]."
    )


def cost_per_call(rows: Sequence[LoggedPrompt], *, confidence: float) -> Interval | None:
    """Mean cost of a call with its interval; None where fewer than two prompts have a price.

    At half of the error, so that together with a share it keeps the confidence.
    """
    priced = [(row.prompt.group or row.prompt.id, row.cost_usd) for row in rows]
    costs = [cost for _, cost in priced if cost is not None]
    groups = [group for group, cost in priced if cost is not None]
    if len(set(groups)) < 2:
        return None
    if len(set(costs)) == 1:
        return Interval(costs[0], costs[0], costs[0], n=len(costs), num_clusters=len(set(groups)))
    return clustered_bootstrap(
        costs, np.ones(len(costs)), clusters=groups, confidence=1 - (1 - confidence) / 2
    )


def self_agreement(answers: Sequence[TaskAnswer]) -> Interval | None:
    """How often two answers to one prompt are equal, over prompts that were asked twice or more.

    Of several answers to a prompt it is the chance that two of them, drawn at random, are equal.
    """
    shares = []
    for one in answers:
        counts = Counter[str]()
        for votes in one.votes.values():
            counts.update(votes)
        total = counts.total() + one.num_invalid
        if total > 1:
            equal = sum(times * (times - 1) for times in counts.values())
            shares.append(equal / (total * (total - 1)))
    if len(shares) < _FEWEST_ASKED_TWICE:
        return None
    if set(shares) <= {0.0, 1.0}:
        return fraction_interval(round(sum(shares)), len(shares))
    return clustered_bootstrap(shares, np.ones(len(shares)), clusters=np.arange(len(shares)))


def _most_frequent(rows: TaskRows) -> tuple[str, Interval] | None:
    counts = Counter(answer for answer in rows.answers if answer is not None)
    if not counts:
        return None
    answer, times = counts.most_common(1)[0]
    return answer, fraction_interval(times, len(rows))


def _notes(part: Part) -> Sequence[str]:
    notes = []
    if part.system_varies:
        notes.append("The system messages differ, and students do not read them.")
    if earlier := sum(row.num_earlier_turns > 0 for row in part.rows):
        notes.append(
            f"{earlier:,} of {len(part.rows):,} prompts have earlier turns, which students do not "
            "read."
        )
    calls = sum(bool(one.tool_calls) for row in part.rows for one in row.completions)
    if calls:
        notes.append(f"{calls:,} answers call tools; a scan reads their text alone.")
    return notes
