"""What headers say of an account's limits."""

from collections.abc import Mapping

from stillhouse.teachers._dialects._protocol import BucketName, LimitReading
from stillhouse.teachers._dialects._times import number_of, seconds_until

# Header name to bucket and field.
_Places = dict[str, tuple[BucketName, str]]
_FIELDS = ("limit", "remaining", "reset")

_OPENAI_SUFFIXES: dict[str, BucketName] = {
    "requests": "requests",
    "tokens": "tokens",
    "tokens-prompt": "input_tokens",  # Fireworks
    "tokens-generated": "output_tokens",
    "req-minute": "requests",  # Mistral
    "tokens-minute": "tokens",
}
_ANTHROPIC_SUFFIXES: dict[str, BucketName] = {
    "requests": "requests",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
OPENAI_LIMITS: _Places = {
    f"x-ratelimit-{field}-{suffix}": (bucket, field)
    for suffix, bucket in _OPENAI_SUFFIXES.items()
    for field in _FIELDS
}
ANTHROPIC_LIMITS: _Places = {
    f"anthropic-ratelimit-{suffix}-{field}": (bucket, field)
    for suffix, bucket in _ANTHROPIC_SUFFIXES.items()
    for field in _FIELDS
}


def read_limits(headers: Mapping[str, str], places: _Places) -> tuple[LimitReading, ...]:
    """One reading per bucket that the headers name; what cannot be read is None in it."""
    found: dict[BucketName, dict[str, str]] = {}
    date: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        place = places.get(lower)
        if place is not None:
            bucket, field = place
            found.setdefault(bucket, {})[field] = value
        elif lower == "date":
            date["date"] = value
    return tuple(_reading(bucket, fields, date) for bucket, fields in found.items())


def _reading(bucket: BucketName, fields: dict[str, str], date: dict[str, str]) -> LimitReading:
    reset = fields.get("reset")
    return LimitReading(
        bucket=bucket,
        limit=_amount(fields.get("limit")),
        remaining=_amount(fields.get("remaining")),
        reset_s=None if reset is None else seconds_until(reset, date),
    )


def _amount(text: str | None) -> float | None:
    number = None if text is None else number_of(text)
    return None if number is None or number < 0 else number
