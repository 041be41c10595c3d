"""Prompts that are read again and again from where a reader stopped, and never held in memory."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillhouse.artifacts import write_table
from stillhouse.collect import CollectConfig, collect, read_prompts
from stillhouse.collect._source import START, PromptSource
from stillhouse.collect._survey import Survey
from stillhouse.errors import ConfigError, DataError, RecordError
from stillhouse.records import Completion, Message, Prompt
from stillhouse.runlog import Ledger, Progress, ReadPosition

RECIPE = """
template: "Write about {thing} on {day}."
values: {thing: [boats, rivers, hills, roads], day: [Monday, Friday, Sunday]}
num_train: 6
num_held_out: 2
"""


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "prompts.jsonl"
    lines = [row if isinstance(row, bytes) else orjson.dumps(row) for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def surveyed(prompts: Path | Sequence[Prompt]) -> tuple[PromptSource, Survey]:
    source = PromptSource(prompts)
    return source, source.survey()


def asked_texts(prompts: Path | Sequence[Prompt]) -> list[str]:
    source, survey = surveyed(prompts)
    return [row.prompt.messages[-1].content for row in source.iterate(survey)]


def as_jsonl(folder: Path) -> Path:
    rows = [{"prompt": f"text {n % 4}", "group": f"g{n}"} for n in range(7)]
    return jsonl(folder, b"", *rows[:3], b"  ", b"", *rows[3:], b"")


def as_csv(folder: Path) -> Path:
    path = folder / "prompts.csv"
    rows = [f'"text\n{n % 4}",g{n}' for n in range(7)]
    path.write_text("prompt,group\n" + "\n".join(rows) + "\n\n", encoding="utf-8-sig")
    return path


def as_parquet(folder: Path) -> Path:
    prompts = [
        Prompt(id=f"p{n}", messages=(Message(role="user", content=f"text {n % 4}"),))
        for n in range(7)
    ]
    write_table(folder / "prompts.parquet", prompts, Prompt)
    return folder / "prompts.parquet"


def as_recipe(folder: Path) -> Path:
    path = folder / "prompts.yaml"
    path.write_text(RECIPE)
    return path


def as_list(folder: Path) -> list[Prompt]:
    return read_prompts(as_parquet(folder))


FORMS = [as_jsonl, as_csv, as_parquet, as_recipe, as_list]


@pytest.mark.parametrize("form", FORMS)
def test_reading_on_from_any_row_gives_the_rest(
    tmp_path: Path, form: Callable[[Path], Path | list[Prompt]]
) -> None:
    source, survey = surveyed(form(tmp_path))
    rows = list(source.iterate(survey))
    assert len(rows) == survey.num_prompts - len(survey.repeats)
    assert rows == list(source.iterate(survey, START))
    for index, row in enumerate(rows):
        assert list(source.iterate(survey, row.end)) == rows[index + 1 :]
        assert survey.num_asked_before(row.end) == index + 1


@pytest.mark.parametrize("form", [as_jsonl, as_csv, as_parquet, as_list])
def test_rows_that_ask_the_same_are_asked_once(
    tmp_path: Path, form: Callable[[Path], Path | list[Prompt]]
) -> None:
    source, survey = surveyed(form(tmp_path))
    assert (survey.num_prompts, survey.repeats) == (7, {4, 5, 6})
    texts = [row.prompt.messages[-1].content.split()[-1] for row in source.iterate(survey)]
    assert texts == ["0", "1", "2", "3"]


@given(
    rows=st.lists(
        st.one_of(
            st.builds(lambda n: {"prompt": f"text {n}"}, st.integers(0, 5)),
            st.builds(lambda text: {"prompt": text + "x"}, st.text()),
            st.sampled_from([b"", b" \t\r"]),
        ),
        min_size=1,
        max_size=12,
    ),
    ending=st.sampled_from([b"\n", b"\r\n"]),
    has_bom=st.booleans(),
    ends_in_newline=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_any_tail_is_what_is_read_from_its_position(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[Any],
    ending: bytes,
    has_bom: bool,
    ends_in_newline: bool,
) -> None:
    lines = [row if isinstance(row, bytes) else orjson.dumps(row) for row in rows]
    raw = ending.join(lines) + (ending if ends_in_newline else b"")
    path = tmp_path_factory.mktemp("p") / "p.jsonl"
    path.write_bytes((b"\xef\xbb\xbf" if has_bom else b"") + raw)
    expected = list(dict.fromkeys(row["prompt"] for row in rows if isinstance(row, dict)))
    source = PromptSource(path)
    if not expected:
        with pytest.raises(DataError, match="no prompts"):
            source.survey()
        return
    survey = source.survey()
    read = list(source.iterate(survey))
    assert [row.prompt.messages[-1].content for row in read] == expected
    for index, row in enumerate(read):
        assert list(source.iterate(survey, row.end)) == read[index + 1 :]


@given(
    name=st.text(min_size=1),
    repeats=st.frozensets(st.integers(0, 99)),
    routed=st.dictionaries(st.text(), st.integers(0, 9)),
)
def test_a_survey_comes_back_from_its_text(
    name: str, repeats: frozenset[int], routed: dict[str, int]
) -> None:
    survey = Survey(name.encode("utf-8").hex(), 100, repeats, routed)
    assert Survey.from_text(survey.to_text()) == survey


def test_the_content_counts_and_not_what_holds_it(tmp_path: Path) -> None:
    given = as_parquet(tmp_path)
    prompts = read_prompts(given)
    lines = jsonl(tmp_path, *(prompt.model_dump(mode="json") for prompt in prompts))
    blank = jsonl(tmp_path, *(prompt.model_dump(mode="json") for prompt in prompts), b"", b"")
    hashes = {surveyed(one)[1].sha256 for one in (given, lines, blank, prompts)}
    assert len(hashes) == 1
    assert surveyed(prompts[:-1])[1].sha256 not in hashes
    assert surveyed(prompts[::-1])[1].sha256 not in hashes


def test_what_is_asked_of_one_teacher_only_is_counted_by_its_name(tmp_path: Path) -> None:
    rows = [
        {"prompt": "a", "teacher": "big"},
        {"prompt": "a", "teacher": "small"},
        {"prompt": "a"},
        {"prompt": "a", "teacher": "big"},
        {"prompt": "b", "teacher": "big"},
    ]
    source, survey = surveyed(jsonl(tmp_path, *rows))
    assert survey.repeats == {3}
    assert survey.num_repeated(num_teachers=3) == 1  # its own teacher's
    assert survey.num_routed == {"big": 2, "small": 1}
    assert [survey.num_asked(name) for name in ("big", "small", "other")] == [3, 2, 1]
    # Rows that ask different things have different names, also where they have none of their own.
    ids = [row.prompt.id for row in source.iterate(survey)]
    assert len(set(ids)) == 4


def test_other_tools_or_another_schema_are_another_question(tmp_path: Path) -> None:
    tool = {"name": "t", "parameters": "{}"}
    rows = [
        {"prompt": "a"},
        {"prompt": "a", "tools": [tool]},
        {"prompt": "a", "output_schema": "{}"},
    ]
    _, survey = surveyed(jsonl(tmp_path, *rows, *rows))
    assert survey.repeats == {3, 4, 5}


@pytest.mark.parametrize("more", [{}, {"teacher": "b"}, {"output_schema": "{}"}], ids=str)
def test_the_same_messages_in_both_splits_are_refused(tmp_path: Path, more: dict[str, str]) -> None:
    path = jsonl(
        tmp_path,
        {"prompt": "a", "id": "x"},
        {"prompt": "b"},
        {"prompt": "a", "id": "y", "split": "held_out", **more},
    )
    with pytest.raises(RecordError, match=r"'x' \(train\) and 'y' \(held_out\)"):
        PromptSource(path).survey()


def test_equal_ids_are_refused_with_both_places(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "id": 7}, {"prompt": "b"}, b"", {"prompt": "c", "id": "7"}]
    path = jsonl(tmp_path, *rows)
    with pytest.raises(RecordError, match="line 4: the id '7' is that of line 1") as caught:
        PromptSource(path).survey()
    assert str(path) in str(caught.value)
    twins = [Prompt(id="p", messages=(Message(role="user", content=text),)) for text in "ab"]
    with pytest.raises(RecordError, match="'p' occurs twice"):
        PromptSource(twins)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b'{"prompt": "\xff"}', r"line 2 is not valid UTF-8 \(byte 13"),
        (b'{"prompt": "\\ud800"}', "line 2 is not JSON that UTF-8 can carry"),
        (b'{"prompt": ', "line 2 is not JSON"),
        ({"messages": []}, "line 2: the prompt is empty"),
        ({"prompt": ""}, "line 2: the prompt is empty"),
        ({"messages": [{"role": "robot", "content": "u"}]}, r"messages\.0\.role"),
        ({"messages": [{"role": "assistant", "content": "u"}]}, "last message is from 'assistant'"),
    ],
    ids=str,
)
def test_a_wrong_row_stops_the_collection_before_anything_is_asked(
    tmp_path: Path, row: Any, message: str
) -> None:
    path = jsonl(tmp_path, {"prompt": "good"}, row, {"prompt": "good too"})
    with pytest.raises(RecordError, match=message) as caught:
        collect(path, tmp_path / "out", teacher="fake:", config=CollectConfig())
    assert "\n" not in str(caught.value)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert ledger.totals().num_calls == 0
    assert not (tmp_path / "out").exists()


def test_texts_of_any_kind_arrive_unchanged(tmp_path: Path) -> None:
    texts = [
        "a\u2028b\u2029c",
        "d\u0085e\x0bf\x1c",
        "\x00",
        "\U0001f680 \u0301",
        "tab\tand\rreturn",
    ]
    raw = [json.dumps({"prompt": text}, ensure_ascii=False).encode() for text in texts]
    path = jsonl(tmp_path, b"\xef\xbb\xbf" + raw[0] + b"\r", *raw[1:])
    assert asked_texts(path) == texts
    assert asked_texts(read_prompts(path)) == texts


def test_a_prompt_of_five_megabytes_is_collected(tmp_path: Path) -> None:
    big = "w\u00f6rd " * 850_000
    path = jsonl(tmp_path, {"prompt": "small"}, {"prompt": big, "id": "big"}, {"prompt": "last"})
    assert path.stat().st_size > 5_000_000
    artifact = collect(path, tmp_path / "out", teacher="fake:", config=CollectConfig())
    rows = list(artifact.rows("completions", Completion))
    assert len(rows) == 3
    assert rows[1].usage.prompt_tokens == 850_000
    assert [p.messages[0].content for p in artifact.rows("prompts", Prompt)][1] == big


def test_a_missing_file_and_an_empty_one_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        PromptSource(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no prompts"):
        PromptSource(jsonl(tmp_path)).survey()
    with pytest.raises(DataError, match="holds no prompts"):
        PromptSource([])


def test_a_file_with_more_or_fewer_rows_is_noticed_while_it_is_read(tmp_path: Path) -> None:
    rows = [{"prompt": f"text {n}"} for n in range(5)]
    source, survey = surveyed(jsonl(tmp_path, *rows))
    end = [row.end for row in source.iterate(survey)][2]
    source.check_unchanged()
    for changed in (rows[:-1], [*rows, {"prompt": "more"}]):
        jsonl(tmp_path, *changed)
        assert not source.looks_unchanged
        for after in (START, end):
            with pytest.raises(DataError, match="it changed meanwhile"):
                list(source.iterate(survey, after))
        with pytest.raises(DataError, match="changed while it was read"):
            source.check_unchanged()


def test_a_file_whose_size_and_time_stay_is_still_noticed_at_the_end(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"prompt": "one"})
    source = PromptSource(path)
    state = path.stat()
    jsonl(tmp_path, {"prompt": "two"})
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert source.looks_unchanged
    with pytest.raises(DataError, match="changed while it was read"):
        source.check_unchanged()


class Editor:
    """Replaces the file of prompts at the first progress of a collection."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.has_edited = False

    def __call__(self, progress: Progress) -> None:
        if not self.has_edited and progress.done:
            self.path.write_text(self.text)
            self.has_edited = True


