"""The report on a task's students: complete, self-contained, safe, readable at any width."""

import json
import re
import xml.etree.ElementTree as ET
from functools import cache
from importlib.resources import files
from pathlib import Path

import evaluate_task_cases as cases
import pytest
from report_checks import CHROMIUM, Page, browser_complaints, contrast, drawings, plain

from stillhouse.errors import IntegrityError
from stillhouse.evaluate._task import RunFacts, TaskResults, read_task_results, render_task_report
from stillhouse.evaluate._task._records import TaskEstimate
from stillhouse.evaluate._task._report._cells import money_text
from stillhouse.evaluate._task._report._page import in_two
from stillhouse.evaluate._task._report._scatter import Mark, frontier
from stillhouse.evaluate._task._results import ContaminationFacts
from stillhouse.pages import CountRow, LineageNode, StageCost

SECTIONS = (
    "figures", "systems", "claims", "pareto", "calibration", "risk", "labels", "learning",
    "failures", "rests-on", "counts", "cost", "break-even", "assumptions",
    "lineage", "provenance", "reproduce", "intervals",
)  # fmt: skip
HOSTILE = (
    "</style></svg><script>alert('x')</script>",
    "\" onload=alert(1) x='",
    "{{ 7 * 7 }} {% raw %} &amp; &lt;",
    "\N{GRINNING FACE}\N{ZERO WIDTH JOINER}\N{FAMILY} \N{CJK UNIFIED IDEOGRAPH-65E5}" * 6,
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{HEBREW LETTER SHIN}\N{HEBREW LETTER LAMED} abc",
    "w" * 300,
)


@cache
def results() -> TaskResults:
    return cases.bake_off(900)


@cache
def extraction() -> TaskResults:
    held_out = cases.extraction_held_out()
    systems = [
        cases.measured(
            held_out, cases.extractions(held_out, error, seed=seed), name=name,
            kind="language model", answered_by="json", latency_s=0.8,
            num_parameters=135_000_000, num_bytes=538_000_000,
            training_seconds=900.0, validation=cases.validation(0.9 - error),
        )
        for name, error, seed in (("smollm", 0.04, 1), ("tiny", 0.12, 2))
    ]  # fmt: skip
    constant = held_out.train[0].answer or "{}"
    systems.append(
        cases.measured(
            held_out, cases.always(held_out, constant), latency_s=None, name="majority",
            role="majority", answered_by="constant",
        )
    )  # fmt: skip
    missing = {"n-grams": "a linear model on n-grams answers with labels only"}
    return cases.conclusions(held_out, systems, title="Invoices to JSON", missing=missing)


@cache
def rewriting() -> TaskResults:
    held_out = cases.text_held_out()
    systems = [
        cases.measured(
            held_out, cases.rewritten(held_out, 0.1, seed=1), name="smollm", kind="language model",
            answered_by="text", latency_s=1.3, num_parameters=135_000_000, num_bytes=538_000_000,
            training_seconds=900.0, is_probability=False,
        ),
        cases.measured(
            held_out, [cases.Given(row.text) for row in held_out.rows], name="copy", role="copy",
            answered_by="constant", latency_s=None,
        ),
    ]  # fmt: skip
    return cases.conclusions(held_out, systems, title="Plain words")


@cache
def hostile_report() -> str:
    """A report in which every text that a user or a model wrote is hostile."""
    labels = tuple(f"{text} {n}" for n, text in enumerate(HOSTILE[:5]))
    task = cases.classification(name=HOSTILE[0], labels=labels)
    held_out = cases.labelled(60, task=task, labels=labels, num_invalid=2)
    rows = [
        row.model_copy(update={"text": HOSTILE[n % len(HOSTILE)]})
        for n, row in enumerate(held_out.rows)
    ]
    held_out = cases.held_out_of(task, rows, held_out.train)
    systems = [
        cases.measured(
            held_out, cases.answers_like(held_out, 0.7, seed=n), name=name, num_bytes=10**(4 + n)
        )
        for n, name in enumerate(HOSTILE)
    ]  # fmt: skip
    found = cases.conclusions(held_out, systems, title=HOSTILE[0], missing={HOSTILE[1]: HOSTILE[2]})
    nodes = [LineageNode(text, text, text, text) for text in HOSTILE]
    return render_task_report(
        found,
        RunFacts(
            stages=[StageCost(text, 3.0) for text in HOSTILE],
            counts=[CountRow(text, 3, 2, {text: 1}) for text in HOSTILE],
            lineage=nodes,
            command=HOSTILE[0] + HOSTILE[5],
            environment=dict.fromkeys(HOSTILE, HOSTILE[5]),
        ),
    )


