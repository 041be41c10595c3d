"""Who pays and who earns by a student: from logged tokens and seconds, and listed assumptions.

`economics` reads an artefact and its ancestors; the formulas are functions of numbers alone. What
is unknown is None and never 0. Importing it loads no torch.
"""

from stillhouse.economics._assumptions import Assumptions, CopyScenario, source_of, unit_of
from stillhouse.economics._assumptions_file import (
    assumptions_schema,
    assumptions_text,
    read_assumptions,
    write_assumptions,
)
from stillhouse.economics._break_even import (
    BreakEvenVolume,
    break_even_range,
    break_even_volume,
    largest_teacher_share,
    saving_per_request,
    whole_requests,
)
from stillhouse.economics._calls import (
    TeacherCalls,
    logged_calls,
    machine_usd,
    mean_cost,
    num_cores,
)
from stillhouse.economics._copying import copying_ratio, harvest_usd
from stillhouse.economics._economics import economics
from stillhouse.economics._licensing import (
    detection_needed,
    discount,
    penalty_needed,
    royalty_ceiling,
    share_of,
)
from stillhouse.economics._page import cost_figure, economics_tiles, render_economics
from stillhouse.economics._range import Range, exactly, product, total
from stillhouse.economics._records import (
    Copying,
    Economics,
    Effect,
    Flow,
    Given,
    Licensing,
    Party,
    Swing,
)
from stillhouse.economics._speed import Service, Speed, read_service
from stillhouse.economics._words import count_text, requests_text

__all__ = [
    "economics",
    "Economics",
    "Assumptions",
    "CopyScenario",
    "unit_of",
    "source_of",
    "read_assumptions",
    "write_assumptions",
    "assumptions_text",
    "assumptions_schema",
    "render_economics",
    "cost_figure",
    "economics_tiles",
    "count_text",
    "requests_text",
    # What was measured
    "Speed",
    "Service",
    "read_service",
    "TeacherCalls",
    "logged_calls",
    "mean_cost",
    "machine_usd",
    "num_cores",
    "Range",
    "exactly",
    "total",
    "product",
    # What was found
    "Flow",
    "Party",
    "Effect",
    "Swing",
    "Copying",
    "Licensing",
    "Given",
    "BreakEvenVolume",
    # Formulas
    "saving_per_request",
    "break_even_volume",
    "break_even_range",
    "whole_requests",
    "largest_teacher_share",
    "harvest_usd",
    "copying_ratio",
    "discount",
    "royalty_ceiling",
    "detection_needed",
    "penalty_needed",
    "share_of",
]
