"""Traffic in parts: prompts with one system message and one beginning belong together.

An application asks with templates, so that many prompts begin alike; what people write themselves
seldom does. Letters: N prompts.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from stillhouse.pipeline._scan_rows import LoggedPrompt
from stillhouse.tasks import last_user_text

_SYSTEM_WORDS, _PROMPT_WORDS = 12, 6  # of a beginning that prompts share by no accident
_ENDING_WORDS = 3
_LEAST_FRACTION = 0.05
_LEAST_SYSTEM, _LEAST_PROMPT = 5, 20  # prompts, whatever fraction they are
_SHOWN_CHARS = 80


@dataclass(frozen=True)
class Part:
    """Prompts that were made in one way.

    Attributes:
        rows: The prompts.
        system: Their system message; None where there is none or it varies.
        system_varies: Whether it varies.
        before: What every user message begins with.
        after: What every user message ends with.
    """

    rows: tuple[LoggedPrompt, ...]
    system: str | None
    system_varies: bool
    before: str
    after: str

    @property
    def num_calls(self) -> int:
        """Answers to its prompts."""
        return sum(len(row.completions) for row in self.rows)

    @property
    def system_sha256(self) -> str | None:
        """Of the system message."""
        return None if self.system is None else hashlib.sha256(self.system.encode()).hexdigest()

    @property
    def name(self) -> str:
        """What to call it: how its prompts begin."""
        shown = " ".join((self.before or self.system or "").split())
        if not shown:
            return "prompts of their own wording" if not self.system_varies else "mixed prompts"
        return shown if len(shown) <= _SHOWN_CHARS else f"{shown[:_SHOWN_CHARS].rstrip()}..."


def parts_of(rows: Sequence[LoggedPrompt]) -> list[Part]:
    """All rows in parts, the one with the most calls first.

    Prompts with one system message are one part. The others are told apart by how the user's
    message begins, where 5 % of them, and 20 at least, begin with the same instruction. What has
    none is one part of its own.
    """
    parts = []
    for of_system in _by_beginning(rows, system_text, _SYSTEM_WORDS, _LEAST_SYSTEM):
        if len({system_text(row) for row in of_system}) == 1 and system_text(of_system[0]):
            parts.append(_part(of_system))
        else:
            parts += map(_part, _by_template(of_system))
    return sorted(parts, key=lambda part: -part.num_calls)


def whole(rows: Sequence[LoggedPrompt]) -> Part:
    """All rows as one part, whose prompts a task explains and not their beginnings."""
    return replace(_part(list(rows)), before="", after="")


def system_text(row: LoggedPrompt) -> str:
    """The system messages of a prompt; empty where it has none."""
    return "\n".join(one.content for one in row.prompt.messages if one.role == "system")


def _user_text(row: LoggedPrompt) -> str:
    return last_user_text(row.prompt)


def _by_beginning(
    rows: Sequence[LoggedPrompt],
    text_of: Callable[[LoggedPrompt], str],
    num_words: int,
    least: int,
) -> Iterator[list[LoggedPrompt]]:
    """Groups whose texts share their first words, in the order of the rows; then the others."""
    groups: defaultdict[tuple[str, ...], list[LoggedPrompt]] = defaultdict(list)
    for row in rows:
        groups[tuple(text_of(row).split(maxsplit=num_words)[:num_words])].append(row)
    enough = max(least, _LEAST_FRACTION * len(rows))
    large = [group for group in groups.values() if len(group) >= enough]
    yield from large
    others = [row for group in groups.values() if len(group) < enough for row in group]
    if others:
        yield others


def _by_template(rows: Sequence[LoggedPrompt]) -> Iterator[list[LoggedPrompt]]:
    """Groups that share an instruction; then all others as one."""
    others = []
    for group in _by_beginning(rows, _user_text, _PROMPT_WORDS, _LEAST_PROMPT):
        before, _ = _frame([_user_text(row) for row in group])
        # People begin alike too, and go on in the middle of a sentence; an instruction ends first.
        if before and not before.rstrip(" ")[-1].isalnum():
            yield group
        else:
            others += group
    if others:
        yield others


def _part(rows: list[LoggedPrompt]) -> Part:
    systems = {system_text(row) for row in rows}
    system = systems.pop() if len(systems) == 1 else None
    before, after = _frame([_user_text(row) for row in rows])
    return Part(
        rows=tuple(rows),
        system=system or None,
        system_varies=system is None,
        before=before,
        after=after,
    )


def _frame(texts: Sequence[str]) -> tuple[str, str]:
    """What all texts begin and end with, up to a space or line break; empty for one text alone."""
    if len(set(texts)) < 2:
        return "", ""
    before = _common_beginning(texts)
    before = before[: _last_break(before)]
    rest = [text[len(before) :] for text in texts]
    after = _common_beginning([text[::-1] for text in rest])[::-1]
    after = after[_first_break(after) :]
    if not all(text[: len(text) - len(after)].strip() for text in rest):
        return "", ""  # some text is nothing but the frame
    return (
        before if len(before.split()) >= _PROMPT_WORDS else "",
        after if len(after.split()) >= _ENDING_WORDS else "",
    )


def _last_break(text: str) -> int:
    return max((index + 1 for index, char in enumerate(text) if char.isspace()), default=0)


def _first_break(text: str) -> int:
    return next((index for index, char in enumerate(text) if char.isspace()), len(text))


def _common_beginning(texts: Sequence[str]) -> str:
    """What all texts begin with: what the first and the last of them in order do."""
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((place for place, (a, b) in pairs if a != b), len(first))]
