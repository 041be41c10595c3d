"""Texts that are tested for marks: from a file, a folder or standard input, as token ids."""

import codecs
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillhouse.chat import PlainTextTokenizer
    from stillhouse.watermark import Profile

_SUFFIXES = (".txt", ".md")


@dataclass(frozen=True, slots=True)
class GivenText:
    """A text with what it answers.

    Attributes:
        name: What to call it in a table.
        ids: Its tokens.
        prompt_ids: Those of what it answers; None where that was not given.
    """

    name: str
    ids: list[int]
    prompt_ids: list[int] | None


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    text: str | list[int]
    prompt: str | list[int] | None = None


def read_texts(
    source: str, *, profile: "Profile", model: str, prompt: Path | None = None
) -> list[GivenText]:
    """The texts of a source, by the profile's tokenizer.

    Args:
        source: `-` for one text on standard input; a .jsonl file with `text` or `ids`, and `prompt`
            or `prompt_ids` where there is one, in each line; a folder of .txt and .md files; any
            other file is one text.
        profile: Whose tokenizer it must be.
        model: Whose tokenizer reads text; not opened where only ids are given.
        prompt: File of the text that a single text answers.

    Raises:
        ConfigError: a file cannot be read or holds anything else, or the tokenizer is another.
        MissingDependencyError: texts need `tokenizers`.
    """
    from stillhouse.errors import ConfigError

    rows = list(_rows(source))
    if not rows:
        raise ConfigError(f"{source} holds no text. Give one at least.")
    if prompt is not None:
        if len(rows) != 1:
            raise ConfigError(
                f"--prompt is of one text, and {source} holds {len(rows)}. Give each its 'prompt' "
                "in a .jsonl file."
            )
        rows = [_Row(rows[0].name, rows[0].text, _read(prompt))]
    is_text = any(isinstance(part, str) for row in rows for part in (row.text, row.prompt))
    tokenizer = _tokenizer(model, profile) if is_text else None
    texts = _all_ids([row.text for row in rows], tokenizer)
    prompts = _all_ids([row.prompt or [] for row in rows], tokenizer)
    return [
        GivenText(row.name, ids, None if row.prompt is None else prompt_ids)
        for row, ids, prompt_ids in zip(rows, texts, prompts, strict=True)
    ]


def _all_ids(
    parts: list[str | list[int]], tokenizer: "PlainTextTokenizer | None"
) -> list[list[int]]:
    found: list[list[int]] = [[] if isinstance(part, str) else part for part in parts]
    places = [place for place, part in enumerate(parts) if isinstance(part, str)]
    if tokenizer is not None:
        ids = tokenizer.ids([str(parts[place]) for place in places])
        for place, of_text in zip(places, ids, strict=True):
            found[place] = of_text
    return found


def _tokenizer(model: str, profile: "Profile") -> "PlainTextTokenizer":
    from stillhouse.chat import PlainTextTokenizer
    from stillhouse.watermark import check_tokenizer

    path = Path(model)
    if model == "local:" or not (path.name == "tokenizer.json" or path.is_dir()):
        from stillhouse.models import locate_model

        path = Path(locate_model("" if model == "local:" else model.removeprefix("local:")).path)
    tokenizer = PlainTextTokenizer(path)
    check_tokenizer(profile, tokenizer.sha256)
    return tokenizer


def _rows(source: str) -> Iterator[_Row]:
    from stillhouse.errors import ConfigError

    path = Path(source)
    if source == "-":
        yield _Row("-", _decoded(sys.stdin.buffer.read(), "standard input"))
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix in _SUFFIXES and file.is_file():
                yield _Row(str(file.relative_to(path)), _read(file))
    elif not path.is_file():
        raise ConfigError(f"{source} is no file. Give a text, a .jsonl file, a folder or '-'.")
    elif path.suffix == ".jsonl":
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield _row(line, f"{path}:{number}", number)
    else:
        yield _Row(path.name, _read(path))


def _row(line: bytes, where: str, number: int) -> _Row:
    import orjson

    from stillhouse.errors import RecordError

    try:
        found: Any = orjson.loads(line)
    except orjson.JSONDecodeError as err:
        raise RecordError(f"{where} is no JSON ({err}). Correct the line.") from err
    if not isinstance(found, dict):
        raise RecordError(f"{where} is no object. Give each line a 'text' or 'ids'.")
    text: Any = found.get("text", found.get("ids"))
    prompt: Any = found.get("prompt", found.get("prompt_ids"))
    for name, value in (("text' or 'ids", text), ("prompt' or 'prompt_ids", prompt)):
        is_ids = isinstance(value, list) and all(type(each) is int for each in value)
        if not (isinstance(value, str) or is_ids or (value is None and name.startswith("prompt"))):
            raise RecordError(
                f"{where} has a '{name}' that is neither text nor a list of ids. Correct the line."
            )
    return _Row(str(found.get("id", number)), text, prompt)


def _read(path: Path) -> str:
    from stillhouse.errors import ConfigError

    try:
        raw = path.read_bytes()
    except OSError as err:
        raise ConfigError(f"{path} cannot be read ({err.strerror}). Give a text file.") from err
    return _decoded(raw, str(path))


def _decoded(raw: bytes, where: str) -> str:
    """Text of UTF-8, or of UTF-16 with a mark of its order, as some shells write it.

    Nothing is replaced: damaged text has other tokens, and would look unmarked.
    """
    from stillhouse.errors import ConfigError

    is_utf16 = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as err:
        kind = "UTF-16" if is_utf16 else "UTF-8"
        raise ConfigError(
            f"{where} is no {kind} at byte {err.start}. Give text in UTF-8: "
            "iconv -f ITS_ENCODING -t utf-8 FILE."
        ) from err