@cache
def pages() -> dict[str, str]:
    return {
        "labels": cases.page(results()),
        "extraction": cases.page(extraction()),
        "text": cases.page(rewriting()),
        "hostile": hostile_report(),
    }


def test_every_section_is_there_in_order() -> None:
    ids = [attributes["id"] for _, attributes in Page(pages()["labels"]).tags if "id" in attributes]
    assert tuple(one for one in ids if one != "warnings") == SECTIONS


def test_kinds_of_tasks_have_blocks_of_their_own() -> None:
    shown = {
        name: {attributes.get("id") for _, attributes in Page(source).tags}
        for name, source in pages().items()
    }
    assert "labels" in shown["labels"]
    assert "fields" in shown["extraction"]
    assert not {"labels", "scores"} & shown["extraction"]
    assert "scores" in shown["text"]
    assert not {"labels", "fields"} & shown["text"]


@pytest.mark.parametrize("name", ["labels", "extraction", "text", "hostile"])
def test_the_page_asks_for_nothing_and_runs_nothing(name: str) -> None:
    source = pages()[name]
    page = Page(source)
    for tag, attributes in page.tags:
        assert tag not in {"script", "img", "iframe", "object", "embed", "base", "form", "image"}
        for attribute, value in attributes.items():
            assert not attribute.startswith("on")
            if attribute in {"src", "href", "xlink:href", "srcset", "action", "data"}:
                assert value == "data:,"
    style = source[source.index("<style>") : source.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", source.encode("utf-8"))


@pytest.mark.parametrize("name", ["labels", "extraction", "text", "hostile"])
def test_drawings_are_well_formed_and_hold_no_number_that_is_none(name: str) -> None:
    source = pages()[name]
    found = drawings(source)
    assert len(found) >= 7
    for drawing in found:
        assert all("id" not in one.attrib for one in ET.fromstring(drawing).iter())
    words = plain(source).split()
    assert "nan" not in words
    assert "None" not in words
    assert "inf" not in words


def test_hostile_text_is_shown_as_it_was_written() -> None:
    text = Page(hostile_report()).text
    for wanted in HOSTILE:
        assert wanted in text


def test_the_verdict_is_the_first_thing_said_and_the_rule_of_choice_is_told() -> None:
    words = plain(pages()["labels"])
    found = results()
    claim, figures = in_two(found.verdict)
    assert words.index(f"{claim} {figures}") < words.index("Side by side")
    assert found.recommendation.rule in words
    assert "held-out messages had no say" in words


def test_a_verdict_is_a_claim_and_the_figures_behind_it() -> None:
    claim, figures = in_two("s is worse than the teacher: right on 70 % of 90; it takes 2 ms.")
    assert claim == "s is worse than the teacher."
    assert figures == "Right on 70 % of 90; it takes 2 ms."
    assert in_two("s gives the answer on 3 %; whether it is right is not known.") == (
        "s gives the answer on 3 %.",
        "Whether it is right is not known.",
    )
    assert in_two("Nothing was measured.") == ("Nothing was measured.", "")


@pytest.mark.parametrize(
    ("low", "high", "interval"),
    [
        (1.3e-6, 1.5e-6, "$0.0000013 to 0.0000015"),
        (0.006083, 0.006094, "$0.00608 to 0.00609"),
        (12.341, 12.344, "$12.341 to 12.344"),
        (2.0, 3.5, "$2.00 to 3.50"),
        (0.5, 0.5, "$0.50000 to 0.50000"),
    ],
)
def test_the_ends_of_an_amount_are_told_apart(low: float, high: float, interval: str) -> None:
    one = TaskEstimate(
        value=(low + high) / 2, low=low, high=high, n=9, num_clusters=9, method="formula"
    )
    assert money_text(one)[1] == interval


def test_what_is_always_shown_is_there_or_said_to_be_missing() -> None:
    words = plain(pages()["labels"])
    for wanted in ("majority", "untuned base", "Teacher with itself", "in the training data"):
        assert wanted in words
    assert "a linear model on n-grams answers with labels only" in plain(pages()["extraction"])
    alone = plain(pages()["text"])
    assert "not measured" in alone
    assert "collect with --samples 2 or more" in alone


def test_every_estimate_of_the_table_has_an_interval_n_and_method() -> None:
    words = plain(pages()["labels"])
    assert "Right answers n = 900, Wilson" in words
    assert re.search(r"Same answer as the teacher n = 893, Wilson", words)
    assert "order statistics" in words


def test_without_right_answers_the_page_says_what_it_cannot_say() -> None:
    held_out = cases.labelled(200, has_gold=False)
    systems = [cases.measured(held_out, cases.answers_like(held_out, 0.9, seed=1), name="s")]
    found = cases.conclusions(held_out, systems)
    words = plain(cases.page(found))
    assert "whether either is right is not known" in found.verdict
    assert "so that nothing here says whether anybody is right" in words
    assert "Right answers" not in words
    assert {one.metric for one in found.comparisons} == set()


def test_contaminated_figures_are_warned_of() -> None:
    held_out = cases.labelled(200)
    systems = [cases.measured(held_out, cases.answers_like(held_out, 0.9, seed=1), name="s")]
    found = cases.conclusions(
        held_out,
        systems,
        contamination=ContaminationFacts(
            is_checked=True, num_held_out=200, found={"exact": 9, "near": 2, "ngram": 0}
        ),
    )
    words = plain(cases.page(found))
    assert "11 of 200 held-out messages are in the training data too (exact 9, near 2)" in words
    assert "flatters" in found.verdict


def test_invalid_answers_count_as_wrong_and_are_named() -> None:
    words = plain(pages()["extraction"])
    assert re.search(r"smollm gave \d+ answers that the task does not allow", words)
    assert "Answers that the task allows" in words
    assert "unknown label 14" in plain(pages()["labels"])


def test_failures_show_who_said_what_and_how_sure() -> None:
    found = results()
    words = plain(pages()["labels"])
    assert len(found.failures) == 12
    for row in found.failures:
        assert row.text in words
        assert row.teacher != row.student
    assert "% sure" in words


def test_baselines_far_below_do_not_squeeze_the_plot_and_are_named() -> None:
    words = plain(pages()["labels"])
    assert re.search(r"Too far below to be drawn: .*majority \d", words)


def test_the_frontier_has_what_nothing_to_the_left_is_as_good_as() -> None:
    marks = [
        Mark("a", "c", x, y, y, y)
        for x, y in ((3.0, 80.0), (1.0, 70.0), (2.0, 65.0), (9.0, 85.0), (10.0, 84.0))
    ]
    assert frontier(marks) == ((1.0, 70.0), (3.0, 80.0), (9.0, 85.0))


def test_the_same_results_give_the_same_page() -> None:
    assert cases.page(results()) == cases.page(results())


def test_results_survive_a_round_trip_and_refuse_what_is_damaged(tmp_path: Path) -> None:
    for found in (results(), extraction(), rewriting()):
        path = tmp_path / "results.json"
        path.write_bytes(found.to_bytes())
        assert read_task_results(path) == found
    raw = json.loads(results().to_bytes())
    raw["systems"][1]["agreement"]["low"] = 2.0
    path.write_text(json.dumps(raw))
    with pytest.raises(IntegrityError, match="upside down"):
        read_task_results(path)
    path.write_bytes(results().to_bytes().replace(b'"schema_version": 1', b'"schema_version": 9'))
    with pytest.raises(IntegrityError, match="run it again"):
        read_task_results(path)
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_task_results(tmp_path / "absent.json")


def test_text_stands_out_from_its_background_in_light_and_dark() -> None:
    base = files("stillhouse.pages").joinpath("page.css").read_text("utf-8")
    style = files("stillhouse.evaluate._task._report").joinpath("task.css").read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w{6});", block))
        for block in re.findall(r":root \{(.*?)\}", base, flags=re.DOTALL)
    )
    ours = [
        dict(re.findall(r"--([\w-]+): (#\w{6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)
    ]
    for colors, more in zip((light, dark), ours, strict=True):
        assert more.keys() == {"student-5", "student-6"}
        for ink in more.values():
            assert contrast(ink, colors["paper"]) >= 4.5
        assert contrast(colors["good"], colors["paper"]) >= 4.5


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_nothing_sticks_out_at_any_width(tmp_path: Path) -> None:
    complaints, drawn = browser_complaints(
        pages(), (380, 420, 768, 1280), folder=tmp_path, scrolls=("hostile",)
    )
    assert min(drawn) >= 4
    assert complaints == []
