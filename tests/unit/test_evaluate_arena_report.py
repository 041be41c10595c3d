"""The arena's page and its results file: complete, self-contained, honest, safe with any text."""

import html
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import arena_cases as cases
import pytest

from stillhouse.artifacts import Artifact, Counts, begin_artifact
from stillhouse.errors import IntegrityError
from stillhouse.evaluate import ArenaResults, read_arena_results
from stillhouse.evaluate._arena._lineage import lineage_nodes
from stillhouse.evaluate._arena._report import render_arena_report
from stillhouse.evaluate._arena._report._words import claim_text, signed_points
from stillhouse.evaluate._arena._results import ArenaExample, Claim
from stillhouse.evaluate._history import History

SECTIONS = (
    "figures",
    "warnings",
    "standings",
    "pairs",
    "matrix",
    "judge",
    "examples",
    "cost",
    "lineage",
    "reproduce",
    "intervals",
)
HOSTILE = (
    "</style></svg><script>alert('x')</script>",
    "\" onload=alert(1) x='",
    "{{ 7 * 7 }} {% raw %} &amp; &lt;",
    "w" * 300,
    "\N{RIGHT-TO-LEFT OVERRIDE}\N{HEBREW LETTER SHIN} nul \x00 escape \x1b end",
)
NBSP = "\N{NO-BREAK SPACE}"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """What a browser would see: tags, attributes and the text outside the style sheet."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._is_in_style = False
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._is_in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._is_in_style = False

    def handle_data(self, data: str) -> None:
        if not self._is_in_style:
            self.text += data


def render(**changes: Any) -> str:
    return render_arena_report(cases.results(**changes), **cases.extras())


def plain(source: str) -> str:
    return " ".join(Page(source).text.split())


def hostile_report() -> str:
    """Every text that a user, a model or a judge wrote is hostile."""
    names = dict(zip(("teacher", "student", "rival-mini", "base"), HOSTILE, strict=False))
    models = tuple(
        one.model_copy(update={"name": names[one.name], "teacher": HOSTILE[0]})
        for one in cases.models()
    )
    pairs = tuple(
        one.model_copy(update={"a": names[one.a], "b": names[one.b]}) for one in cases.pairs()
    )
    examples = tuple(
        ArenaExample(
            prompt_id=text,
            prompt=text,
            a=HOSTILE[0],
            b=HOSTILE[1],
            a_text=text,
            b_text=text,
            winner="a",
            order_effect="none",
            reason=text,
        )
        for text in HOSTILE
    )
    results = cases.results(
        title=HOSTILE[0],
        verdict=HOSTILE[2],
        warnings=HOSTILE,
        models=models,
        pairs=pairs,
        judge=cases.judge(
            teacher=HOSTILE[0],
            template=HOSTILE[1],
            problems={HOSTILE[0]: 1},
            agreements=(cases.agreement(name=HOSTILE[0]),),
        ),
        examples=examples,
    )
    return render_arena_report(
        results, lineage=[], command=HOSTILE[0], environment=dict.fromkeys(HOSTILE, HOSTILE[1])
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
    assert "content=\"default-src 'none'" in source


@pytest.mark.parametrize("source", [render(), hostile_report()], ids=["realistic", "hostile"])
def test_drawings_are_well_formed_xml_without_ids(source: str) -> None:
    found = re.findall(r"<svg.*?</svg>", source, flags=re.DOTALL)
    assert len(found) >= 4
    for drawing in found:
        assert all("id" not in one.attrib for one in ET.fromstring(drawing).iter())


def test_hostile_text_is_shown_as_it_was_written() -> None:
    source = hostile_report()
    text = Page(source).text
    for wanted in HOSTILE[:4]:
        assert wanted in text
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", source.encode())


def test_the_verdict_comes_first_and_its_doubts_next() -> None:
    words = plain(render())
    places = [
        words.index(one) for one in (cases.results().verdict, "Before you believe", "Standings")
    ]
    assert places == sorted(places)


def test_key_figures_say_who_leads_and_whether_the_judge_is_to_be_trusted() -> None:
    words = plain(render())
    for wanted in (
        "In front teacher rank 1 of 4",
        "Judge agrees 74 % with labels kappa 0.58 [0.49 to 0.67]",
        "Place decides 11.8 % of 1,790 pairs",
        "Pairs compared 1,798 of 1,800 there are",
        "Cost $8.48 3,592 questions to the judge",
    ):
        assert wanted in words


def test_standings_show_both_rankings_with_their_intervals() -> None:
    words = plain(render())
    assert "student local:student@3f21c0aa91d2 2\N{EN DASH}3 1048 [1014, 1082]" in words
    assert "1\N{EN DASH}2 1071 [1037, 1105]" in words
    assert "rival-mini replay:5f0c11ab9e3d7702 (claude-mini-4)" in words
    assert "31 cut, 3 missing" in words


def test_without_lengths_there_is_one_ranking_only() -> None:
    models = tuple(one.model_copy(update={"standing_equal_length": None}) for one in cases.models())
    pairs = tuple(one.model_copy(update={"contrast_equal_length": None}) for one in cases.pairs())
    words = plain(render(models=models, pairs=pairs, long_answer_wins=None))
    assert "equal length" not in words.split("Intervals.")[0]
    assert "twice as long" not in words


def test_pairs_say_what_holds_in_words() -> None:
    words = plain(render())
    assert "teacher is better at equal length: teacher is no worse" in words
    assert "student is no worse at equal length: student is better" in words
    assert "teacher is better the same at equal length" in words
    assert "+94 [+47, +141]" in words
    assert "2 without a verdict" in words


def test_the_matrix_reads_from_both_sides() -> None:
    source = render()
    matrix = source[source.index('<table class="matrix">') :]
    cells = re.findall(r'<div style="--tint-share: (\d+)%">([^<]*)<', matrix)
    assert len(cells) == 16
    values = [html.unescape(value).strip() for _, value in cells]
    assert values[0] == values[5] == values[10] == values[15] == "\N{EN DASH}"
    there, back = (float(values[index].split(NBSP)[0]) for index in (1, 4))
    assert there + back == pytest.approx(100, abs=0.11)
    assert cells[1][0] == cells[4][0]


def test_a_judge_that_nobody_checked_is_called_not_validated() -> None:
    words = plain(render(judge=cases.judge(agreements=())))
    assert "Judge not validated no labelled pairs were given" in words
    assert "Nobody has compared this judge with people" in words


def test_agreement_is_shown_with_its_table() -> None:
    words = plain(render())
    assert "Against labelled pairs (labels.jsonl)" in words
    assert "label: first 81 14 9 label: tie 17 34 11 label: second 9 15 50" in words
    assert "240 pairs, 2 more without a verdict" in words


def test_examples_say_how_they_ended_and_why() -> None:
    words = plain(render())
    assert (
        "teacher wins in both orders. The judge, with teacher shown first: Both are right." in words
    )
    assert "the verdict changes with the order: a tie" in words
    assert "Chosen by rule, not by hand: the first pairs" in words


def test_an_unknown_cost_is_never_shown_as_nothing() -> None:
    models = [*cases.models()]
    models[2] = models[2].model_copy(
        update={"usage": models[2].usage.model_copy(update={"cost_usd": None})}
    )
    assert "Cost $8.07 + unknown" in plain(render(models=tuple(models)))


def test_an_open_question_says_how_many_prompts_would_tell() -> None:
    assert claim_text(Claim(verdict="inconclusive", num_groups_needed=1240)) == (
        "open, about 1,240 prompts would tell"
    )
    assert signed_points(cases.estimate(0.2, -12.4, 12.8)) == "0 [\N{MINUS SIGN}12, +13]"


def test_two_models_are_enough_for_a_page() -> None:
    two, (first, *_) = cases.models()[:2], cases.pairs()
    words = plain(render(models=two, pairs=(first,), warnings=(), examples=()))
    assert "rank 1 of 2" in words
    assert "No examples were recorded." in words


def test_results_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(cases.results().to_bytes())
    assert read_arena_results(path) == cases.results()


def test_results_of_another_version_or_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_arena_results(path)
    path.write_text(json.dumps({**json.loads(cases.results().to_bytes()), "schema_version": 2}))
    with pytest.raises(IntegrityError, match="schema_version"):
        read_arena_results(path)
    path.write_text("{}")
    with pytest.raises(IntegrityError, match="hold it again"):
        read_arena_results(path)


def test_results_about_unknown_models_are_refused() -> None:
    with pytest.raises(ValueError, match="is not a model"):
        ArenaResults.model_validate(
            cases.results().model_dump() | {"models": cases.results().models[:3]}
        )


def artifact_in(folder: Path, *parents: Artifact) -> Artifact:
    config = {"folder": str(folder)}
    writer = begin_artifact(
        folder, kind="completions", stage="collect", config=config, parents=parents
    )
    return writer.finish(counts=Counts(num_in=3, kept=3))


def test_folders_that_are_named_alike_are_told_apart_in_the_lineage(tmp_path: Path) -> None:
    recordings = [artifact_in(tmp_path / name / "completions") for name in ("one", "other")]
    answers = [
        artifact_in(tmp_path / f"answers{number}", recording)
        for number, recording in enumerate(recordings)
    ]
    named = {"answers of a": answers[0], "answers of b": answers[1]}
    nodes = lineage_nodes(History.of(answers), named)
    names = [node.name for node in nodes]
    assert len(set(names)) == len(names) == 5
    assert names[-1] == "arena"
    assert nodes[-1].parents == ("answers of a", "answers of b")
    assert {parent for node in nodes for parent in node.parents} < set(names)


# Tables and the hostile names in them may scroll in their own boxes; the page may not.
MEASURE = """
onload = () => setTimeout(() => {
  const told = [...document.querySelectorAll("iframe")].map(frame => {
    const page = frame.contentDocument.documentElement;
    return [frame.title, page.scrollWidth, page.clientWidth];
  });
  document.body.textContent = JSON.stringify(told);
}, 500);
"""


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_nothing_sticks_out_of_the_page_at_any_width(tmp_path: Path) -> None:
    assert CHROMIUM is not None
    frames = "".join(
        f'<iframe title="{name} {width}" srcdoc="{html.escape(source)}" '
        f'style="width:{width}px;height:900px;border:0"></iframe>'
        for name, source in (("realistic", render()), ("hostile", hostile_report()))
        for width in (360, 500, 768, 1280)
    )
    page = tmp_path / "frames.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{frames}<script>{MEASURE}</script>")
    switches = "--headless --no-sandbox --disable-gpu --no-first-run --disable-sync"
    done = subprocess.run(
        [
            CHROMIUM,
            *switches.split(),
            "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=8000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    body = re.search(r"<body>(.*)</body>", done.stdout, flags=re.DOTALL)
    assert body
    told = json.loads(html.unescape(body[1]))
    assert len(told) == 8
    assert [(title, scroll, width) for title, scroll, width in told if scroll > width] == []
