"""Durations and moments as the providers' headers and error bodies write them."""

import email.utils
import math
import re
import time
from collections.abc import Mapping
from datetime import datetime

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:h|ms|us|\u00b5s|\u03bcs|ns|m|s))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|\u00b5s|\u03bcs|ns|m|s)", re.ASCII)
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_UNIT_S |= {"\u00b5s": 1e-6, "\u03bcs": 1e-6}
_FIRST_EPOCH_S = 1e9  # larger numbers are moments, not durations
_FIRST_EPOCH_MS = 1e12


def seconds_of(text: str) -> float | None:
    """A number of seconds, or a Go duration such as `6m0s`, `17ms` or `1h2m3.5s`."""
    text = text.strip()
    number = number_of(text)
    if number is not None:
        return number
    if not _DURATION.fullmatch(text):
        return None
    seconds = sum(float(value) * _UNIT_S[unit] for value, unit in _DURATION_PART.findall(text))
    return seconds if math.isfinite(seconds) else None


def seconds_until(text: str, headers: Mapping[str, str]) -> float | None:
    """How far away it is: a duration, an RFC 3339 moment, an HTTP date, s or ms since 1970.

    Args:
        headers: Those that it came with, names in lower case: their `date` is the endpoint's now,
            so that no clock of ours matters.
    """
    seconds = seconds_of(text)
    if seconds is None:
        moment_s = _moment_s(text.strip())
    elif seconds >= _FIRST_EPOCH_MS:
        moment_s = seconds / 1000.0
    elif seconds >= _FIRST_EPOCH_S:
        moment_s = seconds
    else:
        return max(seconds, 0.0)
    return None if moment_s is None else max(moment_s - _now_s(headers), 0.0)


def number_of(text: str) -> float | None:
    """A finite number, None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _now_s(headers: Mapping[str, str]) -> float:
    moment_s = _http_date_s(headers.get("date", ""))
    return time.time() if moment_s is None else moment_s


def _moment_s(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return _http_date_s(text)


def _http_date_s(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
