from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import ConfigError
from stillhouse.settings import parse_yaml, read_yaml

HINT = "Give the path of a list of whiskies."


def _refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        read_yaml(path, hint=HINT)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("title: [x\nb: c", ["line 2, column 2", "flow sequence", "Correct the YAML."]),
        ("title: x\n  b: c", ["line 2, column 4"]),
        ("title: x\nprompts: p\ntitle: y", ["line 3, column 1", "'title' is given twice"]),
        ("title: x\nstudents:\n  a: {seed: 1, seed: 2}", ["line 3, column 16", "'seed'"]),
        ("? [a]\n: x", ["line 1, column 3", "unhashable key"]),
        ("!!map a: x", ["line 1, column 1", "unhashable key"]),
        ("title: !!python/object:os.system x", ["line 1", "could not determine a constructor"]),
        ("title: *nobody", ["line 1", "undefined alias"]),
        ("title: \x00", ["is not YAML"]),
        ('title: "\\U00110000"', ["is not YAML"]),
        ('title: "\\Uffffffff"', ["is not YAML"]),
        ("a: 1\ntitle: 2024-99-99", ["line 2, column 8", "'2024-99-99' cannot be read as timest"]),
        ("title: !!int ''", ["line 1, column 8", "'' cannot be read as int", "put it in quotes"]),
        ("title: !!bool maybe", ["'maybe' cannot be read as bool"]),
        ("title: !!timestamp noon", ["'noon' cannot be read as timestamp"]),
        (f"title: {'9' * 5000}", ["cannot be read as int"]),
        (f"title: 1:{'0:' * 300}0.5", ["cannot be read as float"]),
        ("[" * 2000, ["nested too deeply"]),
        ("- a", ["is a list", HINT]),
        ("", ["is empty", HINT]),
        (b"title: \xff", ["is not UTF-8"]),
    ],
)
def test_what_is_not_yaml_is_placed(tmp_path: Path, text: str | bytes, parts: list[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    message = _refusal(path)
    assert [part for part in parts if part not in message] == []


def test_a_file_that_cannot_be_read_says_why_and_what_to_give(tmp_path: Path) -> None:
    assert _refusal(tmp_path / "none.yaml").endswith(f"(No such file or directory). {HINT}")
    assert _refusal(tmp_path).endswith(f"(Is a directory). {HINT}")


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbftitle: x")
    assert read_yaml(tmp_path / "c.yaml", hint=HINT) == {"title": "x"}


def test_merged_mappings_are_no_duplicates() -> None:
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}"
    assert parse_yaml(text, where="x")["more"] == {"a": 1, "b": 3}


@given(
    st.lists(
        st.sampled_from(["!!int ", "!!map ", "!!set ", "? ", ": ", "- ", "a", "'", "0:", "9", "\n"])
        | st.sampled_from(["&x ", "*x", "<<", "!!timestamp ", "!!float ", "[", "]", "{", "}", " "]),
        max_size=12,
    )
)
def test_no_text_whatever_gives_anything_but_data_or_one_line(tokens: list[str]) -> None:
    message = "--set x"
    try:
        parse_yaml("".join(tokens), where="--set x")
    except ConfigError as err:
        message = str(err)
    assert message.startswith("--set x")
    assert len(message) < 1000
