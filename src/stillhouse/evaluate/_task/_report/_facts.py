"""What the figures rest on: the teacher, the messages, what was found in both."""

from collections.abc import Iterator
from typing import NamedTuple

from stillhouse.evaluate._task._report._words import (
    METHODS,
    NBSP,
    PER_CENT,
    share,
    share_interval,
    who,
)
from stillhouse.evaluate._task._results import ContaminationFacts, TaskResults
from stillhouse.pages import fixed
from stillhouse.statistics import detectable_difference

_FEWEST_FOR_POWER = 20  # fewer show no difference whatever its size


class Fact(NamedTuple):
    """One line: what, how much, and what it means."""

    label: str
    value: str
    detail: str = ""


def trust_facts(results: TaskResults) -> list[Fact]:
    """The lines, in the order in which one would ask."""
    return [*_message_facts(results), *_teacher_facts(results), *_missing_facts(results)]


def _message_facts(results: TaskResults) -> Iterator[Fact]:
    counts = results.counts
    groups = "" if counts.groups == counts.held_out else f"in {counts.groups:,} groups"
    yield Fact("Held-out messages", f"{counts.held_out:,}", groups)
    yield Fact(
        "with a right answer",
        f"{counts.with_gold:,}",
        "" if counts.with_gold else "so that nothing here says whether anybody is right",
    )
    yield _contamination_fact(results.contamination)
    yield from _power_fact(results)


def _power_fact(results: TaskResults) -> Iterator[Fact]:
    """What so many messages can show at all, where they are independent and right or wrong."""
    student = results.student.name
    for one in results.comparisons:
        is_alone = one.difference.num_clusters == one.difference.n
        if one.a == student and one.family in ("teacher", "baselines") and is_alone:
            if not one.discordance or one.difference.n < _FEWEST_FOR_POWER:
                return
            least = detectable_difference(one.difference.n, one.discordance)
            against = who(results.system(one.b))
            yield Fact(
                "Smallest difference that shows",
                f"{fixed(100 * least, 1)} points",
                f"at 80{PER_CENT} power, where two systems differ on "
                f"{fixed(100 * one.discordance, 1)}{PER_CENT} of the messages, as {student} and "
                f"{against} do",
            )
            return


def _teacher_facts(results: TaskResults) -> Iterator[Fact]:
    itself = results.self_agreement
    if itself.agreement is None:
        yield Fact("Teacher with itself", "not measured", itself.why_not.partition(": ")[2])
    else:
        found = itself.agreement
        detail = f"{share_interval(found)}, n{NBSP}={NBSP}{found.n:,}, {METHODS[found.method]}"
        if itself.student_agreement is not None:
            ours = itself.student_agreement
            detail += f"; the student with one such answer {share(ours)} ({share_interval(ours)})"
        yield Fact("Teacher with itself", share(found), detail)
    counts = results.counts
    invalid = sum(counts.invalid_answers.values())
    problems = ", ".join(
        f"{name.replace('_', ' ')} {times:,}" for name, times in counts.invalid_answers.items()
    )
    part = f" ({fixed(100 * invalid / counts.teacher_answers, 1)}{PER_CENT})" if invalid else ""
    yield Fact(
        "Invalid answers of the teacher",
        f"{invalid:,} of {counts.teacher_answers:,}{part}",
        problems,
    )


def _missing_facts(results: TaskResults) -> Iterator[Fact]:
    for name, why in results.missing.items():
        yield Fact(f"{name[0].upper()}{name[1:]}", "not shown", why)


def _contamination_fact(facts: ContaminationFacts) -> Fact:
    label = "of these in the training data"
    if not facts.is_checked:
        return Fact(label, "unknown", "nobody has looked")
    kinds = {"exact": "the same", "near": "nearly the same", "ngram": "13 words in a row"}
    found = ", ".join(
        f"{kinds.get(kind, kind)} {times:,}" for kind, times in facts.found.items() if times
    )
    if facts.num_removed:
        return Fact(label, "none", f"{facts.num_removed:,} training rows were taken out ({found})")
    if not facts.num_left:
        return Fact(label, "none", "looked for the same, nearly the same, and 13 words in a row")
    return Fact(label, f"{facts.num_left:,}", found)
