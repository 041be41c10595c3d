"""Surveys that are remembered: a file that has grown is read on, one that changed is read whole."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.artifacts import write_table
from stillhouse.collect import CollectConfig, collect
from stillhouse.collect._prompts import Row
from stillhouse.collect._source import PromptSource
from stillhouse.collect._survey import Survey
from stillhouse.collect._survey_memory import SurveyMemory
from stillhouse.errors import DataError, RecordError, TeacherError
from stillhouse.records import ItemError, Message, Prompt, Request
from stillhouse.runlog import Answer, Ledger
from stillhouse.teachers import FakeTeacher, Pull
from stillhouse.teachers._answers import failed


class CountingSource(PromptSource):
    """Counts the rows that are read of it."""

    num_read = 0

    def _rows(self, *, num_before: int = 0, start: int = 0) -> Iterator[Row]:
        for row in super()._rows(num_before=num_before, start=start):
            self.num_read += 1
            yield row


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def lines(*rows: Any) -> bytes:
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def numbered(start: int, stop: int) -> list[dict[str, str]]:
    return [{"id": f"p{n}", "prompt": f"river {n}"} for n in range(start, stop)]


def surveyed(path: Path, ledger: Ledger) -> tuple[Survey, int]:
    """The survey of a file, kept in the ledger, and how many rows were read for it."""
    source = CountingSource(path)
    memory = SurveyMemory(source, ledger)
    memory.keep(ledger)
    return memory.survey, source.num_read


def whole(path: Path) -> Survey:
    """What a survey without any memory finds."""
    return PromptSource(path).survey()


def without_origin(survey: Survey) -> Survey:
    return replace(survey, grown_from=())


# ---- what is read


def test_of_a_grown_file_the_last_row_and_the_new_ones_are_read(
    tmp_path: Path, ledger: Ledger
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(lines(*numbered(0, 50)))
    survey, num_read = surveyed(path, ledger)
    assert num_read == 50
    grown_from: tuple[str, ...] = ()
    for size_before, size in ((50, 51), (51, 60), (60, 61)):
        grown_from = (survey.sha256, *grown_from)
        path.write_bytes(lines(*numbered(0, size)))
        survey, num_read = surveyed(path, ledger)
        assert num_read == 1 + size - size_before
        assert survey == replace(whole(path), grown_from=grown_from)
    assert surveyed(path, ledger) == (survey, 0)


def test_a_grown_csv_file_is_read_on_too(tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "p.csv"
    text = "id,prompt\n" + "".join(f'p{n},"river\n{n}"\n' for n in range(9))
    path.write_text(text)
    first, _ = surveyed(path, ledger)
    path.write_text(text + 'new,"a new\nriver"\n')
    survey, num_read = surveyed(path, ledger)
    assert num_read == 2
    assert survey == replace(whole(path), grown_from=(first.sha256,))


def test_a_parquet_file_is_read_whole_and_still_known_to_have_grown(
    tmp_path: Path, ledger: Ledger
) -> None:
    path = tmp_path / "p.parquet"
    prompts = [
        Prompt(id=f"p{n}", messages=(Message(role="user", content=f"river {n}"),)) for n in range(6)
    ]
    write_table(path, prompts[:4], Prompt)
    first, _ = surveyed(path, ledger)
    path.unlink()
    write_table(path, prompts, Prompt)
    assert surveyed(path, ledger) == (replace(whole(path), grown_from=(first.sha256,)), 6)


OLD = lines(*numbered(0, 20))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(OLD.replace(b"river 3", b"brook 3") + lines({"prompt": "new"}), id="prefix"),
        pytest.param(OLD.replace(b"river 3", b"brook 3"), id="same size, other bytes"),
        pytest.param(OLD[: OLD.index(b'{"id":"p15"')], id="truncated"),
        pytest.param(lines({"prompt": "new"}) + OLD, id="put before"),
    ],
)
def test_a_file_that_changed_otherwise_is_read_whole(
    tmp_path: Path, ledger: Ledger, changed: bytes
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(OLD)
    surveyed(path, ledger)
    path.write_bytes(changed)
    expected = whole(path)
    assert surveyed(path, ledger) == (expected, expected.num_prompts)


def test_a_file_is_read_on_from_the_longest_that_is_known(tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "p.jsonl"
    found = []
    for size in (10, 30, 20):
        path.write_bytes(lines(*numbered(0, size)))
        found.append(surveyed(path, ledger)[0])
    path.write_bytes(lines(*numbered(0, 31)))
    survey, num_read = surveyed(path, ledger)
    assert num_read == 2
    assert survey.grown_from == (found[1].sha256, found[0].sha256)


def test_the_same_bytes_in_a_file_of_another_type_are_other_rows(
    tmp_path: Path, ledger: Ledger
) -> None:
    (tmp_path / "p.csv").write_text("prompt\nriver\n")
    surveyed(tmp_path / "p.csv", ledger)
    (tmp_path / "p.jsonl").write_text("prompt\nriver\n")
    with pytest.raises(RecordError, match="line 1 is not JSON"):
        surveyed(tmp_path / "p.jsonl", ledger)


def test_rows_that_are_lost_from_the_ledger_are_read_again(tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(OLD)
    surveyed(path, ledger)
    with sqlite3.connect(ledger.path) as db:
        assert db.execute("DELETE FROM memos WHERE key GLOB 'survey-3-rows*'").rowcount == 1
    db.close()
    path.write_bytes(OLD + lines({"prompt": "new"}))
    assert surveyed(path, ledger)[1] == 21


ROWS = st.lists(
    st.fixed_dictionaries(
        {"prompt": st.sampled_from("abc")},
        optional={
            "id": st.sampled_from(["i", "j", "k", "l"]),
            "split": st.sampled_from(["train", "held_out"]),
            "teacher": st.sampled_from(["big", "small"]),
        },
    ).map(orjson.dumps)
    | st.just(b" "),
    min_size=1,
    max_size=9,
)


def survey_or_error(find: Callable[[], Survey]) -> Survey | str:
    try:
        return without_origin(find())
    except DataError as err:
        return str(err)


@given(rows=ROWS, cut=st.integers(0, 9), has_break=st.booleans(), ends=st.booleans())
@settings(max_examples=150, deadline=None)
def test_reading_on_finds_what_reading_whole_finds(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[bytes],
    cut: int,
    has_break: bool,
    ends: bool,
) -> None:
    folder = tmp_path_factory.mktemp("s")
    path = folder / "p.jsonl"
    data = b"\n".join(rows) + (b"\n" if ends else b"")
    first = b"\n".join(rows[:cut]) + (b"\n" if has_break else b"")
    with Ledger(folder / "ledger.sqlite") as ledger:
        for part in (first, data):
            path.write_bytes(part)
            # Of what is refused, the message: the number of the line is in it.
            expected = survey_or_error(lambda: whole(path))
            assert survey_or_error(lambda: surveyed(path, ledger)[0]) == expected


# ---- what both parts have together


def test_an_id_on_both_sides_of_the_border_is_refused_by_its_line(
    tmp_path: Path, ledger: Ledger
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b"\n\n" + OLD)
    surveyed(path, ledger)
    path.write_bytes(b"\n\n" + OLD + lines({"id": "p4", "prompt": "another river"}))
    with pytest.raises(RecordError, match="line 23: the id 'p4' is that of line 7 as well"):
        surveyed(path, ledger)


def test_what_is_in_both_splits_is_refused_across_the_border(
    tmp_path: Path, ledger: Ledger
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(OLD)
    surveyed(path, ledger)
    path.write_bytes(OLD + lines({"prompt": "river 4", "split": "held_out"}))
    with pytest.raises(RecordError, match="have the same messages"):
        surveyed(path, ledger)


def test_a_new_row_that_is_wrong_is_named_by_its_line_in_the_file(
    tmp_path: Path, ledger: Ledger
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b"\n\n\n" + OLD)
    surveyed(path, ledger)
    path.write_bytes(b"\n\n\n" + OLD + b'{"promt": "x"}\n')
    with pytest.raises(RecordError, match="line 24: unknown field 'promt'"):
        surveyed(path, ledger)


def test_a_last_row_that_goes_on_is_read_again_and_no_row_of_the_old_file(
    tmp_path: Path, ledger: Ledger
) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt\nriver 1\nriver 2")
    surveyed(path, ledger)
    path.write_text("prompt\nriver 1\nriver 22\n")
    survey, num_read = surveyed(path, ledger)
    assert num_read == 1
    assert survey == whole(path)
    assert survey.grown_from == ()


def test_two_that_survey_at_the_same_time_leave_one_memory(tmp_path: Path, ledger: Ledger) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(OLD)
    surveyed(path, ledger)
    path.write_bytes(OLD + lines({"prompt": "new"}))
    with Ledger(ledger.path) as other:
        memories = [SurveyMemory(PromptSource(path), one) for one in (ledger, other)]
        for memory, one in zip(memories, (ledger, other), strict=True):
            memory.keep(one)
    assert memories[0].survey == memories[1].survey
    path.write_bytes(OLD + lines({"prompt": "new"}, {"prompt": "newer"}))
    survey, num_read = surveyed(path, ledger)
    assert num_read == 2
    assert without_origin(survey) == whole(path)


# ---- how a collection goes on


class StoppingTeacher(FakeTeacher):
    """A fake that fails what names river 3, notes what it is asked, and ends after so many."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.asked: list[str] = []

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        for _ in range(self.most):
            requests = pull(1)
            if not requests:
                return
            yield [self._answer(request) for request in requests]
        raise TeacherError("stopped on purpose")

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request.prompt_id)
        if request.prompt_id == "p3" and self.most < 100:
            down = ItemError(type="server_error", message="down", retryable=False)
            return failed(request, down, model="m")
        return super()._answer(request)


