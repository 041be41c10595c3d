"""The HTML report: complete, self-contained, safe with hostile text, readable at any width."""

import re
import xml.etree.ElementTree as ET
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import report_cases as cases
from report_checks import CHROMIUM, Page, browser_complaints, contrast, drawings, plain

from stillhouse.evaluate._report import TrainingCurve, render_report
from stillhouse.evaluate._report._figures import running_mean
from stillhouse.evaluate._results import ModelResult, OwnTextKl, SampleRow, Target
from stillhouse.pages import CountRow, LineageNode, Provenance, StageCost, TermsLine, Tile

SECTIONS = (
    "figures",
    "comparison",
    "loss",
    "by-position",
    "speed",
    "samples",
    "targets",
    "counts",
    "cost",
    "lineage",
    "provenance",
    "reproduce",
    "intervals",
)
HOSTILE = (
    "</style></svg><script>alert('x')</script>",
    "\" onload=alert(1) x='",
    "{{ 7 * 7 }} {% raw %} &amp; &lt;",
    "\N{GRINNING FACE}\N{ZERO WIDTH JOINER}\N{FAMILY} \N{CJK UNIFIED IDEOGRAPH-65E5}" * 6,
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED} abc",
    "w" * 400,
    "nul \x00 escape \x1b bell \x07 lone \ud800 end",
    "  \n\n  ",
)
NBSP = "\N{NO-BREAK SPACE}"


def render(**changes: Any) -> str:
    return render_report(cases.results(), **cases.extras(**changes))


def hostile_report() -> str:
    """A report in which every text that a user or a model wrote is hostile."""
    named = dict(zip(("teacher", "student", "other", "untrained"), HOSTILE, strict=False))
    roles = (cases.teacher(), cases.student(), cases.student_sft(), cases.untrained())
    models = tuple(
        model.model_copy(update={"name": name, "objective": HOSTILE[0]})
        for model, name in zip(roles, named.values(), strict=True)
    )
    # Records refuse lone surrogates; the names of stages, curves and nodes may hold one.
    samples = tuple(
        SampleRow(prompt_id=text[:20], prompt=text, texts=dict.fromkeys(named.values(), text))
        for text in (*HOSTILE[:6], HOSTILE[7], HOSTILE[6].replace("\ud800", ""))
    )
    results = cases.results(
        title=HOSTILE[0],
        verdict=HOSTILE[5],
        models=models,
        comparisons=(),
        samples=samples,
        sample_rule=HOSTILE[2],
        targets=tuple(
            Target(name=text, wanted=text, reached=text, is_met=False) for text in HOSTILE[:6]
        ),
    )
    nodes = [LineageNode(text, text, text, text) for text in HOSTILE]
    nodes.append(LineageNode("all", "k", "s", "", tuple(HOSTILE)))
    return render_report(
        results,
        training={text: TrainingCurve(text, ((1, 2.0), (2, 1.0))) for text in HOSTILE},
        stages=[StageCost(text, 3.0) for text in HOSTILE],
        counts=[CountRow(text, 3, 2, {text: 1}) for text in HOSTILE],
        lineage=nodes,
        command=HOSTILE[0] + HOSTILE[5],
        environment=dict.fromkeys(HOSTILE, HOSTILE[5]),
        provenance=hostile_provenance(),
    )


def hostile_provenance() -> Provenance:
    return Provenance(
        verdict=HOSTILE[0],
        judged=HOSTILE[1],
        lines=tuple(TermsLine(text, text, False, (text, text), (text,)) for text in HOSTILE),
        duties=HOSTILE,
        signatures=HOSTILE,
        notes=HOSTILE,
        tiles=tuple(Tile(text, "1", (text,)) for text in HOSTILE[:3]),
    )


def test_every_section_is_there_in_order() -> None:
    ids = [attributes["id"] for _, attributes in Page(render()).tags if "id" in attributes]
    assert tuple(ids) == SECTIONS


@pytest.mark.parametrize("source", [render(), hostile_report()], ids=["realistic", "hostile"])
def test_the_page_asks_for_nothing_and_runs_nothing(source: str) -> None:
    page = Page(source)
    for tag, attributes in page.tags:
        assert tag not in {"script", "img", "iframe", "object", "embed", "base", "form", "image"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "xlink:href", "srcset", "action", "data"}:
                assert value == "data:,"
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")


@pytest.mark.parametrize("source", [render(), hostile_report()], ids=["realistic", "hostile"])
def test_drawings_are_well_formed_xml_without_ids(source: str) -> None:
    found = drawings(source)
    assert len(found) >= 10
    for drawing in found:
        assert all("id" not in one.attrib for one in ET.fromstring(drawing).iter())


