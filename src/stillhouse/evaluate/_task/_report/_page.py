"""The report's page: no network, no script, no other file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from stillhouse.evaluate._task._report._break_even import break_even_figure, break_even_words
from stillhouse.evaluate._task._report._claims import main_claims, other_claims
from stillhouse.evaluate._task._report._curves import (
    learning_figure,
    reliability_figure,
    risk_figure,
    score_figure,
)
from stillhouse.evaluate._task._report._details import (
    confused_rows,
    field_rows,
    label_rows,
    length_words,
)
from stillhouse.evaluate._task._report._facts import trust_facts
from stillhouse.evaluate._task._report._pareto import pareto
from stillhouse.evaluate._task._report._service import service_rows
from stillhouse.evaluate._task._report._strip import label_strip
from stillhouse.evaluate._task._report._table import systems_table
from stillhouse.evaluate._task._report._tiles import tiles
from stillhouse.evaluate._task._report._words import NBSP, ROLES, system_colors
from stillhouse.evaluate._task._results import TaskResults
from stillhouse.pages import (
    CountRow,
    LineageNode,
    Provenance,
    StageCost,
    duration,
    lineage_figure,
    page_environment,
    stage_figure,
    stage_rows,
    stage_total,
    utc_text,
)

_END_OF_CLAIM = re.compile("[:;] ")
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=%|ms\b|points\b)")


@dataclass(frozen=True)
class RunFacts:
    """What the report shows beyond the results.

    Attributes:
        stages: What each stage took.
        counts: Rows that each took in and kept.
        lineage: Who was made from what.
        command: What a reader types to get the same.
        environment: What it ran on, in the order shown.
        provenance: Terms, signatures and who pays, where they were looked up.
    """

    stages: Sequence[StageCost] = ()
    counts: Sequence[CountRow] = ()
    lineage: Sequence[LineageNode] = ()
    command: str = "stillhouse evaluate"
    environment: Mapping[str, str] | None = None
    provenance: Provenance | None = None


def render_task_report(results: TaskResults, run: RunFacts) -> str:
    """The report as the text of one HTML file, to be written as UTF-8.

    Args:
        results: What was measured.
        run: How it came about.

    Raises:
        DataError: the lineage names a node twice, an unknown parent, or forms a cycle.
    """
    colors = system_colors(results)
    student = results.student
    claim, figures = in_two(results.verdict)
    environment = page_environment("stillhouse.evaluate", "_task/_report")
    environment.filters["together"] = _together
    environment.filters["breakable"] = _breakable
    page = environment.get_template("task.html.jinja")
    return page.render(
        results=results,
        claim=claim,
        figures=figures,
        student=student,
        colors=colors,
        roles=ROLES,
        created=utc_text(results.created_utc),
        seconds=duration(results.seconds),
        tiles=tiles(results),
        table=systems_table(results),
        claims=main_claims(results),
        other_claims=other_claims(results),
        pareto=pareto(results, colors),
        reliability=reliability_figure(results, colors),
        risk=risk_figure(results, colors),
        learning=learning_figure(results),
        paying=break_even_figure(results),
        paying_words=break_even_words(results),
        strip=label_strip(student.labels),
        label_rows=label_rows(student),
        confused=confused_rows(student),
        field_rows=field_rows(results),
        scores=score_figure(student),
        length=length_words(student),
        facts=trust_facts(results),
        service=None if results.service is None else service_rows(results.service),
        counts=run.counts,
        largest_count=max((row.num_in for row in run.counts), default=0),
        stages=stage_rows(run.stages),
        stages_total=stage_total(run.stages),
        stage_figure=stage_figure(run.stages),
        lineage=lineage_figure(run.lineage, colors),
        provenance=run.provenance,
        command=run.command,
        environment=run.environment or {},
    )


def in_two(verdict: str) -> tuple[str, str]:
    """What a verdict claims, as a sentence, and the figures behind it; those may be none."""
    found = _END_OF_CLAIM.search(verdict)
    if found is None:
        return verdict, ""
    figures = verdict[found.end() :]
    return f"{verdict[: found.start()]}.", figures[:1].upper() + figures[1:]


def _together(text: str) -> str:
    """Numbers on the line of their units."""
    return _BEFORE_UNIT.sub(NBSP, text)


def _breakable(name: str) -> Markup:
    """A label that may go on in the next line after an underscore."""
    return Markup("_<wbr>").join(name.split("_"))
