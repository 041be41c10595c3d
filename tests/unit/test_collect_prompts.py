import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stillhouse.artifacts import write_table
from stillhouse.collect import read_prompts
from stillhouse.errors import ConfigError, DataError, RecordError
from stillhouse.records import Message, Prompt


def jsonl(tmp_path: Path, *rows: Any) -> Path:
    path = tmp_path / "prompts.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines))
    return path


def test_the_three_forms_of_a_row_give_the_same_prompt(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    rows = [
        {"id": "a", "messages": messages, "split": "held_out", "group": "g"},
        {"id": "b", "prompt": "u", "system": "s", "split": "held_out", "group": "g"},
        {"messages": messages, "split": "held_out"},
    ]
    first, second, third = read_prompts(jsonl(tmp_path, *rows))
    assert first == Prompt.model_validate(rows[0])
    assert second.messages == first.messages == third.messages
    assert (second.split, second.group) == ("held_out", "g")


def test_a_reference_is_read_and_is_not_part_of_what_is_asked(tmp_path: Path) -> None:
    with_it, without = read_prompts(
        jsonl(tmp_path, {"prompt": "u", "reference": "right"}, {"prompt": "u"})
    )
    assert (with_it.reference, without.reference) == ("right", None)
    assert without.id == f"{with_it.id}-2"


def test_ids_are_made_from_the_content_and_stay_unique(tmp_path: Path) -> None:
    one, two, again, numbered = read_prompts(
        jsonl(tmp_path, {"prompt": "u"}, {"prompt": "v"}, {"prompt": "u"}, {"prompt": "w", "id": 7})
    )
    assert len(one.id) == 16
    assert one.id != two.id
    assert again.id == f"{one.id}-2"
    assert numbered.id == "7"
    (alone,) = read_prompts(jsonl(tmp_path, {"prompt": "u"}))
    assert alone.id == one.id


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    text = "a\u2028b\u0085c\x0bd\r\u2029e"
    raw = json.dumps({"prompt": text}, ensure_ascii=False).encode()
    (prompt, _) = read_prompts(jsonl(tmp_path, b"\xef\xbb\xbf" + raw + b"\r", b"", {"prompt": "x"}))
    assert prompt.messages[0].content == text


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"promt": "u"}, "line 2: unknown field 'promt'. Did you mean 'prompt'"),
        ({"prompt": "u", "messages": [{"role": "user", "content": "u"}]}, "line 2: give either"),
        ({"id": "x"}, "line 2: give either"),
        ({"messages": []}, "line 2: the prompt is empty"),
        ({"prompt": " \n"}, "line 2: the prompt is empty"),
        ({"messages": [{"role": "user", "content": ""}]}, "line 2: the prompt is empty"),
        ({"messages": [{"role": "bot", "content": "u"}]}, "messages.0.role: Input should be"),
        ({"messages": [{"role": "bot", "content": "u"}]}, "(got 'bot')"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "user", "content": "u", "name": "n"}]}, "messages.0.name: Extra"),
        ({"messages": [{"role": "assistant", "content": "u"}]}, "last message is from 'assistant'"),
        ({"messages": [{"role": "user", "content": "u"}], "system": "s"}, "into 'messages'"),
        ({"prompt": "u", "split": "test"}, "split: Input should be 'train' or 'held_out'"),
        ({"prompt": 5}, "line 2: prompt: Input should be a valid string"),
        ({"prompt": "u", "id": "first"}, "line 2: the id 'first' is that of line 1 as well"),
        (["u"], "line 2: a list"),
        (b'{"prompt": ', "line 2 is not JSON"),
        (b'{"prompt": "\xff"}', "line 2 is not valid UTF-8 (byte 13"),
        (b'{"prompt": "\\ud800"}', "line 2 is not JSON that UTF-8 can carry"),
    ],
)
def test_a_wrong_row_is_named_with_file_and_line(tmp_path: Path, row: Any, message: str) -> None:
    path = jsonl(tmp_path, {"prompt": "fine", "id": "first"}, row)
    with pytest.raises(RecordError) as caught:
        read_prompts(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_prompt_on_both_sides_of_the_split_is_refused(tmp_path: Path) -> None:
    path = jsonl(
        tmp_path, {"prompt": "u", "id": "a"}, {"prompt": "u", "id": "b", "split": "held_out"}
    )
    with pytest.raises(RecordError, match=r"'a' \(train\) and 'b' \(held_out\)"):
        read_prompts(path)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="holds no prompts"):
        read_prompts(jsonl(tmp_path, content))