def test_hostile_text_is_shown_as_it_was_written() -> None:
    text = Page(hostile_report()).text
    for wanted in HOSTILE[:6]:
        assert wanted in text
    assert "lone \N{REPLACEMENT CHARACTER} end" in text
    assert "49" not in text.split("wrote nothing")[0].split("{{ 7 * 7 }}")[1][:20]


def test_the_page_is_valid_utf_8_whatever_a_model_wrote() -> None:
    raw = hostile_report().encode("utf-8")
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", raw)


def test_key_figures_say_before_and_after_with_intervals() -> None:
    words = plain(render())
    for wanted in (
        "Distance to the teacher 11.71 \N{RIGHTWARDS ARROW} 1.20",
        "95 % interval 1.13 to 1.28",
        "Same most likely token 0.06 % \N{RIGHTWARDS ARROW} 61.2 %",
        "Size 1.9\N{MULTIPLICATION SIGN} smaller 70.8M of 134.5M",
        "Speed 1.9\N{MULTIPLICATION SIGN} faster 803 against 432",
        "Time, all stages 7 min 7 s cost $0",
    ):
        assert wanted in words


def test_the_verdict_is_the_first_thing_said() -> None:
    words = plain(render())
    assert words.index(cases.results().verdict) < words.index("Side by side")


def test_a_slower_and_larger_student_is_called_that() -> None:
    student = cases.student().model_copy(
        update={"num_parameters": 269_030_016, "generation_tokens_per_s": 215.85}
    )
    results = cases.results(models=(cases.teacher(), student), comparisons=(), samples=())
    words = plain(render_report(results, **cases.extras()))
    assert "Size 2.0\N{MULTIPLICATION SIGN} larger" in words
    assert "Speed 2.0\N{MULTIPLICATION SIGN} slower" in words


def best_cells(*models: ModelResult) -> list[str]:
    results = cases.results(models=models, comparisons=(), samples=())
    source = render_report(results, **cases.extras())
    return re.findall(r'<td class="[^"]*best[^"]*">([^<]*)<', source)


def test_bold_marks_only_students_that_are_clear_of_the_others() -> None:
    assert best_cells(cases.teacher(), cases.student(), cases.student_sft()) == [
        "1.20",
        f"61.2{NBSP}%",
    ]
    wide = cases.estimate(1.204, 1.0, 1.6)
    unclear = cases.student().model_copy(update={"forward_kl_nats": wide})
    assert best_cells(unclear, cases.student_sft()) == [f"61.2{NBSP}%"]
    assert best_cells(cases.teacher(), cases.student()) == []


def test_the_table_says_how_many_observations_a_row_rests_on() -> None:
    words = plain(render())
    assert "lower is closer; n = 3,120 in 160 groups" in words
    assert "lower is better; n = 160 in 160 groups" in words
    fewer = cases.student_sft().model_copy(
        update={"forward_kl_nats": cases.estimate(1.6, 1.5, 1.7, n=99, num_clusters=7)}
    )
    results = cases.results(
        models=(cases.student(), fewer, cases.teacher(), cases.untrained()), comparisons=()
    )
    assert "1.50 to 1.70 (n = 99 in 7 groups)" in plain(render_report(results, **cases.extras()))


def test_what_a_training_measured_on_its_students_texts_is_shown_where_it_did() -> None:
    assert "KL on own texts" not in plain(render())
    own = OwnTextKl(before_nats=2.5, after_nats=1.25)
    measured = cases.student().model_copy(update={"own_text_kl": own})
    results = cases.results(models=(cases.teacher(), measured), comparisons=(), samples=())
    words = plain(render_report(results, **cases.extras()))
    assert "KL on own texts" in words
    assert "1.25" in words
    assert "2.50 before" in words


def test_differences_between_fractions_are_points() -> None:
    words = plain(render())
    assert "student minus student-sft: \N{MINUS SIGN}0.40 nats" in words
    assert "student minus student-sft: 5.1 points [3.8 to 6.4]" in words


def test_an_unknown_cost_is_never_shown_as_nothing() -> None:
    words = plain(render(stages=[StageCost("collect", 9.0, 10, 10, None)], provenance=None))
    assert "cost unknown" in words
    assert "$0" not in words
    mixed = [StageCost("collect", 9.0, 1, 1, 0.5), StageCost("train", 9.0, 1, 1, None)]
    assert "cost $0.50 + unknown" in plain(render(stages=mixed))


