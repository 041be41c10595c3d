"""Totals that cost the same at any size: calls added up as their rows are written."""

from collections.abc import Sequence
from typing import Any, Literal

from stillhouse.runlog._ledger._database import Database
from stillhouse.runlog._ledger._money import pico_sql, picos_of, usd_of
from stillhouse.runlog._ledger._records import LedgerTotals, OutcomeTotals
from stillhouse.runlog._ledger._schema import IS_ANSWER, OPEN

_SUMMED = (
    ("num_calls", "count(*)"),
    ("prompt_tokens", "sum(prompt_tokens)"),
    ("completion_tokens", "sum(completion_tokens)"),
    ("cached_prompt_tokens", "sum(cached_prompt_tokens)"),
    ("reasoning_tokens", "sum(reasoning_tokens)"),
    ("cost_pico", f"coalesce(sum({pico_sql('cost_usd')}), 0)"),
    ("num_unpriced", f"sum(cost_usd IS NULL AND {IS_ANSWER})"),
    (
        "unsettled_pico",
        f"coalesce(sum({pico_sql('reserved_usd')}) FILTER (WHERE cost_usd IS NULL), 0)",
    ),
    ("seconds", "total(seconds)"),
)
_NAMES = [name for name, _ in _SUMMED]
CALLS_ADDED_UP = (
    f"SELECT teacher, finish_reason, {', '.join(f'{sum_} AS {name}' for name, sum_ in _SUMMED)} "
    "FROM calls WHERE number BETWEEN ? AND ? GROUP BY teacher, finish_reason"
)
"""What `sums` has to hold for the calls of a range of numbers."""


def _change(sign: str) -> str:
    into = ", ".join(f"{name} = {name} {sign} excluded.{name}" for name in _NAMES)
    return f"INSERT INTO sums {CALLS_ADDED_UP} ON CONFLICT DO UPDATE SET {into}"


_ADD, _SUBTRACT = _change("+"), _change("-")
_COUNT_OPEN = (
    f"INSERT INTO sums (teacher, finish_reason, num_calls, unsettled_pico) VALUES (?, '{OPEN}', "
    "?, ?) ON CONFLICT DO UPDATE SET num_calls = num_calls + excluded.num_calls, "
    "unsettled_pico = unsettled_pico + excluded.unsettled_pico"
)


def add_calls(db: Database, first: int, last: int) -> None:
    """Count the calls with these numbers, which were just written in this transaction."""
    db.rows(_ADD, (first, last))


def subtract_call(db: Database, number: int) -> None:
    """Count a call no more; do so before its row is removed."""
    db.rows(_SUBTRACT, (number, number))


def count_open(
    db: Database, calls: Sequence[tuple[int, float | None]], change: Literal[1, -1]
) -> None:
    """Count calls that were opened (1) or are open no more (-1), by teacher and reserve."""
    for teacher in {teacher for teacher, _ in calls}:
        reserves = [reserved_usd for number, reserved_usd in calls if number == teacher]
        pico = sum(picos_of([usd for usd in reserves if usd]))
        db.rows(_COUNT_OPEN, (teacher, change * len(reserves), change * pico))


def outcomes(db: Database, teacher: str | None = None) -> list[OutcomeTotals]:
    """One row per teacher and way that its calls ended or stand, in their order."""
    asked = "" if teacher is None else "WHERE t.id = ?"
    given: tuple[Any, ...] = () if teacher is None else (teacher,)
    return [
        OutcomeTotals(
            teacher=who,
            outcome=outcome,
            num_calls=num_calls,
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_prompt_tokens=cached,
            reasoning_tokens=reasoning,
            cost_usd=None if num_unpriced else usd_of(cost_pico),
            unsettled_usd=usd_of(unsettled_pico),
            seconds=seconds,
        )
        for (
            who, outcome, num_calls, prompt, completion, cached, reasoning, cost_pico, num_unpriced,
            unsettled_pico, seconds,
        ) in db.rows(
            f"SELECT t.id, s.finish_reason, {', '.join(_NAMES)} FROM sums s "
            f"JOIN teachers t ON t.number = s.teacher {asked} ORDER BY 1, 2",
            given,
        )
        if num_calls
    ]  # fmt: skip


def totals(db: Database, teacher: str | None = None) -> LedgerTotals:
    """Sums over every call of `teacher`, or of all."""
    rows = outcomes(db, teacher)
    asked = "" if teacher is None else "WHERE id = ?"
    ((num_requests,),) = db.rows(
        f"SELECT coalesce(sum(num_requests), 0) FROM teachers {asked}",
        () if teacher is None else (teacher,),
    )
    num_by: dict[str, int] = {}
    for row in rows:
        num_by[row.outcome] = num_by.get(row.outcome, 0) + row.num_calls
    num_calls = sum(num_by.values())
    num_failed, num_open, num_lost = (num_by.get(key, 0) for key in ("error", "open", "lost"))
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    return LedgerTotals(
        num_requests=num_requests,
        num_calls=num_calls,
        num_answered=num_calls - num_failed - num_open - num_lost,
        num_failed=num_failed,
        num_open=num_open,
        num_lost=num_lost,
        prompt_tokens=sum(row.prompt_tokens for row in rows),
        completion_tokens=sum(row.completion_tokens for row in rows),
        cached_prompt_tokens=sum(row.cached_prompt_tokens for row in rows),
        reasoning_tokens=sum(row.reasoning_tokens for row in rows),
        cost_usd=sum(costs) if len(costs) == len(rows) else None,
        unsettled_usd=sum(row.unsettled_usd for row in rows),
    )
