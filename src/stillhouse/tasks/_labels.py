"""Which label a text names: exactly, by its letters, or by an alias. Nothing is guessed."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import NamedTuple

LABEL_SEPARATOR = ", "
"""Between the labels of a canonical answer."""

_PARTS = re.compile(r"[,;\n]")
_PARTS_OF_PROSE = re.compile(r"[,;|/\n]|\s(?:and|or)\s", re.IGNORECASE)
_KEPT_CATEGORIES = "MS"  # marks and symbols, so that C and C++ differ; letters and digits always


class Spellings(NamedTuple):
    """How labels may be written.

    Attributes:
        exact: Label or alias to label.
        folded: The same without case, spaces and punctuation.
    """

    exact: Mapping[str, str]
    folded: Mapping[str, str]

    def label_of(self, text: str) -> str | None:
        """The label that `text` names; None where it names none."""
        text = text.strip()
        found = self.exact.get(text)
        return found if found is not None else self.folded.get(fold(text))


def fold(text: str) -> str:
    """`text` without case, spaces, underscores and punctuation; compatible characters are one."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return "".join(char for char in folded if char.isalnum() or _is_kept(char))


def _is_kept(char: str) -> bool:
    return char != "`" and unicodedata.category(char)[0] in _KEPT_CATEGORIES


@lru_cache(maxsize=16)  # a run has one task, and asks for it with every answer
def spellings(labels: tuple[str, ...], aliases: tuple[tuple[str, str], ...]) -> Spellings:
    """The spellings of `labels` with their `aliases`, which `check_labels` has passed."""
    exact = {**dict(aliases), **{label: label for label in labels}}
    folded = {fold(spelling): label for spelling, label in exact.items()}
    folded.pop("", None)  # of nothing but punctuation: found exactly or not at all
    return Spellings(exact, folded)


def check_labels(labels: Iterable[str], aliases: Mapping[str, str]) -> None:
    """Refuse labels and aliases that one text could mean two of.

    Raises:
        ValueError: says which.
    """
    owner: dict[str, str] = {}
    for label in labels:
        if not label.strip() or label != label.strip() or "\n" in label:
            raise ValueError(
                f"the label {label!r} is empty, has space around it, or is longer than a line. "
                "Write it on one line without space around it"
            )
        twin = owner.get(fold(label) or label)
        if twin is not None:
            how = "is given twice" if twin == label else f"cannot be told from {twin!r}"
            raise ValueError(
                f"the label {label!r} {how}: case, spaces and punctuation do not count. "
                "Rename or remove one"
            )
        owner[fold(label) or label] = label
    known = set(owner.values())
    for alias, label in aliases.items():
        if label not in known:
            raise ValueError(f"the alias {alias!r} stands for {label!r}, which is no label")
        twin = owner.setdefault(fold(alias) or alias, label)
        if twin != label:
            raise ValueError(
                f"the alias {alias!r} stands for {label!r}, but reads as {twin!r}: case, spaces "
                "and punctuation do not count. Remove it"
            )


def named_labels(text: str, known: Spellings) -> tuple[set[str], str | None]:
    """The labels that a list names, and the first part that names none."""
    labels: set[str] = set()
    for part in filter(None, map(str.strip, _PARTS.split(text))):
        label = known.label_of(part)
        if label is None:
            return labels, part
        labels.add(label)
    return labels, None


def names_no_label(text: str) -> bool:
    """Whether `text` says that no label of several fits."""
    return text == "[]" or fold(text) == "none"


def several_labels(text: str, known: Spellings) -> set[str]:
    """The labels of a text that consists of nothing but labels; empty where it has other parts."""
    parts = [part for part in _PARTS_OF_PROSE.split(text) if part.strip()]
    labels = {known.label_of(part) for part in parts}
    return {label for label in labels if label is not None} if None not in labels else set()