CONFIG = CollectConfig.model_validate({"max_failure_fraction": 0.5})


def stopped(folder: Path) -> Path:
    """A file of prompts whose collection stopped at the thirteenth; the fourth has failed."""
    path = folder / "p.jsonl"
    path.write_bytes(OLD)
    with pytest.raises(TeacherError, match="stopped on purpose"):
        collect(path, folder / "out", teacher=StoppingTeacher(12), config=CONFIG)
    return path


def positions(folder: Path) -> list[tuple[int]]:
    db = sqlite3.connect(folder / "ledger.sqlite")
    try:
        return db.execute("SELECT num_rows FROM runs ORDER BY number").fetchall()
    finally:
        db.close()


def test_a_collection_whose_file_grew_asks_what_is_left_and_what_is_new(tmp_path: Path) -> None:
    path = stopped(tmp_path)
    path.write_bytes(OLD + lines({"id": "new", "prompt": "a new river"}))
    last = StoppingTeacher(100)
    artifact = collect(path, tmp_path / "out", teacher=last, config=CONFIG)
    assert last.asked == ["p3", *(f"p{n}" for n in range(12, 20)), "new"]
    rows = [prompt.id for prompt in artifact.rows("prompts", Prompt)]
    assert rows == [*(f"p{n}" for n in range(20)), "new"]
    assert artifact.manifest.counts.kept == 21


