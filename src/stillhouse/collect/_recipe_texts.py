"""The texts of a recipe: parsed and checked once, then drawn or listed."""

import hashlib
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice

from stillhouse.errors import ConfigError
from stillhouse.records import Split

Bindings = dict[str, str]
"""Slot name to the text that stands for it in one prompt."""

_Pick = Callable[[Sequence[str]], str]

_TOKEN = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]*)\}|[{}]")
_MAX_SHOWN_CHARS = 60
_MAX_NAMES = 10
# After this many draws in a row that were taken already, what is left is listed instead: what has
# not come up has a chance under about 1 % in all.
_MAX_MISSES = 500
# Listing stops here for recipes whose many combinations give few texts.
_MAX_LISTED = 1_000_000


@dataclass(frozen=True)
class Slot:
    """A place in a text that a value fills."""

    name: str


Parts = tuple[str | Slot, ...]


@dataclass(frozen=True)
class Drawn:
    """One prompt's text and the value of each slot that it used."""

    text: str
    bindings: Bindings


def parse_text(text: str) -> Parts:
    """Literal text and slots, in order.

    Raises:
        ConfigError: a brace stands alone.
    """
    parts: list[str | Slot] = []
    end = 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        if len(token) == 1:
            raise ConfigError(
                f"{_quoted(text)} has a single {token!r} at character {match.start() + 1}. Write "
                "{name} for a slot and {{ or }} for a brace."
            )
        parts += [text[end : match.start()], Slot(match[1]) if match[1] else token[0]]
        end = match.end()
    parts.append(text[end:])
    return tuple(part for part in parts if part != "")


