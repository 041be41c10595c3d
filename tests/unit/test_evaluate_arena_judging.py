"""Pairs to the judge and back, labelled pairs, and how far the two agree."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from arena_hall import Hall, Ruler, message

from stillhouse.artifacts import Artifact, Counts, TeacherRef, begin_artifact
from stillhouse.errors import ConfigError, DataError, RecordError, TooManyFailuresError
from stillhouse.evaluate._arena._agreement import label_agreement, reference_agreement
from stillhouse.evaluate._arena._answers import Entrant
from stillhouse.evaluate._arena._comparisons import Comparison
from stillhouse.evaluate._arena._gold import Gold, GoldRow, gold_duels, read_gold
from stillhouse.evaluate._arena._judging import (
    Duel,
    Judgement,
    Outcome,
    check_readable,
    count_problems,
    judge_prompts,
    read_outcomes,
)
from stillhouse.evaluate._arena._partiality import partial_to
from stillhouse.evaluate._arena._plan import Pairing
from stillhouse.graders import Winner, read_judge_template
from stillhouse.records import Completion, Prompt, Request, Sampling
from stillhouse.runlog import ignore_progress

TEMPLATE = read_judge_template()


def duel(name: str, a: float | str, b: float | str, **changes: Any) -> Duel:
    texts = [one if isinstance(one, str) else f"quality={one}" for one in (a, b)]
    facts = {"request": (message(f"Question {name}?"),), "group": name, **changes}
    return Duel(name, a=texts[0], b=texts[1], **facts)


def judged(folder: Path, duels: list[Duel], speak: Any) -> tuple[list[Outcome], Hall]:
    hall = Hall(folder)
    hall.let_speak(judge=speak)
    artifact = hall.ask(
        judge_prompts(duels, TEMPLATE),
        folder / "judgements",
        teacher="judge",
        sampling=Sampling(temperature=0.0),
        max_failure_fraction=0.0,
        on_progress=ignore_progress,
    )
    return read_outcomes(duels, TEMPLATE, artifact), hall


def test_both_orders_are_asked_and_the_better_answer_wins(tmp_path: Path) -> None:
    duels = [duel("one", 2.0, 1.0), duel("two", 1.0, 2.0)]
    outcomes, hall = judged(tmp_path, duels, Ruler())
    assert [outcome.winner for outcome in outcomes] == ["a", "b"]
    assert {outcome.order_effect for outcome in outcomes} == {"none"}
    assert [
        (one.a_first.choice, one.b_first.choice) for one in outcomes if one.a_first and one.b_first
    ] == [
        ("first", "second"),
        ("second", "first"),
    ]
    assert hall.num_asked("judge") == 4


def test_a_judge_that_goes_by_place_gives_ties(tmp_path: Path) -> None:
    outcomes, _ = judged(tmp_path, [duel("one", 2.0, 1.9)], Ruler(first_bonus=0.5))
    assert [(one.winner, one.order_effect) for one in outcomes] == [("tie", "first")]
    outcomes, _ = judged(tmp_path / "b", [duel("one", 2.0, 1.9)], Ruler(first_bonus=-0.5))
    assert [(one.winner, one.order_effect) for one in outcomes] == [("tie", "second")]


def test_identical_answers_tie_and_nobody_is_asked(tmp_path: Path) -> None:
    outcomes, hall = judged(tmp_path, [duel("one", "yes ", " yes"), duel("two", 1.0, 2.0)], Ruler())
    assert outcomes[0] == Outcome("identical", "tie")
    assert hall.num_asked("judge") == 2


def test_pairs_that_look_alike_are_asked_once_and_counted_each(tmp_path: Path) -> None:
    same = {"request": (message("Question?"),)}
    duels = [
        duel("one", 1.0, 2.0, **same),
        duel("two", 1.0, 2.0, **same),
        duel("three", 2.0, 1.0, **same),
    ]
    outcomes, hall = judged(tmp_path, duels, Ruler())
    assert [outcome.winner for outcome in outcomes] == ["b", "b", "a"]
    assert hall.num_asked("judge") == 2


def test_a_reference_is_shown_to_the_judge(tmp_path: Path) -> None:
    _, hall = judged(tmp_path, [duel("one", 1.0, 2.0, reference="The right one.")], Ruler())
    assert all("The right one." in one.messages[-1].content for one in hall.teachers["judge"].asked)


def test_what_cannot_be_read_counts_nowhere_and_is_kept(tmp_path: Path) -> None:
    def speak(request: Request) -> str:
        return (
            "I cannot say." if "Question one" in request.messages[-1].content else Ruler()(request)
        )

    outcomes, _ = judged(tmp_path, [duel("one", 1.0, 2.0), duel("two", 1.0, 2.0)], speak)
    assert [(one.basis, one.winner) for one in outcomes] == [("unreadable", None), ("judged", "b")]
    assert outcomes[0].a_first == Judgement(
        request_id=outcomes[0].a_first.request_id if outcomes[0].a_first else None,
        choice=None,
        problem="no_verdict",
        text="I cannot say.",
    )
    assert count_problems(outcomes) == {"no_verdict": 2}


def test_one_order_without_a_verdict_is_no_verdict(tmp_path: Path) -> None:
    def speak(request: Request) -> str:
        return "" if request.prompt_id.endswith("b first") else "[[A]]"

    outcomes, _ = judged(tmp_path, [duel("one", 1.0, 2.0)], speak)
    assert outcomes[0].basis == "unreadable"
    assert count_problems(outcomes) == {"empty": 1}


def test_a_verdict_that_was_cut_off_says_so(tmp_path: Path) -> None:
    outcomes, _ = judged(tmp_path, [duel("one", 1.0, 2.0)], lambda request: "Answer A is ...")
    assert count_problems(outcomes) == {"cut_off": 2}
    with pytest.raises(TooManyFailuresError, match=re.escape("judge_sampling.max_tokens")):
        check_readable(outcomes, "judge", max_fraction=0.5)


def test_a_judge_without_verdicts_is_refused_with_an_example(tmp_path: Path) -> None:
    outcomes, _ = judged(
        tmp_path, [duel("one", 1.0, 2.0)], lambda request: "Both\nare fine." + 99 * "!"
    )
    with pytest.raises(TooManyFailuresError) as caught:
        check_readable(outcomes, "my:judge", max_fraction=0.05)
    for part in (
        "2 of 2",
        "'my:judge'",
        "100.0%",
        "5.0%",
        "no_verdict",
        "'Both are fine.!!!",
        "[[A]]",
    ):
        assert part in str(caught.value)
    assert "!" * 90 not in str(caught.value)
    check_readable(outcomes, "my:judge", max_fraction=1.0)


def test_answers_that_never_came_are_not_counted_as_unreadable() -> None:
    missing = Judgement(request_id=None, choice=None, problem="no_answer", text="")
    outcomes = [Outcome("unreadable", None, None, missing, missing)]
    check_readable(outcomes, "judge", max_fraction=0.0)
    assert count_problems(outcomes) == {"no_answer": 2}


def write_gold(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in rows))
    return path


def test_labelled_pairs_are_read_from_json_lines_and_csv(tmp_path: Path) -> None:
    rows = read_gold(
        write_gold(
            tmp_path / "gold.jsonl",
            {"prompt": "Q?", "system": "Be kind.", "a": "x", "b": "", "winner": "A"},
            {"messages": [{"role": "user", "content": "Q?"}], "a": "x", "b": "y", "winner": "tie"},
        )
    ).rows
    assert [row.winner for row in rows] == ["a", "tie"]
    assert [one.role for one in rows[0].request] == ["system", "user"]
    assert rows[0].b == ""
    table = tmp_path / "gold.csv"
    table.write_text("prompt,a,b,winner,group\nQ?,x,y,B,\n")
    (row,) = read_gold(table).rows
    assert (row.winner, row.group) == ("b", None)


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        (
            {"prompt": "Q?", "a": "x", "b": "y", "winner": "left"},
            ["line 1", "winner", "a, b or tie"],
        ),
        ({"prompt": "Q?", "a": "x", "winner": "a"}, ["line 1", "b: Field required"]),
        ({"a": "x", "b": "y", "winner": "a"}, ["line 1", "'prompt' or 'messages'"]),
        ({"prompt": " ", "a": "x", "b": "y", "winner": "a"}, ["prompt is empty"]),
        (
            {"prompt": "Q?", "a": "x", "b": "y", "winer": "a", "winner": "a"},
            ["winer", "Fields are"],
        ),
        (
            {"messages": [], "system": "s", "a": "x", "b": "y", "winner": "a"},
            ["line 1", "into 'messages'"],
        ),
        ([1], ["line 1"]),
    ],
)
def test_a_wrong_labelled_pair_is_named_by_its_line(
    tmp_path: Path, row: Any, parts: list[str]
) -> None:
    with pytest.raises(RecordError) as caught:
        read_gold(write_gold(tmp_path / "gold.jsonl", row))
    assert [part for part in parts if part not in str(caught.value)] == []


def test_no_labelled_pairs_and_no_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no labelled pairs"):
        read_gold(write_gold(tmp_path / "gold.jsonl"))
    with pytest.raises(ConfigError, match="does not exist"):
        read_gold(tmp_path / "none.jsonl")


def labelled(*winners: Winner) -> Gold:
    rows = [
        GoldRow(prompt=f"Question {number}?", a="x", b="y", winner=winner)
        for number, winner in enumerate(winners)
    ]
    return Gold("labels.jsonl", rows)


def said(*winners: Winner | None) -> list[Outcome]:
    return [Outcome("unreadable" if winner is None else "judged", winner) for winner in winners]


def test_agreement_with_labels_is_what_hand_work_gives() -> None:
    theirs: list[Winner] = ["a"] * 10 + ["b"] * 6 + ["tie"] * 4
    ours: list[Winner | None] = ["a"] * 8 + ["b", "tie"] + ["b"] * 5 + ["a"] + ["tie"] * 3 + ["a"]
    found = label_agreement(labelled(*theirs), said(*ours), seed=0)
    assert found.agreement.value == pytest.approx(16 / 20)
    assert found.counts == ((8, 1, 1), (1, 3, 0), (1, 0, 5))
    by_chance = (10 * 10 + 6 * 6 + 4 * 4) / 400
    assert found.kappa is not None
    assert found.kappa.value == pytest.approx((0.8 - by_chance) / (1 - by_chance))
    assert found.kappa.low < found.kappa.value < found.kappa.high
    # Where both decide: 8 + 5 of 15.
    assert found.decided_agreement is not None
    assert found.decided_agreement.value == pytest.approx(13 / 15)
    assert found.decided_agreement.n == 15


def test_labelled_pairs_without_a_verdict_are_counted_apart() -> None:
    found = label_agreement(labelled("a", "b", "a"), said("a", None, "b"), seed=0)
    assert (found.num_pairs, found.num_unreadable) == (2, 1)
    assert found.agreement.value == 0.5


def test_one_verdict_for_all_leaves_nothing_beyond_chance() -> None:
    found = label_agreement(labelled("a", "a"), said("a", "a"), seed=0)
    assert found.kappa is None
    assert found.agreement.value == 1.0
    assert found.agreement.low < 1.0


def test_identical_labelled_answers_say_nothing_about_the_judge() -> None:
    outcomes = [*said("a"), Outcome("identical", "tie")]
    assert label_agreement(labelled("a", "tie"), outcomes, seed=0).num_pairs == 1


def test_no_verdict_on_any_label_is_refused() -> None:
    with pytest.raises(DataError, match=re.escape("labels.jsonl")):
        label_agreement(labelled("a"), said(None), seed=0)


def test_labels_about_one_prompt_are_of_one_group() -> None:
    rows = [GoldRow(prompt="Q?", a="x", b=str(number), winner="a") for number in range(3)]
    other = GoldRow(prompt="Q?", a="x", b="y", winner="a", group="mine")
    groups = [one.group for one in gold_duels([*rows, other], shows_reference=False)]
    assert len({*groups[:3]}) == 1
    assert groups[3] == "mine"


def test_a_grader_that_knows_the_answer_validates_the_judge() -> None:
    prompts = [
        Prompt(id=f"p{number}", messages=(message(f"Question {number}?"),), reference=reference)
        for number, reference in enumerate(["red", "blue", None, "green"])
    ]
    texts = [("red", "pink"), ("navy", "blue"), ("x", "y"), ("lime", "moss")]
    winners: list[Winner] = ["a", "a", "a", "tie"]
    comparisons = [
        Comparison(Pairing(number, 0, 1), duel(f"p{number}", a, b), Outcome("judged", winner))
        for number, ((a, b), winner) in enumerate(zip(texts, winners, strict=True))
    ]
    found = reference_agreement(comparisons, prompts, "exact", seed=0)
    assert found is not None
    assert (found.num_pairs, found.source, found.name) == (3, "references", "exact")
    assert found.counts == ((1, 0, 0), (0, 1, 0), (1, 0, 0))
    assert reference_agreement(comparisons[2:3], prompts, "exact", seed=0) is None


def artifact_of(folder: Path, kind: Any, teacher: str, *parents: Artifact) -> Artifact:
    stage = {"kind": kind, "teacher": teacher}
    writer = begin_artifact(folder, kind=kind, stage="any", config=stage, parents=parents)
    ref = TeacherRef(id=teacher, provider="openai", revision=None) if teacher else None
    writer.write_rows("completions", [], Completion)
    return writer.finish(counts=Counts(num_in=0, kept=0), teacher=ref)


def test_a_student_that_learnt_from_the_judge_is_told(tmp_path: Path) -> None:
    dataset = artifact_of(tmp_path / "dataset", "dataset", "openai:big")
    student = artifact_of(tmp_path / "student", "student", "", dataset)
    answers = artifact_of(tmp_path / "answers", "completions", "local:student@0123")
    entrant = Entrant("student", answers, {})
    spec = f"local:{student.path}"

    def told(judge: str, *specs: str) -> list[str]:
        folder = tmp_path / f"{len(specs)} by {judge.partition(':')[2]}"
        judgements = artifact_of(folder, "completions", judge)
        return [*partial_to([entrant] * len(specs), specs, judgements)]

    (sentence,) = told("openai:big", spec)
    assert "student was trained on texts of the judge openai:big" in sentence
    assert told("openai:other", spec) == []
    # Where nothing says what it was made from, nothing is claimed.
    assert told("openai:big", "local:", "fake:", f"local:{tmp_path / 'none'}") == []


def test_a_student_whose_origin_was_moved_away_is_not_accused(tmp_path: Path) -> None:
    dataset = artifact_of(tmp_path / "dataset", "dataset", "openai:big")
    student = artifact_of(tmp_path / "student", "student", "", dataset)
    (tmp_path / "dataset").rename(tmp_path / "elsewhere")
    answers = artifact_of(tmp_path / "answers", "completions", "local:student@0123")
    judgements = artifact_of(tmp_path / "judgements", "completions", "openai:big")
    entrants = [Entrant("student", answers, {})]
    assert [*partial_to(entrants, [f"local:{student.path}"], judgements)] == []
