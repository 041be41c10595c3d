"""Options of a teacher spec, written like a URL query: `fake:?latency_s=0.01&parallel=8`."""

from difflib import get_close_matches
from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, ValidationError

from stillhouse.errors import ConfigError

OptionsT = TypeVar("OptionsT", bound="Options")


class Options(BaseModel):
    """The options of one kind of teacher; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def split_options(rest: str, options_type: type[OptionsT], *, scheme: str) -> tuple[str, OptionsT]:
    """The part before `?` and the options after it.

    Raises:
        ConfigError: an option is unknown, given twice or out of range.
    """
    subject, _, query = rest.partition("?")
    allowed = list(options_type.model_fields)
    given: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as err:
        raise ConfigError(
            f"Teacher '{scheme}:...?{query}' is not written as option=value&option=value. "
            f"Options are {', '.join(allowed)}."
        ) from err
    for name, value in pairs:
        if name not in allowed:
            near = get_close_matches(name, allowed, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ConfigError(
                f"Teacher '{scheme}:' has no option {name!r}.{hint} Options are "
                f"{', '.join(allowed)}."
            )
        if name in given:
            raise ConfigError(f"Teacher '{scheme}:' option {name!r} is given twice; keep one.")
        given[name] = value
    try:
        return subject, options_type.model_validate(given)
    except ValidationError as err:
        first = err.errors()[0]
        raise ConfigError(
            f"Teacher '{scheme}:' option {first['loc'][0]}={first['input']!r}: {first['msg']}."
        ) from err