def test_a_missing_file_and_another_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_prompts(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match=r"\.jsonl, \.csv, \.parquet"):
        read_prompts(tmp_path / "prompts.txt")


def test_csv_cells_may_hold_newlines_and_be_left_empty(tmp_path: Path) -> None:
    path = tmp_path / "prompts.csv"
    rows = ["id,prompt,split,group", '1,"Say ""hi"",\nplease",held_out,g', ",caf\u00e9,,", ""]
    path.write_bytes("\r\n".join(rows).encode("utf-8-sig"))
    first, second = read_prompts(path)
    assert first.messages[0].content == 'Say "hi",\nplease'
    assert (first.id, first.split, first.group) == ("1", "held_out", "g")
    assert second.messages[0].content == "caf\u00e9"
    assert (second.split, second.group) == ("train", None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"promt\nu\n", "line 2: unknown field 'promt'. Did you mean 'prompt'"),
        (b"id,prompt\n1,u,v\n", "line 2: not as many cells"),
        (b"id,prompt\n1\n", "line 2: not as many cells"),
        (b'prompt\nu\n"open\n', "not CSV"),
        (b"prompt\n\xff\n", "not valid UTF-8"),
        (b"prompt,id\nu,1\nv,1\n", "line 3: the id '1' is that of line 2"),
        (b"id,prompt\n1,\n", "line 2: give either"),
    ],
)
def test_wrong_csv_is_named_by_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "prompts.csv"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        read_prompts(path)
    assert message in str(caught.value)


def test_parquet_of_prompts_comes_back_unchanged(tmp_path: Path) -> None:
    prompts = [
        Prompt(id=f"p{i}", messages=(Message(role="user", content=f"u{i}"),), group="g" * i or None)
        for i in range(3)
    ]
    write_table(tmp_path / "prompts.parquet", prompts, Prompt)
    assert read_prompts(tmp_path / "prompts.parquet") == prompts


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "prompts.parquet"
    path.write_bytes(b"PAR1 not really")
    with pytest.raises(RecordError, match="not a readable Parquet file"):
        read_prompts(path)


WORDS = st.sampled_from(
    ["id", "prompt", "messages", "role", "content", "split", "user", "tools", "x"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=8,
)
LINES = (
    st.binary(max_size=12)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.text(max_size=6).map(lambda text: json.dumps({"prompt": text}).encode())
    | st.sampled_from(
        [b'{"prompt": "a"}', b"prompt,id", b'"a""b",1', b'"open', b"", b"\xef\xbb\xbf"]
    )
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["jsonl", "csv", "parquet"]), st.lists(LINES, max_size=4), st.booleans())
def test_any_file_is_prompts_or_one_line_that_names_it(
    tmp_path: Path, suffix: str, lines: list[bytes], has_cr: bool
) -> None:
    path = tmp_path / f"any.{suffix}"
    path.write_bytes((b"\r\n" if has_cr else b"\n").join(lines))
    said = None
    try:
        prompts = read_prompts(path)
    except (DataError, ConfigError) as err:
        said = str(err)
    if said is not None:
        assert len(said.splitlines()) == 1
        assert "any." in said
        return
    assert len({prompt.id for prompt in prompts}) == len(prompts) > 0
    assert all(prompt.messages[-1].content.strip() for prompt in prompts)
