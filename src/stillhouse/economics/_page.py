"""The accounts as one HTML file, in the look of the reports."""

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from stillhouse.economics._charts import (
    cost_figure,
    even_figure,
    licence_swing_figure,
    royalty_figure,
    swing_figure,
)
from stillhouse.economics._range import Range
from stillhouse.economics._records import Copying, Economics, Flow, Given
from stillhouse.economics._words import count_text
from stillhouse.pages import Tile, money, page_environment, significant, utc_text

__all__ = ["cost_figure", "economics_tiles", "render_economics"]

_NBSP, _DASH = "\N{NO-BREAK SPACE}", "\N{EN DASH}"
_NO_AMOUNT = {"unknown": "unknown", "unrecorded": "not recorded"}


def render_economics(found: Economics, *, command: str) -> str:
    """The page as text, to be written as UTF-8.

    Args:
        found: The accounts.
        command: What a reader types to get the same.
    """
    page = page_environment("stillhouse.economics").get_template("economics.html.jinja")
    return page.render(
        results=found,
        created=utc_text(found.made_utc),
        tiles=economics_tiles(found),
        paying=even_figure(found),
        royalty=royalty_figure(found),
        swings=swing_figure(found),
        licence_swings=licence_swing_figure(found),
        number=f"{found.requests:,.0f}",
        flows=[_flow(one) for one in found.flows],
        parties=[
            SimpleNamespace(
                name=one.name,
                pays=money(one.pays_usd) if one.pays_usd else _DASH,
                earns=money(one.earns_usd) if one.earns_usd else _DASH,
                unknown=str(one.num_unknown or ""),
            )
            for one in found.parties
            if one.pays_usd or one.earns_usd or one.num_unknown
        ],
        effects=[
            SimpleNamespace(name=one.name, bearer=one.bearer, usd=_amount(one.usd), how=one.how)
            for one in found.effects
        ],
        copying=[_copying(one) for one in found.copying],
        licensing=list(_licensing(found)),
        share_words=_share_words(found),
        assumptions=[_given(one) for one in found.assumptions],
        command=command,
        environment={
            "teacher": ", ".join(found.teachers) or "none in the lineage",
            "SHA-256 of the manifest": found.manifest_sha256[:16],
        },
    )


def economics_tiles(found: Economics) -> list[Tile]:
    """The four figures to remember; what is unknown says so."""
    tokens = found.prompt_tokens + found.completion_tokens
    told = (f"{found.num_calls:,} calls of the teacher", f"{tokens:,} tokens")
    spent = Tile(
        "Spent before the first request",
        money(None if found.fixed_usd is None else found.fixed_usd.value),
        told if tokens else told[:1],
    )
    answer = Tile(
        "1,000 answers",
        _thousand(found.student_usd),
        (f"of the student; {_thousand(found.teacher_usd)} of the teacher",),
    )
    even = found.break_even
    if even is None:
        after = Tile("Pays back after", "unknown", ("see what is missing",))
    else:
        value, ends = count_text(even.requests), (count_text(even.low), count_text(even.high))
        is_known = set(ends) == {value}
        after = Tile(
            "Pays back after",
            value,
            ("requests",) if is_known else ("requests", f"{ends[0]} to {ends[1]}"),
        )
    case = found.licensing
    royalty = Tile(
        "A licence sells up to",
        money(case.discounted_usd),
        (f"at {case.detection_probability:.0%} detection, a scenario",),
    )
    return [spent, answer, after, royalty]


def _flow(one: Flow) -> SimpleNamespace:
    return SimpleNamespace(
        item=one.item,
        payer=one.payer,
        receiver=one.receiver,
        usd=_amount(one.usd, _NO_AMOUNT.get(one.basis, "unknown")),
        ends=_ends(one.usd),
        basis=one.basis,
        how=one.how,
    )


def _copying(one: Copying) -> SimpleNamespace:
    return SimpleNamespace(
        name=one.name,
        copy_usd=_large(one.copy_usd),
        training_usd=_large(one.training_usd, is_range=True),
        ratio=_ratio(one.ratio),
    )


def _licensing(found: Economics) -> Iterator[SimpleNamespace]:
    case = found.licensing

    def fact(label: str, value: str, detail: str = "") -> SimpleNamespace:
        return SimpleNamespace(label=label, value=value, detail=detail)

    chance, due = f"{case.detection_probability:.0%}", money(case.penalty_usd)
    hiding = f", and {money(case.evasion_usd)} for hiding" if case.evasion_usd else ""
    yield fact("highest royalty that sells", money(case.ceiling_usd), f"{chance} of {due}{hiding}")
    later = {one.name: one.value for one in found.assumptions}
    years, rate = later["years_to_penalty"], later["discount_rate_per_year"]
    yield fact(
        "where the penalty is due later",
        money(case.discounted_usd),
        f"after {years:g} years at {rate:.1%} a year",
    )
    if case.per_row_usd is not None:
        yield fact("for one row of the dataset", money(case.per_row_usd))
    if case.per_request_usd is not None:
        number = f"over {found.requests:,.0f} requests"
        yield fact("for 1,000 requests", money(1_000 * case.per_request_usd), number)
    if case.share_of_saving is not None:
        yield fact(
            "of what the student saves",
            _per_cent(case.share_of_saving),
            f"over {found.requests:,.0f} requests",
        )
    if case.forgone_usd is not None:
        needed = case.detection_needed
        yield fact(
            "what the owner no longer earns",
            money(case.forgone_usd),
            "no chance of detection makes a licence of that price sell"
            if needed is None
            else f"a licence of that price sells from {needed:.1%} detection on",
        )


def _share_words(found: Economics) -> str:
    most = found.largest_teacher_share
    if most is None or found.teacher_share is None:
        return ""
    below = math.floor(1_000 * most) / 1_000  # rounded down, so that what is said holds
    return (
        f"It pays back as long as the teacher is asked too for fewer than {below:.1%} of requests; "
        f"here it is {found.teacher_share.value:.1%}."
    )


def _given(one: Given) -> SimpleNamespace:
    return SimpleNamespace(
        name=one.name,
        value=_value(one.value),
        unit=one.unit,
        source=one.source,
        meaning=one.meaning,
        is_changed=one.is_changed,
    )


def _value(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, dict):
        return ", ".join(value) or "none"
    return f"{value:,.6g}" if abs(value) >= 1_000 else f"{value:.6g}"


def _thousand(one: Range | None) -> str:
    return money(None if one is None else 1_000 * one.value)


def _amount(one: Range | None, without: str = "unknown") -> str:
    return without if one is None else money(one.value)


def _ends(one: Range | None) -> str:
    return "" if one is None or one.is_exact else f"{money(one.low)} to {money(one.high)}"


def _large(one: Range | None, *, is_range: bool = False) -> str:
    if one is None:
        return "unknown"
    if is_range and not one.is_exact:
        return f"{_short(one.low)} to {_short(one.high)}"
    return _short(one.value)


def _short(usd: float) -> str:
    for least, name in ((1e9, "billion"), (1e6, "million")):
        if usd >= least:
            return f"${significant(usd / least, 2)}{_NBSP}{name}"
    return f"${usd:,.0f}" if usd >= 1_000 else money(usd)


def _ratio(one: Range | None) -> str:
    if one is None:
        return "unknown"
    if one.is_exact:
        return _per_cent(one.value)
    return f"{_per_cent(one.low)} to {_per_cent(one.high)}"


def _per_cent(share: float) -> str:
    return f"{significant(100 * share, 2)}{_NBSP}%"
