"""JSON documents: field by field, and as a whole.

A field is a leaf that is not null: a null, an empty object and an empty list say that there is
nothing, as a missing key does. The order of lists does not count.
"""

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from stillhouse.errors import DataError, RecordError
from stillhouse.records import canonical_json

_MAX_COMPARISONS = 40_000  # about a second for objects of ten fields

_Tally = defaultdict[str, Counter[str]]
"""By path, how many fields are equal, extra or missing."""


class FieldCounts(NamedTuple):
    """The fields of an answer beside the expected ones; a wrong value is both extra and missing."""

    num_equal: int
    num_extra: int
    num_missing: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where neither side has a field."""
        total = 2 * self.num_equal + self.num_extra + self.num_missing
        return 2 * self.num_equal / total if total else 1.0


def fields(answer: str, expected: str) -> float:
    """F1 of the fields that have exactly the expected value."""
    return field_counts(answer, expected).f1


def document(answer: str, expected: str) -> float:
    """1 where every field has exactly the expected value, and there are no others."""
    counts = field_counts(answer, expected)
    return float(counts.num_extra == counts.num_missing == 0)


def field_counts(answer: str, expected: str) -> FieldCounts:
    """The fields of one document, added up over all paths.

    Raises:
        RecordError: `expected` is no JSON.
    """
    return _sum(compare_fields(answer, expected).values())


def compare_fields(answer: str, expected: str) -> dict[str, FieldCounts]:
    """The fields of one document by path, such as `$.items[].price`.

    Lists are matched element to element in the way that makes most fields equal; in lists of more
    than about 200 unequal objects, the elements at the same place are.

    Args:
        answer: JSON text; all fields are missing where it is none.
        expected: JSON text.

    Raises:
        RecordError: `expected` is no JSON.
    """
    tally: _Tally = defaultdict(Counter)
    try:
        wanted = json.loads(expected)
        _add_leaves(tally, wanted, "$", "missing")
    except (ValueError, RecursionError) as err:
        raise RecordError(
            f"The expected answer {expected[:60]!r} is no JSON that can be compared ({err}). "
            "Correct the reference."
        ) from err
    try:
        compared = _compared(json.loads(answer), wanted, "$")
    except (ValueError, RecursionError):
        compared = tally
    return {
        path: FieldCounts(counts["equal"], counts["extra"], counts["missing"])
        for path, counts in sorted(compared.items())
    }


def micro_f1(counts: Iterable[FieldCounts]) -> float:
    """F1 over the fields of all documents together.

    Raises:
        DataError: there are no documents, or none has a field.
    """
    total = _sum(counts)
    if not any(total):
        raise DataError("There are no fields to compare. Give documents that have some.")
    return total.f1


def _sum(counts: Iterable[FieldCounts]) -> FieldCounts:
    columns = list(zip(*counts, strict=True)) or [(), (), ()]
    return FieldCounts(*map(sum, columns))


def _compared(given: Any, wanted: Any, path: str) -> _Tally:
    tally: _Tally = defaultdict(Counter)
    if isinstance(given, dict) and isinstance(wanted, dict):
        for key in given.keys() | wanted.keys():
            _merge(tally, _compared(given.get(key), wanted.get(key), f"{path}.{key}"))
    elif isinstance(given, list) and isinstance(wanted, list):
        for one, other in _matched(given, wanted, path):
            _merge(tally, _compared(one, other, f"{path}[]"))
    elif _is_scalar(given) and _is_scalar(wanted) and _key(given) == _key(wanted):
        _add_leaves(tally, given, path, "equal")
    else:
        _add_leaves(tally, given, path, "extra")
        _add_leaves(tally, wanted, path, "missing")
    return tally


def _matched(given: list[Any], wanted: list[Any], path: str) -> list[tuple[Any, Any]]:
    """Pairs of elements; None stands beside an element that has no counterpart."""
    pairs, given, wanted = _equal_pairs(given, wanted)
    if len(given) * len(wanted) > _MAX_COMPARISONS:
        return [*pairs, *zip_longest(given, wanted)]
    if given and wanted and not all(map(_is_scalar, given)):
        equal = [[_num_equal(one, other, path) for other in wanted] for one in given]
        rows, columns = linear_sum_assignment(np.array(equal), maximize=True)
        pairs += [(given[row], wanted[column]) for row, column in zip(rows, columns, strict=True)]
        # One side is matched whole, and the other up to its length.
        given = [given[row] for row in sorted(set(range(len(given))) - set(rows))]
        wanted = [wanted[place] for place in sorted(set(range(len(wanted))) - set(columns))]
    return [*pairs, *((one, None) for one in given), *((None, other) for other in wanted)]


def _equal_pairs(
    given: Sequence[Any], wanted: Sequence[Any]
) -> tuple[list[tuple[Any, Any]], list[Any], list[Any]]:
    """Elements that are equal, and the others of both.

    Pairing equals first costs nothing: what two others share with them, they share with each other.
    """
    waiting: defaultdict[Any, list[int]] = defaultdict(list)
    for place, other in enumerate(wanted):
        waiting[_element_key(other)].append(place)
    pairs, rest, taken = [], [], set()
    for one in given:
        places = waiting.get(_element_key(one))
        if places:
            taken.add(place := places.pop())
            pairs.append((one, wanted[place]))
        else:
            rest.append(one)
    return pairs, rest, [other for place, other in enumerate(wanted) if place not in taken]


def _element_key(value: Any) -> Any:
    return _key(value) if _is_scalar(value) else canonical_json(value)


def _num_equal(given: Any, wanted: Any, path: str) -> int:
    return sum(counts["equal"] for counts in _compared(given, wanted, path).values())


def _add_leaves(tally: _Tally, value: Any, path: str, kind: str) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _add_leaves(tally, inner, f"{path}.{key}", kind)
    elif isinstance(value, list):
        for inner in value:
            _add_leaves(tally, inner, f"{path}[]", kind)
    elif value is not None:
        tally[path][kind] += 1


def _merge(tally: _Tally, other: _Tally) -> None:
    for path, counts in other.items():
        tally[path].update(counts)


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, dict | list)


def _key(value: Any) -> tuple[str, Any]:
    """Equal for equal scalars only: Python takes True for 1."""
    if isinstance(value, str):
        return "text", " ".join(unicodedata.normalize("NFC", value).split())
    if isinstance(value, bool) or value is None:
        return "word", value
    return "number", value