def test_what_was_not_measured_is_said_in_words() -> None:
    bare = ModelResult(
        name="student",
        role="student",
        num_parameters=1_000,
        num_embedding_parameters=0,
        num_layers=1,
        weight_bytes=4_000,
        looping_fraction=cases.rate(0.0, 0.0, 0.0),
    )
    results = cases.results(models=(bare,), comparisons=(), samples=(), targets=())
    source = render_report(
        results,
        training={},
        stages=[],
        counts=[],
        lineage=[],
        command="stillhouse evaluate",
        environment={},
    )
    words = plain(source)
    for wanted in (
        "No training log was given.",
        "Not measured by position.",
        "No samples were recorded.",
        "None were set.",
        "No counts were recorded.",
        "No stages were recorded.",
        "No lineage was recorded.",
        "Verdict and duties: not recorded.",
    ):
        assert wanted in words
    assert "None" not in words.replace("None were set.", "")
    assert "nan" not in words.split()
    assert tuple(a["id"] for _, a in Page(source).tags if "id" in a) == SECTIONS


def test_a_report_without_an_sft_student_has_no_trace_of_one() -> None:
    results = cases.results(
        models=(cases.teacher(), cases.student(), cases.untrained()),
        comparisons=(),
        samples=(),
        targets=(),
    )
    source = render_report(
        results,
        **cases.extras(
            training={"student": cases.curve("student", 11.6, 1.1, seed=4)},
            stages=[],
            lineage=[],
        ),
    )
    assert "sft" not in plain(source).lower()
    assert "bold marks" not in plain(source)


def test_losses_that_are_not_finite_leave_a_report() -> None:
    broken = TrainingCurve("student", ((1, float("nan")), (2, float("inf"))))
    assert "No training log was given." in plain(render(training={"student": broken}))
    partly = TrainingCurve("student", ((1, float("nan")), (2, 3.0), (3, 2.0)))
    source = render(training={"student": partly})
    assert "NaN" not in source
    assert ">nan<" not in source.lower()


def test_long_training_runs_do_not_swell_the_page() -> None:
    points = tuple((step, 2.0 + 1.0 / step) for step in range(1, 50_001))
    source = render(training={"student": TrainingCurve("student", points)})
    assert len(source) < len(render()) + 20_000


def test_targets_say_in_words_and_by_sign_which_were_missed() -> None:
    source = render()
    assert "5 of 6 met." in plain(source)
    assert source.count('<li class="met">') == 5
    assert source.count('<li class="missed">') == 1
    assert "missed Looping completions wanted at most the teacher's + 1 point" in plain(source)


def test_long_texts_are_cut_with_a_count() -> None:
    row = SampleRow(prompt_id="p", prompt="x" * 700, texts={"student": "word " * 400})
    words = plain(render_report(cases.results(samples=(row,)), **cases.extras()))
    assert "[100 characters more]" in words
    assert "[1,400 characters more]" in words


def test_an_empty_completion_is_named() -> None:
    row = SampleRow(prompt_id="p", prompt="x", texts={"student": " \n"})
    assert "wrote nothing" in plain(render_report(cases.results(samples=(row,)), **cases.extras()))


def test_the_same_inputs_give_the_same_page() -> None:
    assert render() == render()


def test_text_stands_out_from_its_background_in_light_and_dark() -> None:
    style = files("stillhouse.pages").joinpath("page.css").read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)
    )
    assert light.keys() == dark.keys()
    for colors in (light, dark):
        inks = ("ink", "muted", "teacher", "untrained", "good", "bad", "student")
        inks += ("student-2", "student-3", "student-4")
        for ink in inks:
            assert contrast(colors[ink], colors["paper"]) >= 4.5
            assert contrast(colors[ink], colors["surface"]) >= 4.5
        for background in ("tint", "code", *(f"stage-{n}" for n in range(1, 7))):
            assert contrast(colors["ink"], colors[background]) >= 4.5
        for one, other in combinations(("teacher", "student", "student-2"), 2):
            assert colors[one] != colors[other]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_nothing_sticks_out_at_any_width(tmp_path: Path) -> None:
    complaints, drawn = browser_complaints(
        {"realistic": render(), "hostile": hostile_report()},
        (380, 400, 768, 1200),
        folder=tmp_path,
        scrolls=("hostile",),
    )
    assert min(drawn) >= 15
    assert complaints == []


def test_the_running_mean_keeps_a_straight_line_straight() -> None:
    line = tuple((float(x), 3.0 - 0.1 * x) for x in range(30))
    smoothed = running_mean(line, 7)
    assert [x for x, _ in smoothed] == [x for x, _ in line]
    assert [y for _, y in smoothed] == pytest.approx([y for _, y in line])


def test_the_running_mean_takes_noise_away() -> None:
    assert running_mean(((0, 0.0), (1, 3.0), (2, 0.0)), 3)[1] == (1, 1.0)
