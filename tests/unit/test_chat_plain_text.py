from pathlib import Path

import pytest
import transformers
from other_tokenizer import make_other_tokenizer

from stillhouse.chat import PlainTextTokenizer, vocabulary_sha256
from stillhouse.errors import ConfigError


@pytest.mark.parametrize("is_sentencepiece", [False, True])
def test_it_is_the_tokenizer_that_transformers_reads(
    tmp_path: Path, tiny_folder: Path, is_sentencepiece: bool
) -> None:
    folder = tiny_folder
    if is_sentencepiece:
        folder = tmp_path
        make_other_tokenizer().save_pretrained(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    for path in (folder, folder / "tokenizer.json"):
        ours = PlainTextTokenizer(path)
        assert ours.sha256 == vocabulary_sha256(theirs)
    text = "The bridge was opened in 1903. Die Bruecke."
    assert ours.ids([text, ""]) == [theirs.encode(text, add_special_tokens=False), []]


def test_a_control_token_that_is_spelt_out_is_text(tiny_folder: Path) -> None:
    ours = PlainTextTokenizer(tiny_folder)
    theirs = transformers.AutoTokenizer.from_pretrained(tiny_folder)
    special = set(theirs.all_special_ids)
    assert special
    for name in theirs.all_special_tokens:
        (ids,) = ours.ids([f"a {name} b"])
        assert not special & set(ids)


def test_half_a_character_is_replaced(tiny_folder: Path) -> None:
    ours = PlainTextTokenizer(tiny_folder)
    assert ours.ids(["a \ud800 b"]) == ours.ids(["a ? b"])


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file"):
        PlainTextTokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="describes no tokenizer"):
        PlainTextTokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="describes no tokenizer"):
        PlainTextTokenizer(tmp_path)
