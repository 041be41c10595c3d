"""Ticks, number words, label placement and the lineage's layout."""

import math
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
import report_cases as cases
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import DataError
from stillhouse.pages import (
    Axes,
    Bar,
    LineageNode,
    Series,
    element,
    line_chart,
    log_ticks,
    nice_ticks,
    shorten,
    stacked_bar,
    text_width,
)
from stillhouse.pages import _numbers as numbers
from stillhouse.pages._lineage import lineage_drawing, node_ranks
from stillhouse.pages._svg import wrap

SVG = "{http://www.w3.org/2000/svg}"
NBSP = "\N{NO-BREAK SPACE}"

values = st.floats(min_value=-1e6, max_value=1e6)


@given(values, st.floats(min_value=1e-3, max_value=1e6), st.integers(min_value=3, max_value=8))
def test_ticks_enclose_the_data_in_even_round_steps(low: float, span: float, target: int) -> None:
    high = low + span
    ticks = nice_ticks(low, high, target)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + step * 1e-6
    assert ticks[-1] >= high - step * 1e-6
    assert all(math.isclose(b - a, step, rel_tol=1e-6) for a, b in pairwise(ticks))
    assert len(ticks) <= target + 2
    leading = float(f"{step:.6e}".split("e")[0])
    assert round(leading, 3) in (1.0, 2.0, 5.0, 10.0)


def test_ticks_of_a_single_value_still_span_an_axis() -> None:
    ticks = nice_ticks(3.0, 3.0)
    assert ticks[0] < 3.0 < ticks[-1]


@given(st.floats(min_value=1e-6, max_value=1e6), st.floats(min_value=1.0, max_value=1e6))
def test_log_ticks_enclose_the_data(low: float, ratio: float) -> None:
    ticks = log_ticks(low, low * ratio)
    assert ticks[0] <= low * (1 + 1e-6)
    assert ticks[-1] >= low * ratio * (1 - 1e-6)
    assert ticks == sorted(set(ticks))
    assert len(ticks) >= 2


def test_log_ticks_go_by_one_two_five() -> None:
    assert log_ticks(0.7, 12.4) == [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]


def test_a_line_breaks_where_its_axis_cannot_show_a_value() -> None:
    points = ((0.0, 1.0), (1.0, float("nan")), (2.0, 100.0), (3.0, 0.0), (4.0, 50.0))
    chart = line_chart(
        [Series("a", "c-student", points)],
        Axes("x", "y", is_log_y=True),
        width=400,
        height=200,
        label="test",
    )
    path = next(
        one for one in ET.fromstring(chart).iter(f"{SVG}path") if one.get("class") == "line"
    )
    assert path.get("d", "").count("M") == 3
    assert path.get("d", "").count("L") == 0


def test_labels_of_lines_that_end_together_do_not_overlap() -> None:
    series = [
        Series(f"line {index}", "c-student", ((0.0, 1.0), (9.0, 1.0 + index * 1e-4)))
        for index in range(6)
    ]
    chart = line_chart(series, Axes("x", "y"), width=400, height=200, label="test")
    labels = [
        one for one in ET.fromstring(chart).iter(f"{SVG}text") if one.get("class") == "end-label"
    ]
    heights = sorted(float(one.get("y", "nan")) for one in labels)
    assert len(heights) == 6
    assert all(below - above >= 13.9 for above, below in pairwise(heights))
    assert heights[0] > 0
    assert heights[-1] < 200


def test_the_line_of_a_larger_loss_is_drawn_higher() -> None:
    series = [
        Series("low", "c-student", ((0.0, 1.0), (9.0, 1.0))),
        Series("high", "c-student-2", ((0.0, 2.0), (9.0, 2.0))),
    ]
    root = ET.fromstring(line_chart(series, Axes("x", "y"), width=400, height=200, label="t"))
    low, high = (one.get("d", "") for one in root.iter(f"{SVG}path") if one.get("class") == "line")
    assert float(high.split("L")[0].split(" ")[1]) < float(low.split("L")[0].split(" ")[1])


def test_parts_of_a_stacked_bar_fill_its_width_in_proportion() -> None:
    bars = [Bar("a", "c-stage-1", 30.0, "30 s"), Bar("b", "c-stage-2", 10.0, "10 s")]
    root = ET.fromstring(stacked_bar(bars, width=402, label="time"))
    first, second = root.findall(f"{SVG}rect")
    assert float(first.get("width", "nan")) == pytest.approx(300)
    assert float(second.get("x", "nan")) + float(second.get("width", "nan")) == pytest.approx(402)


def test_attributes_and_text_are_escaped() -> None:
    drawn = element("text", '<b>&"', data_x='"><script>')
    assert ET.fromstring(drawn).text == '<b>&"'
    assert ET.fromstring(drawn).get("data-x") == '"><script>'


@given(st.text(max_size=60), st.floats(min_value=20, max_value=200))
def test_shortened_text_fits_its_width(text: str, width: float) -> None:
    assert text_width(shorten(text, width)) <= width