def test_a_collection_whose_file_grew_begins_where_the_earlier_one_stood(tmp_path: Path) -> None:
    path = stopped(tmp_path)
    ((first,),) = positions(tmp_path)
    assert 10 <= first <= 12
    path.write_bytes(OLD + lines({"id": "new", "prompt": "a new river"}))
    with pytest.raises(TeacherError):
        collect(path, tmp_path / "out", teacher=StoppingTeacher(0), config=CONFIG)
    assert positions(tmp_path) == [(first,), (first,)]


def test_a_run_that_noted_nothing_does_not_hide_the_one_before(tmp_path: Path) -> None:
    path = stopped(tmp_path)
    ((first,),) = positions(tmp_path)
    other = CONFIG.model_copy(update={"samples_per_prompt": 2})
    for number, config in enumerate((other, CONFIG)):
        path.write_bytes(path.read_bytes() + lines({"prompt": f"new river {number}"}))
        with pytest.raises(TeacherError):
            collect(path, tmp_path / "out", teacher=StoppingTeacher(0), config=config)
    assert positions(tmp_path) == [(first,), (first,)]


def test_a_file_with_a_blank_line_more_is_the_same_run(tmp_path: Path) -> None:
    path = stopped(tmp_path)
    path.write_bytes(OLD + b"\n")
    last = StoppingTeacher(100)
    collect(path, tmp_path / "out", teacher=last, config=CONFIG)
    assert last.asked == ["p3", *(f"p{n}" for n in range(12, 20))]
    assert len(positions(tmp_path)) == 1


def test_a_collection_whose_rows_changed_begins_at_the_start(tmp_path: Path) -> None:
    path = stopped(tmp_path)
    path.write_bytes(OLD.replace(b"river 5", b"brook 5") + lines({"prompt": "a new river"}))
    last = StoppingTeacher(100)
    collect(path, tmp_path / "out", teacher=last, config=CONFIG)
    assert last.asked[:2] == ["p3", "p5"]
    assert len(last.asked) == 2 + 8 + 1
