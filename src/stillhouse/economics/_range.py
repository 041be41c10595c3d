"""A figure with the range that its measurement leaves open, and sums and products of such."""

import math
from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator

from stillhouse.errors import DataError
from stillhouse.records import Record


class Range(Record):
    """A value between two ends; the three are one where nothing was measured but given."""

    value: float = Field(allow_inf_nan=False)
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value} is not within {self.low} to {self.high}")
        return self

    @property
    def is_exact(self) -> bool:
        """Whether the ends are the value."""
        return self.low == self.high


ZERO = Range(value=0.0, low=0.0, high=0.0)


def exactly(value: float) -> Range:
    """A figure that is given, or counted."""
    return Range(value=value, low=value, high=value)


def total(parts: Iterable[Range]) -> Range:
    """The sum, from the sum of the low ends to that of the high ends.

    The box of all ends holds the true sum whenever every range holds its true value, whatever they
    have to do with each other; it is wider than an interval that took them for independent.
    """
    known = list(parts)
    return Range(
        value=math.fsum(one.value for one in known),
        low=math.fsum(one.low for one in known),
        high=math.fsum(one.high for one in known),
    )


def product(*factors: Range) -> Range:
    """The product of figures that are 0 or more, low ends with low ends.

    Raises:
        DataError: an end is below 0, so that the product would not rise with it.
    """
    below = [one for one in factors if one.low < 0]
    if below:
        raise DataError(
            f"A factor of a cost goes down to {below[0].low:g}; it must be 0 or more. Correct it."
        )
    return Range(
        value=math.prod(one.value for one in factors),
        low=math.prod(one.low for one in factors),
        high=math.prod(one.high for one in factors),
    )


def check_amount(name: str, value: float) -> None:
    """Refuse an amount that is negative, infinite or NaN."""
    if not 0 <= value < math.inf:
        raise DataError(f"{name} is {value}; it must be a finite number, 0 or more. Correct it.")


def check_share(name: str, value: float) -> None:
    """Refuse a share outside [0, 1], NaN included."""
    if not 0 <= value <= 1:
        raise DataError(f"{name} is {value}; it must be a share from 0 to 1. Correct it.")