class RecipeTexts:
    """A template with its values, checked: every slot is known, used and comes to an end.

    Args:
        template: The text that prompts grow from.
        values: For each slot, the texts that may stand for it.
        group_by: The slots that say what a prompt is about.

    Raises:
        ConfigError: what is wrong, with the text or slot.
    """

    def __init__(
        self, template: str, values: Mapping[str, Sequence[str]], *, group_by: Sequence[str] = ()
    ) -> None:
        self._values = dict(values)
        self._group_by = tuple(group_by)
        self._template = parse_text(template)
        self._parsed = {text: parse_text(text) for texts in values.values() for text in texts}
        self._check_names(template)
        self._check_use()
        self._check_groups(template)

    def group_of(self, drawn: Drawn) -> str | None:
        """What a prompt is about, or None without `group_by`."""
        return next((drawn.bindings[s] for s in self._group_by if s in drawn.bindings), None)

    def split_groups(
        self, *, seed: int, held_out_fraction: float
    ) -> "dict[Split, RestrictedTexts]":
        """The texts of each split. Group values are divided between them, all others shared.

        A value's side depends on the seed, its slot and its text, not on where it stands.

        Raises:
            ConfigError: a group slot has one value, and both splits need one.
        """
        train, held_out = dict(self._values), dict(self._values)
        for slot in self._group_by:
            values = self._values[slot]
            ranks = {text: _digest(f"{seed}:{slot}:{text}") for text in values}
            num_held_out = math.ceil(len(values) * held_out_fraction)
            if 0 < held_out_fraction < 1:
                if len(values) < 2:
                    raise ConfigError(
                        f"The group slot {slot!r} has one value; training and held-out prompts "
                        "need one each. Add values."
                    )
                num_held_out = min(num_held_out, len(values) - 1)
            away = set(sorted(ranks, key=ranks.__getitem__)[:num_held_out])
            train[slot] = [text for text in values if text not in away]
            held_out[slot] = [text for text in values if text in away]
        return {
            "train": RestrictedTexts(self._template, self._parsed, train),
            "held_out": RestrictedTexts(self._template, self._parsed, held_out),
        }

    def _check_names(self, template: str) -> None:
        for text, parts in ((template, self._template), *self._parsed.items()):
            for name in _slots(parts):
                if name not in self._values:
                    raise ConfigError(
                        f"{_quoted(text)} uses the unknown slot {name!r}.{self._names(name)}"
                    )
        for name in self._group_by:
            if name not in self._values:
                raise ConfigError(f"group_by names the unknown slot {name!r}.{self._names(name)}")
        for name, texts in self._values.items():
            text, num = Counter(texts).most_common(1)[0]
            if num > 1:
                raise ConfigError(f"values.{name} holds {_quoted(text)} twice. Remove one.")

    def _names(self, wrong: str) -> str:
        near = get_close_matches(wrong, self._values, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        shown = ", ".join(list(self._values)[:_MAX_NAMES]) or "none"
        cut = (
            f" and {len(self._values) - _MAX_NAMES} more" if len(self._values) > _MAX_NAMES else ""
        )
        return f"{hint} Slots with values: {shown}{cut}."

    def _check_use(self) -> None:
        used: set[str] = set()
        self._follow(self._template, (), used)
        unused = [name for name in self._values if name not in used]
        if unused:
            raise ConfigError(
                f"values.{unused[0]} is used by no text. Remove it, or write "
                f"{{{unused[0]}}} where it belongs."
            )

    def _follow(self, parts: Parts, path: tuple[str, ...], done: set[str]) -> None:
        for name in _slots(parts):
            if name in path:
                circle = " -> ".join((*path[path.index(name) :], name))
                raise ConfigError(f"The slot {name!r} comes back to itself ({circle}). Break it.")
            if name not in done:
                for text in self._values[name]:
                    self._follow(self._parsed[text], (*path, name), done)
                done.add(name)

    def _check_groups(self, template: str) -> None:
        if not self._group_by:
            return
        owner: dict[str, str] = {}
        for slot in self._group_by:
            for text in self._values[slot]:
                if _slots(self._parsed[text]):
                    raise ConfigError(
                        f"{_quoted(text)} in the group slot {slot!r} holds a slot. What a prompt "
                        "is about must be plain text."
                    )
                if owner.setdefault(text, slot) != slot:
                    raise ConfigError(
                        f"{_quoted(text)} is in the group slots {owner[text]!r} and {slot!r}, so "
                        "it could be on both sides. Keep it in one."
                    )
        found = self._groups_used(template, self._template, {})
        if frozenset() in found:
            raise ConfigError(
                f"{_quoted(self._without_group(template, self._template))} uses no group slot. "
                f"Each prompt needs one of {', '.join(self._group_by)}."
            )

    def _groups_used(
        self, text: str, parts: Parts, known: dict[str, set[frozenset[str]]]
    ) -> set[frozenset[str]]:
        """The sets of group slots that a text can come to use; none has more than one member."""
        found = {frozenset[str]()}
        for name in _slots(parts):
            found = {one | other for one in found for other in self._groups_in(name, known)}
            for used in found:
                if len(used) > 1:
                    raise ConfigError(
                        f"{_quoted(text)} can use two group slots ({', '.join(sorted(used))}). "
                        "Each prompt is about one."
                    )
        return found

    def _groups_in(self, name: str, known: dict[str, set[frozenset[str]]]) -> set[frozenset[str]]:
        if name in self._group_by:
            return {frozenset({name})}
        if name not in known:
            known[name] = set()
            for text in self._values[name]:
                known[name] |= self._groups_used(text, self._parsed[text], known)
        return known[name]

    def _without_group(self, text: str, parts: Parts) -> str:
        """The innermost text that could have named a group and does not."""
        for name in _slots(parts):
            used = {v: self._groups_used(v, self._parsed[v], {}) for v in self._values[name]}
            if any(groups - {frozenset()} for groups in used.values()):
                bare = next(value for value, groups in used.items() if frozenset() in groups)
                return self._without_group(bare, self._parsed[bare])
        return text


class RestrictedTexts:
    """The texts of one split: drawn one at a time, or listed."""

    def __init__(
        self, template: Parts, parsed: Mapping[str, Parts], values: Mapping[str, Sequence[str]]
    ) -> None:
        self._template = template
        self._parsed = parsed
        self._values = values

    def draw(self, pick: _Pick) -> Drawn:
        """One prompt, with `pick` choosing each value."""
        bindings: Bindings = {}
        return Drawn(self._fill(self._template, pick, bindings), bindings)

    def __iter__(self) -> Iterator[Drawn]:
        """Every prompt, in the order in which the values are written."""
        return self._combinations(self._template, {})

    def _fill(self, parts: Parts, pick: _Pick, bindings: Bindings) -> str:
        filled: list[str] = []
        for part in parts:
            if isinstance(part, Slot):
                if part.name not in bindings:
                    text = pick(self._values[part.name])
                    bindings[part.name] = self._fill(self._parsed[text], pick, bindings)
                filled.append(bindings[part.name])
            else:
                filled.append(part)
        return "".join(filled)

    def _combinations(self, parts: Parts, bindings: Bindings) -> Iterator[Drawn]:
        if not parts:
            yield Drawn("", bindings)
            return
        for head in self._heads(parts[0], bindings):
            for tail in self._combinations(parts[1:], head.bindings):
                yield Drawn(head.text + tail.text, tail.bindings)

    def _heads(self, part: str | Slot, bindings: Bindings) -> Iterator[Drawn]:
        if not isinstance(part, Slot):
            yield Drawn(part, bindings)
        elif part.name in bindings:
            yield Drawn(bindings[part.name], bindings)
        else:
            for text in self._values[part.name]:
                for inner in self._combinations(self._parsed[text], bindings):
                    yield Drawn(inner.text, {**inner.bindings, part.name: inner.text})


def draw_distinct(texts: RestrictedTexts, count: int, *, seed: str, taken: set[str]) -> list[Drawn]:
    """Up to `count` prompts whose texts are not in `taken`, which they are added to.

    Fewer come back only when there are no more.
    """
    if count == 0:
        return []
    rng = random.Random(int.from_bytes(_digest(seed), "big"))
    found: list[Drawn] = []
    misses = 0
    while len(found) < count and misses < _MAX_MISSES:
        # Only random() is stable over Python versions; choice() and shuffle() are not.
        drawn = texts.draw(lambda options: options[int(rng.random() * len(options))])
        if drawn.text in taken:
            misses += 1
            continue
        misses = 0
        taken.add(drawn.text)
        found.append(drawn)
    for drawn in islice(texts, _MAX_LISTED) if len(found) < count else ():
        if len(found) == count:
            break
        if drawn.text not in taken:
            taken.add(drawn.text)
            found.append(drawn)
    return found


def _slots(parts: Parts) -> list[str]:
    return list(dict.fromkeys(part.name for part in parts if isinstance(part, Slot)))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN_CHARS else f"{text[:_MAX_SHOWN_CHARS]}...")
