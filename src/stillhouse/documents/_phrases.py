"""What several documents say in the same words, written once."""

from collections.abc import Iterable, Sequence

from stillhouse.documents._facts import (
    Fact,
    derived,
    first_known,
    merged_sources,
    shown,
    written,
)
from stillhouse.documents._sheet import (
    ArtifactFacts,
    DatasetFacts,
    FactSheet,
    MetricFacts,
    TeacherFacts,
)


def interval(metric: MetricFacts) -> Fact:
    """The 95 % interval of a metric, with what it rests on."""
    return written("{low} to {high}, n = {n}", low=metric.low, high=metric.high, n=metric.n)


def with_interval(metric: MetricFacts) -> Fact:
    """Value and interval of a metric in one text."""
    return written(
        "{value} (95 % interval {low} to {high}, n = {n})",
        value=metric.value,
        low=metric.low,
        high=metric.high,
        n=metric.n,
    )


def as_text(fact: Fact) -> Fact:
    """A value as text, for fields that take nothing else: numbers in full, without separators."""
    if not fact.is_known or isinstance(fact.value, str):
        return fact
    text = repr(fact.value) if not isinstance(fact.value, bool) else shown(fact.value)
    return Fact(value=text, sources=fact.sources, rule=fact.rule)


def total(facts: Sequence[Fact]) -> Fact:
    """The sum of whole numbers; None where one of them is not recorded, or there are none."""
    values = [fact.value for fact in facts]
    whole = [value for value in values if isinstance(value, int)]
    value = sum(whole) if whole and len(whole) == len(values) else None
    return derived(value, "the sum of the cited values", *facts)


def earliest(facts: Iterable[Fact]) -> Fact:
    """The first of some times."""
    return _edge(list(facts), is_last=False)


def latest(facts: Iterable[Fact]) -> Fact:
    """The last of some times."""
    return _edge(list(facts), is_last=True)


def _edge(facts: list[Fact], *, is_last: bool) -> Fact:
    values = [fact.value for fact in facts if isinstance(fact.value, str)]
    value = (max(values) if is_last else min(values)) if values else None
    return derived(value, f"the {'last' if is_last else 'first'} of the cited times", *facts)


def period(teachers: Sequence[TeacherFacts]) -> Fact:
    """When the teachers answered."""
    first = earliest(teacher.first_utc for teacher in teachers)
    last = latest(teacher.last_utc for teacher in teachers)
    return written("{first} to {last}", first=first, last=last)


def teacher_line(teacher: TeacherFacts) -> Fact:
    """Which model answered for a teacher, and how much of the training rows it wrote."""
    line = written(
        "{model} (asked as {id}): {rows} training rows",
        model=teacher.model,
        id=teacher.id,
        rows=teacher.train_rows,
    )
    counted = written("{line}, {tokens} tokens", line=line, tokens=teacher.train_tokens)
    return first_known(counted, line, teacher.model, teacher.id)


def dropped_line(artifact: ArtifactFacts) -> Fact:
    """How many rows a stage kept, and why it left the others out."""
    reasons = [f"{shown(number.value)} {reason}" for reason, number in artifact.dropped.items()]
    head = written("{kept} of {all} rows kept", kept=artifact.kept, all=artifact.num_in)
    text = "; ".join([str(head.value), *reasons]) if head.is_known else None
    numbers = (artifact.kept, artifact.num_in, *artifact.dropped.values())
    return derived(text, "text with the recorded values", *numbers)


def curation_line(dataset: DatasetFacts) -> Fact:
    """What the curation was set to."""
    return named_values(dataset.curation)


def named_values(facts: dict[str, Fact]) -> Fact:
    """`name = value` of each fact, in one text."""
    text = ", ".join(f"{name} = {shown(fact.value)}" for name, fact in facts.items())
    return Fact(
        value=text or None,
        sources=merged_sources(facts.values()),
        rule="text with the recorded values",
    )


def is_synthetic(sheet: FactSheet) -> Fact:
    """Whether a model wrote training rows, as far as the records tell."""
    facts = [teacher.id for teacher in sheet.teachers]
    value = True if any(fact.is_known for fact in facts) else None
    return derived(value, "yes where a teacher wrote rows", *facts)
