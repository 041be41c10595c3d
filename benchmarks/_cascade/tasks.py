"""The tasks that cascades are certified on."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from benchmarks._banking77.rows import (
    BANKING,
    GOLD_SETS,
    LabelRow,
    LabelSet,
    banking77,
    gold_set,
    read_jsonl,
)
from benchmarks._cascade.options import Options

from stillhouse.tasks import Task

_NUM_TOPICS = 20
_LEAD_CHARS = 400  # of an article, which a reader of its teaser sees


def _paradetox(options: Options) -> LabelSet:
    """Toxic comment or neutral rewriting; of each pair one side, so that rows are independent."""
    rows = []
    for split in ("train", "test"):
        for place, row in enumerate(read_jsonl(options.data / "paradetox" / f"{split}.jsonl")):
            is_toxic = place % 2 == 0
            text = row["input"] if is_toxic else row["references"][0]
            rows.append(_row(split, text, "toxic" if is_toxic else "neutral"))
    return _label_set("paradetox", rows)


def _pubmedqa(options: Options) -> LabelSet:
    """Yes, no or maybe to a question about an abstract."""
    found = list(read_jsonl(options.data / "pubmedqa_l" / "data.jsonl"))
    rows = [
        _row(row["split"], f"{row['question']}\n{row['context']}", row["label"]) for row in found
    ]
    return _label_set("pubmedqa", rows)


def _moderation(options: Options) -> LabelSet:
    """Whether any kept label of a text is set."""
    rows = [
        _row(_half(row["text"]), row["text"], "flagged" if row["flagged"] else "fine")
        for row in read_jsonl(options.data / "openai_moderation" / "test.jsonl")
    ]
    return _label_set("moderation", rows)


def _topics(options: Options) -> LabelSet:
    """The topics of an article from title and first lines: several labels, a graded score."""
    paths = [options.data / "digitalgov_news" / f"{split}.jsonl" for split in ("train", "test")]
    found = [row for path in paths for row in read_jsonl(path)]
    times = Counter(topic for row in found for topic in row["topics"])
    labels = {topic for topic, _ in times.most_common(_NUM_TOPICS)}
    rows = []
    for row in found:
        text = f"{row['title']}\n{row['document'][:_LEAD_CHARS]}"
        topics = sorted(labels.intersection(row["topics"]))
        rows.append(_row(_half(row["id"]), text, ", ".join(topics) or "[]"))
    return _label_set("topics", rows, labels=sorted(labels), multiple=True)


OTHERS: dict[str, Callable[[Options], LabelSet]] = {
    "paradetox": _paradetox,
    "pubmedqa": _pubmedqa,
    "moderation": _moderation,
    "topics": _topics,
}
TASKS = (BANKING, *GOLD_SETS, *OTHERS)


def label_set(name: str, options: Options) -> LabelSet:
    """One of `TASKS`; without a recorded teacher, gold labels stand in for one."""
    if name == BANKING:
        return banking77(options.of_tasks)
    if name in GOLD_SETS:
        return gold_set(name, options.of_tasks)
    return OTHERS[name](options)


def data_folders(data: Path) -> Iterator[Path]:
    """Where the rows of all tasks are."""
    for name in (BANKING, "banking77_teacher", *GOLD_SETS, "paradetox", "pubmedqa_l"):
        yield data / name
    yield from (data / name for name in ("openai_moderation", "digitalgov_news"))


def _label_set(
    name: str, rows: Sequence[LabelRow], *, labels: Sequence[str] = (), multiple: bool = False
) -> LabelSet:
    rows = [row for row in rows if row.text]
    task = Task(
        name=name,
        kind="classification",
        labels=tuple(labels or sorted({row.gold for row in rows})),
        multiple=multiple,
        grader="label_jaccard" if multiple else "label",
        reference="gold",
    )
    sides = {split: tuple(row for row in rows if row.split == split) for split in ("train", "test")}
    return LabelSet(name, task, sides["train"], sides["test"], teacher="gold labels")


def _row(split: str, text: str, label: str) -> LabelRow:
    assert split in ("train", "test")
    return LabelRow("test" if split == "test" else "train", text.strip(), label, label, {})


def _half(name: str) -> str:
    return "test" if sha256(name.encode()).digest()[0] % 2 else "train"
