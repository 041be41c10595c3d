"""Real text without a mark, in two halves that share no source."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benchmarks._protect.options import Options

from stillhouse.chat import PlainTextTokenizer
from stillhouse.models import locate_model

LENGTH = 200
_ROWS_TOGETHER = 20  # of data sets whose rows are shorter than a text
_REFERENCE_THIRDS = 1

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Corpus:
    """Texts of `LENGTH` tokens.

    Attributes:
        tested: Unmarked texts.
        reference: Of other books, articles and rows.
        tokenizer_sha256: Of what made the ids.
        sources: Texts by data set: tested, reference.
    """

    tested: list[Ids]
    reference: list[Ids]
    tokenizer_sha256: str
    sources: dict[str, tuple[int, int]]


def tokenizer_of() -> PlainTextTokenizer:
    """SmolLM2's."""
    return PlainTextTokenizer(Path(locate_model("").path))


def read_corpus(options: Options, tokenizer: PlainTextTokenizer) -> Corpus:
    """All texts of the data sets; which half a book, an article or a row is in its words decide."""
    tested: list[Ids] = []
    reference: list[Ids] = []
    sources: dict[str, tuple[int, int]] = {}
    for name, works in _works(options.data):
        counts = [0, 0]
        texts = list(works)
        for text, ids in zip(texts, tokenizer.ids(texts), strict=True):
            is_reference = sha256(text.encode()).digest()[0] % 3 < _REFERENCE_THIRDS
            whole = len(ids) - len(ids) % LENGTH
            pieces = list(np.array(ids[:whole], dtype=np.int64).reshape(-1, LENGTH))
            (reference if is_reference else tested).extend(pieces)
            counts[is_reference] += len(pieces)
        sources[name] = (counts[0], counts[1])
    order = np.random.default_rng(0).permutation(len(tested))
    return Corpus(
        [tested[place] for place in order[: options.most_documents]],
        reference,
        tokenizer.sha256,
        sources,
    )


def _works(data: Path) -> Iterator[tuple[str, Iterator[str]]]:
    books = data / "prose_gutenberg"
    with (books / "index.csv").open(encoding="utf-8") as stream:
        names = [row["file"] for row in csv.DictReader(stream)]
    yield "prose_gutenberg", (_book(books / "text" / name) for name in names)
    yield "digitalgov_news", _fields(data / "digitalgov_news" / "train.jsonl", "document")
    yield "gsm8k", _joined(_fields(data / "gsm8k" / "train.jsonl", "question", "answer"))
    yield "pubmedqa_l", _joined(_fields(next((data / "pubmedqa_l").glob("*.jsonl"))))
    yield "scitldr", _joined(_fields(data / "scitldr" / "train.jsonl"))


def _book(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _fields(path: Path, *names: str) -> Iterator[str]:
    """The texts of the rows: of some fields, or of all that hold text or lists of it."""
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            parts = [row[name] for name in names] if names else list(row.values())
            flat = [
                text
                for part in parts
                for text in (part if isinstance(part, list) else [part])
                if isinstance(text, str)
            ]
            yield "\n".join(flat)


def _joined(rows: Iterator[str]) -> Iterator[str]:
    waiting: list[str] = []
    for row in rows:
        waiting.append(row)
        if len(waiting) == _ROWS_TOGETHER:
            yield "\n\n".join(waiting)
            waiting = []
