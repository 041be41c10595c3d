"""Pages: charts, tables of stages, numbers in words and what else all HTML reports share.

A page is one file that needs no network, no script and no other file. A room that makes one has
its own template, which `page_environment` finds before the shared pieces (`_macros.html.jinja`,
`_meta.html.jinja`, `page.css` and further ones).
"""

from stillhouse.pages._charts import (
    Axes,
    Bar,
    Figure,
    Point,
    Scale,
    Series,
    bar_chart,
    line_chart,
    log_ticks,
    nice_ticks,
    stacked_bar,
)
from stillhouse.pages._frame import Tile, page_environment, utc_text
from stillhouse.pages._inputs import CountRow, LineageNode, StageCost
from stillhouse.pages._lineage import lineage_drawing, lineage_figure, node_ranks
from stillhouse.pages._numbers import (
    MINUS,
    TIMES,
    Measured,
    decimals_of,
    duration,
    estimate_interval,
    estimate_value,
    fixed,
    money,
    parameters,
    percent,
    significant,
    size,
    times,
)
from stillhouse.pages._provenance import Provenance, TermsLine
from stillhouse.pages._stages import StageRow, stage_figure, stage_rows, stage_total, total_cost
from stillhouse.pages._standalone import standalone_svg
from stillhouse.pages._svg import drawing, element, shorten, text_width

__all__ = [
    "page_environment",
    "Tile",
    "utc_text",
    "Figure",
    "Series",
    "Axes",
    "Bar",
    "Point",
    "line_chart",
    "bar_chart",
    "stacked_bar",
    "Scale",
    "nice_ticks",
    "log_ticks",
    "drawing",
    "element",
    "text_width",
    "shorten",
    "StageCost",
    "StageRow",
    "stage_rows",
    "stage_total",
    "total_cost",
    "stage_figure",
    "CountRow",
    "LineageNode",
    "lineage_figure",
    "Provenance",
    "TermsLine",
    "lineage_drawing",
    "node_ranks",
    "standalone_svg",
    "Measured",
    "estimate_value",
    "estimate_interval",
    "decimals_of",
    "fixed",
    "significant",
    "percent",
    "parameters",
    "size",
    "duration",
    "money",
    "times",
    "MINUS",
    "TIMES",
]
