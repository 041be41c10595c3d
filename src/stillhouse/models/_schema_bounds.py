"""Schemas that llguidance would compute without end, or fall over: told before it reads them.

It multiplies out what has to hold at once: an `allOf` of twelve choices of two takes 2.5 s, and
each further one four times as long. It recurses along references: a chain of 1,000 ends the
process. Either would let one request end a server.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from stillhouse.errors import ConfigError

_MOST_COMBINATIONS = 1000  # about 0.15 s
_MOST_LEVELS = 300  # it holds 1,800
_NO_SCHEMAS = ("const", "enum", "default", "examples")
_BY_REFERENCE = ("$defs", "definitions")


@dataclass(frozen=True, slots=True)
class _Size:
    """Of a part of a schema: alternatives that it may be, and levels under it."""

    alternatives: int
    levels: int


def check_schema_bounds(schema: Mapping[str, Any]) -> None:
    """See that a schema can be turned into a grammar within a second.

    Raises:
        ConfigError: it is too deep, has too many combinations, or refers to what is not in it.
    """
    _Walk(schema).size(schema, 0)


class _Walk:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._sizes: dict[str, _Size] = {}
        self._open: set[str] = set()
        self._is_cyclic = False
        self._num_combinations = 0

    def size(self, part: Any, depth: int) -> _Size:
        if depth > _MOST_LEVELS:
            raise _too_large(f"more than {_MOST_LEVELS} levels")
        if isinstance(part, list):
            return _largest([self.size(item, depth + 1) for item in part])
        if not isinstance(part, Mapping):
            return _Size(1, 0)
        if part is not self._root and isinstance(part.get("$id"), str):
            raise _too_large("there is an $id within it, from which its references count")
        held = list(self._held_at_once(part, depth))
        alternatives = 1
        for one in held:
            alternatives *= one.alternatives
        if sum(one.alternatives > 1 for one in held) > 1:
            self._num_combinations += alternatives
            if self._num_combinations > _MOST_COMBINATIONS:
                raise _too_large(f"more than {_MOST_COMBINATIONS} combinations of alternatives")
        levels = 1 + max((one.levels for one in held), default=0)
        if levels > _MOST_LEVELS or (self._is_cyclic and self._levels_of_all > _MOST_LEVELS):
            raise _too_large(f"more than {_MOST_LEVELS} levels")
        return _Size(alternatives, levels)

    def _held_at_once(self, part: Mapping[str, Any], depth: int) -> Iterator[_Size]:
        """The sizes of what a value has to be at the same time."""
        inner = []
        for key, value in part.items():
            if key == "allOf" and isinstance(value, list):
                yield from (self.size(one, depth + 1) for one in value)
            elif key in ("anyOf", "oneOf") and isinstance(value, list):
                yield _sum([self.size(one, depth + 1) for one in value])
            elif key == "type" and isinstance(value, list):
                yield _Size(max(len(value), 1), 0)
            elif key == "$ref" and isinstance(value, str):
                yield self._referred(value, depth)
            elif key not in _NO_SCHEMAS and key not in _BY_REFERENCE:
                inner.append(self.size(value, depth + 1))
        yield _largest(inner)

    def _referred(self, pointer: str, depth: int) -> _Size:
        if pointer in self._open:  # it becomes a rule that calls itself
            self._is_cyclic = True
            return _Size(1, 0)
        if pointer not in self._sizes:
            self._open.add(pointer)
            self._sizes[pointer] = self.size(self._found(pointer), depth + 1)
            self._open.discard(pointer)
        return self._sizes[pointer]

    @property
    def _levels_of_all(self) -> int:
        """How deep a way along references that lead in circles may be, at most."""
        return sum(size.levels for size in self._sizes.values())

    def _found(self, pointer: str) -> Any:
        place: Any = self._root
        if pointer not in ("#", "#/") and not pointer.startswith("#/"):
            raise _too_large(f"the reference {pointer[:60]!r}, which is none into it")
        for key in unquote(pointer[1:]).split("/")[1:] if pointer != "#" else ():
            key = key.replace("~1", "/").replace("~0", "~")
            if isinstance(place, list) and key.isdigit() and int(key) < len(place):
                place = place[int(key)]
            elif isinstance(place, Mapping) and key in place:
                place = place[key]
            else:
                raise _too_large(f"the reference {pointer[:60]!r}, which leads nowhere")
        return place


def _sum(sizes: list[_Size]) -> _Size:
    return _Size(
        max(sum(size.alternatives for size in sizes), 1),
        max((size.levels for size in sizes), default=0),
    )


def _largest(sizes: list[_Size]) -> _Size:
    return _Size(
        max((size.alternatives for size in sizes), default=1),
        max((size.levels for size in sizes), default=0),
    )


def _too_large(what: str) -> ConfigError:
    return ConfigError(f"Answers cannot be held to this schema ({what}). Use a simpler one.")
