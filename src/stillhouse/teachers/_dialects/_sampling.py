"""What several dialects write alike."""

from typing import Any

from stillhouse.records import Request, Sampling
from stillhouse.teachers._dialects._protocol import Quirks

_SEED_MODULUS = 2**31  # servers hold seeds in 32 bits, some of them signed


def seed_of(request: Request) -> int:
    """The seed of one request, as far as servers can hold it."""
    return request.seed % _SEED_MODULUS


def sampling_fields(
    sampling: Sampling, quirks: Quirks, *, top_p_field: str = "top_p"
) -> dict[str, Any]:
    """Temperature and `top_p`; where 1 is the default they may stay out when they are 1."""
    fields = {"temperature": sampling.temperature, top_p_field: sampling.top_p}
    if quirks.states_defaults:
        return fields
    return {name: value for name, value in fields.items() if value != 1.0}


def bearer(api_key: str | None) -> dict[str, str]:
    """The key as a bearer token, nothing without one."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}