def test_a_file_that_changes_under_a_collection_loses_nothing(tmp_path: Path) -> None:
    # Long enough rows that the reader has not buffered the last ones when the file changes.
    rows = [json.dumps({"prompt": f"{'word ' * 4000}number {n:03}"}) for n in range(60)]
    text = "".join(row + "\n" for row in rows)
    path = tmp_path / "prompts.jsonl"
    path.write_text(text)
    editor = Editor(path, text.replace("number 05", "NUMBER 05"))

    def run(on_progress: Callable[[Progress], None]) -> list[str]:
        artifact = collect(
            path,
            tmp_path / "out",
            teacher="fake:?parallel=1&latency_s=0.004",
            config=CollectConfig(),
            on_progress=on_progress,
        )
        assert artifact.manifest.counts.dropped == {}
        return [p.messages[0].content[-10:] for p in artifact.rows("prompts", Prompt)]

    with pytest.raises(DataError, match="changed while it was read"):
        run(editor)
    assert editor.has_edited
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        num_before = ledger.totals().num_answered
    assert num_before == 60
    # Put back as it was: what was asked in its changed form is asked as it stands now.
    path.write_text(text)
    assert run(lambda progress: None) == [f"number {n:03}" for n in range(60)]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert num_before < ledger.totals().num_calls <= num_before + 10


def test_a_position_beyond_the_file_is_no_end_of_a_collection(tmp_path: Path) -> None:
    source, survey = surveyed(jsonl(tmp_path, {"prompt": "a"}, {"prompt": "b"}))
    with pytest.raises(DataError, match="has 1 rows, and had 2"):
        list(source.iterate(survey, ReadPosition(10_000, 1, survey.sha256)))
