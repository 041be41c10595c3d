"""All labels of a task in one strip: the redder, the more of a label's messages went elsewhere."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from stillhouse.evaluate._task._records import LabelCount
from stillhouse.pages import Figure, drawing, element

_WIDE_PX, _NARROW_PX = 1040.0, 340.0
_HEIGHT, _CAPTION = 40.0, 20.0
_GAP_FROM_PX = 5.0  # cells narrower than this have no gap between them


def label_strip(labels: Sequence[LabelCount]) -> Figure | None:
    """The strip for both column widths; None where no label was given."""
    given = [one for one in labels if one.n]
    if not given:
        return None
    given.sort(key=lambda one: (one.same / one.n, one.label))
    return Figure(wide=_strip(given, _WIDE_PX), narrow=_strip(given, _NARROW_PX))


def _strip(labels: Sequence[LabelCount], width: float) -> Markup:
    step = width / len(labels)
    gap = 1.5 if step >= _GAP_FROM_PX else 0.0
    parts = []
    for place, one in enumerate(labels):
        missed = math.sqrt(1 - one.same / one.n)  # the first few are what tells labels apart
        title = element("title", f"{one.label}: {one.same:,} of {one.n:,} the same")
        box = {"x": place * step, "y": 0.0, "width": max(step - gap, 0.5), "height": _HEIGHT}
        parts.append(element("rect", class_="cell", **box))
        parts.append(element("rect", title, class_="miss", fill_opacity=f"{missed:.3f}", **box))
    worst, best = labels[0], labels[-1]
    y = _HEIGHT + _CAPTION - 4
    ends = [
        element("text", f"worst: {100 * worst.same / worst.n:.0f} %", x=0, y=y, class_="tick"),
        element("text", f"best: {100 * best.same / best.n:.0f} %", x=width, y=y, class_="tick end"),
    ]
    label = (
        f"{len(labels)} labels by the share of messages that keep them, from "
        f"{100 * worst.same / worst.n:.0f} % to {100 * best.same / best.n:.0f} %"
    )
    return drawing(width, _HEIGHT + _CAPTION, *parts, *ends, label=label)
