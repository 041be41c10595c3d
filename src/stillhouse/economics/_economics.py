"""The accounts of an artefact: from its records and assumptions to who pays and who earns."""

from pathlib import Path

from stillhouse.economics._assumptions import Assumptions, source_of, unit_of
from stillhouse.economics._break_even import (
    BreakEvenVolume,
    break_even_range,
    largest_teacher_share,
)
from stillhouse.economics._cases import copying_of, licence_swings_of, licensing_of
from stillhouse.economics._chain import read_chain
from stillhouse.economics._drivers import Drivers, swings_of
from stillhouse.economics._flows import effects_of, flows_of, forgone_usd, parties_of
from stillhouse.economics._inputs import Inputs, inputs_of
from stillhouse.economics._range import ZERO, Range, exactly
from stillhouse.economics._records import Economics, Given
from stillhouse.economics._speed import Service, Speed
from stillhouse.economics._words import verdict_of


def economics(
    folder: Path,
    *,
    assumptions: Assumptions | None = None,
    speed: Speed | None = None,
    service: Service | None = None,
    title: str = "",
) -> Economics:
    """Who pays and who earns by what is in `folder`, which nothing is written into.

    The same records, assumptions and machine give the same figures.

    Args:
        folder: An artefact: a student, a cascade, an evaluation, a dataset ...
        assumptions: What no record says; the defaults when None.
        speed: How long an answer of the student takes, where that was measured.
        service: What the log of a server says; goes before `speed`.
        title: Of the page; made of the folder's name when empty.

    Raises:
        IntegrityError: the artefact, or one that it was made from, is damaged.
    """
    given = assumptions or Assumptions()
    chain = read_chain(folder)
    inputs = inputs_of(chain, given, speed=speed, service=service)
    drivers = inputs.drivers()
    even = None if drivers is None else _break_even(inputs)
    saving = None if drivers is None else _saving(inputs)
    refresh = _refresh(inputs)
    flows = flows_of(inputs, refresh)
    calls = chain.calls
    return Economics(
        title=title or f"Economics of {chain.root.path.resolve().name}",
        verdict=verdict_of(drivers, even, inputs),
        manifest_sha256=chain.root.manifest_sha256,
        made_utc=chain.root.manifest.created_utc,
        teachers=chain.teachers,
        num_calls=calls.num_calls,
        prompt_tokens=calls.prompt_tokens,
        completion_tokens=calls.completion_tokens,
        requests=given.requests,
        fixed_usd=_fixed(inputs),
        teacher_usd=inputs.teacher_usd,
        student_usd=inputs.student_usd,
        teacher_share=inputs.teacher_share,
        refresh_usd=refresh,
        saving_usd=saving,
        break_even=even,
        largest_teacher_share=_largest_share(drivers),
        missing=inputs.missing,
        flows=flows,
        parties=parties_of(flows),
        effects=effects_of(inputs),
        swings=() if drivers is None else swings_of(drivers),
        licence_swings=licence_swings_of(inputs),
        copying=copying_of(inputs),
        licensing=licensing_of(
            inputs,
            saving_usd=None if saving is None else saving.value,
            forgone=forgone_usd(inputs),
        ),
        assumptions=given_rows(given),
    )


def given_rows(given: Assumptions) -> tuple[Given, ...]:
    """Every assumption with its unit, default and source."""
    used, usual = given.model_dump(mode="json"), Assumptions().model_dump(mode="json")
    return tuple(
        Given(
            name=name,
            value=value,
            default=usual[name],
            unit=unit_of(name),
            source=source_of(name) if value == usual[name] else "as was given",
            meaning=" ".join((Assumptions.model_fields[name].description or "").split()),
        )
        for name, value in used.items()
    )


def _ends(inputs: Inputs) -> tuple[Drivers, Drivers, Drivers]:
    """At the values, and at the ends that favour the student and that do not."""
    found = (
        inputs.drivers(),
        inputs.drivers(teacher="high", others="low"),
        inputs.drivers(teacher="low", others="high"),
    )
    value, best, worst = found
    assert value is not None
    assert best is not None
    assert worst is not None
    return value, best, worst


def _fixed(inputs: Inputs) -> Range | None:
    """Spent before the first request; nothing of it needs an answer's price or time."""
    if inputs.calls_usd is None or inputs.stages_usd is None or inputs.people_usd is None:
        return None
    machines = inputs.machine(sum(inputs.seconds.values()))
    spent = inputs.calls_usd + inputs.stages_usd + machines.value + inputs.people_usd
    return Range(value=spent, low=spent, high=spent)


def _refresh(inputs: Inputs) -> Range | None:
    """By request; like what is spent again, it needs no answer's price or time."""
    often, fixed = inputs.given.requests_per_refresh, _fixed(inputs)
    if often is None:
        return ZERO
    return None if fixed is None else exactly(inputs.given.refresh_share * fixed.value / often)


def _saving(inputs: Inputs) -> Range:
    value, best, worst = _ends(inputs)
    return Range(value=value.saving_usd, low=worst.saving_usd, high=best.saving_usd)


def _break_even(inputs: Inputs) -> BreakEvenVolume | None:
    fixed, teacher, student = _fixed(inputs), inputs.teacher_usd, inputs.student_usd
    share, refresh = inputs.teacher_share, _refresh(inputs)
    if fixed is None or teacher is None or student is None or share is None or refresh is None:
        return None
    return break_even_range(fixed, teacher, student, teacher_share=share, refresh_usd=refresh)


def _largest_share(drivers: Drivers | None) -> float | None:
    if drivers is None:
        return None
    return largest_teacher_share(
        drivers.teacher_usd, drivers.student_usd, refresh_usd=drivers.refresh_usd
    )
