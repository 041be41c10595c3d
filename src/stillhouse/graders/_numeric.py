"""Numbers in text: the last one counts, without its unit."""

import math
import re

from stillhouse.errors import RecordError

_TOLERANCE = 1e-6
# A sign belongs to a number only where it does not part it from another, as in 10-12.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w.)])[-+])?(?:[$\u00a3\u20ac\u00a5]\s?(?P<inner>[-+])?)?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|(?<!\d)\.\d+)"
    r"(?P<exponent>[eE][-+]?\d+)?",
    re.ASCII,
)


def numeric(answer: str, expected: str, *, tolerance: float = _TOLERANCE) -> float:
    """1 where the last numbers of both texts are equal.

    Args:
        answer: A text that ends with its number, whatever is written around it. Commas part
            thousands, a point the fraction; a percent sign is a unit like any other.
        expected: The same.
        tolerance: Of the difference, relative to the expected number; absolute where that is 0.

    Raises:
        RecordError: `expected` holds no number.
    """
    wanted = last_number(expected)
    if wanted is None:
        raise RecordError(
            f"The expected answer {expected[:60]!r} holds no number. Correct the reference, or "
            "take another grader."
        )
    given = last_number(answer)
    if given is None:
        return 0.0
    return float(abs(given - wanted) <= tolerance * (abs(wanted) or 1.0))


def last_number(text: str) -> float | None:
    """The last finite number in `text`, None where there is none."""
    for match in reversed(list(_NUMBER.finditer(text.replace("\u2212", "-")))):
        digits = match["digits"].replace(",", "") + (match["exponent"] or "")
        value = float(digits)
        if math.isfinite(value):
            return -value if "-" in (match["sign"], match["inner"]) else value
    return None
