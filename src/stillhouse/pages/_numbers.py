"""Numbers as people read them: rounded to what the interval supports, with units."""

import math
from typing import Protocol

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
UNKNOWN = "unknown"

_MAX_DECIMALS = 4
_MOST_ZEROS = 8  # behind the point: a small model's answer costs millionths of a cent


class Measured(Protocol):
    """A measured value with the ends of its interval, whichever room measured it."""

    @property
    def value(self) -> float:
        """The estimate."""
        ...

    @property
    def low(self) -> float:
        """Lower end."""
        ...

    @property
    def high(self) -> float:
        """Upper end."""
        ...


def fixed(value: float, decimals: int) -> str:
    """`value` with that many decimals, thousands separated, with a real minus sign."""
    text = f"{abs(value):,.{decimals}f}"
    is_zero = not text.strip("0.,")
    return text if value >= 0 or is_zero else MINUS + text


def significant(value: float, digits: int = 3) -> str:
    """`value` with `digits` significant digits (whole numbers keep all of theirs)."""
    if value == 0:
        return "0"
    # Rounding first: 9.996 has one digit before the point, what is shown of it has two.
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return fixed(value, min(max(decimals, 0), digits + _MOST_ZEROS))


def decimals_of(estimate: Measured, scale: float = 1.0) -> int:
    """How many decimals the interval's width lets one state, for values times `scale`.

    The half width keeps one digit, or two where the first is 1 or 2: rounding 1.3 to 1 would
    move the interval's edge by a quarter of its width.
    """
    half_width = (estimate.high - estimate.low) / 2 * scale
    if half_width <= 0:
        magnitude = abs(estimate.value * scale)
        return 0 if magnitude >= 100 or magnitude == 0 else 2
    exponent = math.floor(math.log10(half_width))
    is_coarse = half_width < 3 * 10.0**exponent
    return min(max(is_coarse - exponent, 0), _MAX_DECIMALS)


def estimate_value(estimate: Measured, *, is_fraction: bool = False) -> str:
    """The value alone, in percent if `is_fraction`."""
    scale, suffix = _scale(is_fraction)
    return fixed(estimate.value * scale, decimals_of(estimate, scale)) + suffix


def estimate_interval(estimate: Measured, *, is_fraction: bool = False) -> str:
    """The interval alone: `1.13 to 1.28`."""
    scale, suffix = _scale(is_fraction)
    decimals = decimals_of(estimate, scale)
    low = fixed(estimate.low * scale, decimals)
    return f"{low} to {fixed(estimate.high * scale, decimals)}{suffix}"


def percent(fraction: float) -> str:
    """A share of a whole, without more digits than a glance takes in."""
    value = fraction * 100
    if 0 < value < 1:
        return "<\N{NO-BREAK SPACE}1\N{NO-BREAK SPACE}%"
    return f"{value:.0f}\N{NO-BREAK SPACE}%"


def parameters(count: int) -> str:
    """`134.5M`."""
    for limit, suffix in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= limit:
            return fixed(count / limit, 1) + suffix
    return str(count)


def size(num_bytes: int) -> str:
    """Decimal units, as disks and model hubs use them."""
    for limit, suffix in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= limit:
            return f"{significant(num_bytes / limit)}\N{NO-BREAK SPACE}{suffix}"
    return f"{num_bytes}\N{NO-BREAK SPACE}B"


def duration(seconds: float) -> str:
    """`0.4 s`, `95 s`, `2 min 30 s`, `1 h 5 min`."""
    if seconds < 9.95:
        return _with_unit(seconds, "s", significant(seconds, 2))
    whole = round(seconds)
    if whole < 120:
        return _with_unit(whole, "s")
    minutes, rest_s = divmod(whole, 60)
    if minutes < 60:
        return _with_unit(minutes, "min") + (f" {_with_unit(rest_s, 's')}" if rest_s else "")
    hours, rest_min = divmod(round(seconds / 60), 60)
    return _with_unit(hours, "h") + (f" {_with_unit(rest_min, 'min')}" if rest_min else "")


def money(cost_usd: float | None) -> str:
    """Dollars; an unknown price is never shown as nothing."""
    if cost_usd is None:
        return UNKNOWN
    if cost_usd == 0:
        return "$0"
    return f"${cost_usd:,.2f}" if cost_usd >= 0.995 else f"${significant(cost_usd, 2)}"


def times(ratio: float) -> str:
    """`1.9x`, with the real sign."""
    return f"{significant(ratio, 2)}{TIMES}"


def _scale(is_fraction: bool) -> tuple[float, str]:
    return (100.0, "\N{NO-BREAK SPACE}%") if is_fraction else (1.0, "")


def _with_unit(value: float, unit: str, text: str | None = None) -> str:
    return f"{text or f'{value:,.0f}'}\N{NO-BREAK SPACE}{unit}"