def test_labels_break_at_spaces_before_hyphens() -> None:
    assert wrap("train student-sft", 100) == ["train", "student-sft"]
    assert wrap("student-sft", 60) == ["student-", "sft"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (numbers.significant(11.7134), "11.7"),
        (numbers.significant(9.996), "10.0"),
        (numbers.significant(0.0006, 2), "0.00060"),
        (numbers.significant(212_400), "212,400"),
        (numbers.significant(-0.5), "\N{MINUS SIGN}0.500"),
        (numbers.fixed(-0.001, 2), "0.00"),
        (numbers.parameters(134_515_008), "134.5M"),
        (numbers.parameters(7_241_732_096), "7.2B"),
        (numbers.size(538_090_408), f"538{NBSP}MB"),
        (numbers.duration(0.4), f"0.40{NBSP}s"),
        (numbers.duration(95.1), f"95{NBSP}s"),
        (numbers.duration(150.3), f"2{NBSP}min 30{NBSP}s"),
        (numbers.duration(3_899), f"1{NBSP}h 5{NBSP}min"),
        (numbers.money(None), "unknown"),
        (numbers.money(0.0), "$0"),
        (numbers.money(0.0123), "$0.012"),
        (numbers.money(1.4e-6), "$0.0000014"),
        (numbers.money(1234.5), "$1,234.50"),
        (numbers.percent(0.004), f"<{NBSP}1{NBSP}%"),
        (numbers.times(1.8605), "1.9\N{MULTIPLICATION SIGN}"),
    ],
)
def test_numbers_read_as_people_write_them(text: str, wanted: str) -> None:
    assert text == wanted


def test_an_estimate_shows_the_digits_its_interval_supports() -> None:
    assert numbers.estimate_value(cases.estimate(1.2043, 1.131, 1.279)) == "1.20"
    assert numbers.estimate_interval(cases.estimate(1.2043, 1.131, 1.279)) == "1.13 to 1.28"
    assert numbers.estimate_value(cases.estimate(1.2043, 0.9, 1.9)) == "1.2"
    assert numbers.estimate_value(cases.estimate(212_400, 195_100, 231_800)) == "212,400"
    share = cases.estimate(0.612, 0.597, 0.628)
    assert numbers.estimate_interval(share, is_fraction=True) == f"59.7 to 62.8{NBSP}%"


def test_an_interval_of_no_width_still_has_digits() -> None:
    assert numbers.estimate_value(cases.estimate(0.25, 0.25, 0.25)) == "0.25"
    assert numbers.estimate_value(cases.rate(0.0, 0.0, 0.0), is_fraction=True) == f"0{NBSP}%"


def test_ranks_put_children_after_their_furthest_parent() -> None:
    ranks = node_ranks(cases.lineage())
    assert ranks == {
        "prompts": 0,
        "completions": 1,
        "dataset": 2,
        "signal": 3,
        "student-sft": 3,
        "student": 4,
        "evaluation": 5,
    }


def test_a_late_source_stands_beside_its_first_child() -> None:
    extra = LineageNode("held out", "prompts", "", "", ())
    nodes = [node for node in cases.lineage() if node.name != "evaluation"]
    nodes += [extra, LineageNode("evaluation", "evaluation", "", "", ("student", "held out"))]
    assert node_ranks(nodes)["held out"] == 4


@pytest.mark.parametrize(
    ("nodes", "told"),
    [
        ((LineageNode("a", "k", "s", ""), LineageNode("a", "k", "s", "")), "'a' twice"),
        ((LineageNode("a", "k", "s", "", ("b",)),), "'b', which is not in the graph"),
        (
            (LineageNode("a", "k", "s", "", ("b",)), LineageNode("b", "k", "s", "", ("a",))),
            "cycle at 'a'",
        ),
    ],
)
def test_a_lineage_that_cannot_be_drawn_is_refused(
    nodes: tuple[LineageNode, ...], told: str
) -> None:
    with pytest.raises(DataError, match=told):
        lineage_drawing(nodes, {}, width=400, is_vertical=False)


@pytest.mark.parametrize("is_vertical", [True, False])
def test_lineage_boxes_lie_apart_and_inside(is_vertical: bool) -> None:
    width = 340.0 if is_vertical else 1040.0
    root = ET.fromstring(lineage_drawing(cases.lineage(), {}, width=width, is_vertical=is_vertical))
    boxes = [
        tuple(float(one.get(key, "nan")) for key in ("x", "y", "width", "height"))
        for one in root.iter(f"{SVG}rect")
    ]
    full_width, full_height = (float(text) for text in root.get("viewBox", "").split()[2:])
    assert len(boxes) == 7
    for x, y, box_width, box_height in boxes:
        assert x >= 0
        assert y >= 0
        assert x + box_width <= full_width
        assert y + box_height <= full_height
    for index, (x, y, box_width, box_height) in enumerate(boxes):
        for other_x, other_y, _, _ in boxes[index + 1 :]:
            assert abs(x - other_x) >= box_width or abs(y - other_y) >= box_height
