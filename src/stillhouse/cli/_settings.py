"""From flags and `--set` to the settings of a stage."""

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.errors import ConfigError


def stage_settings(flags: Mapping[str, Any], assignments: Sequence[str] | None) -> dict[str, Any]:
    """What the user set, as nested plain data.

    Args:
        flags: Dotted name of a setting to its value; None where the flag was not given.
        assignments: `NAME=VALUE` with a dotted name and a value in YAML.

    Raises:
        ConfigError: an assignment has another form, or a setting is given twice.
    """
    from stillhouse.settings import parse_yaml

    given = {name: value for name, value in flags.items() if value is not None}
    for assignment in assignments or ():
        name, equals, text = assignment.partition("=")
        if not (equals and name):
            raise ConfigError(
                f"--set {assignment!r} is not NAME=VALUE, such as sampling.top_p=0.9."
            )
        if name in given:
            raise ConfigError(f"{name} is given twice. Give it once.")
        given[name] = parse_yaml(text, where=f"--set {name}")
    return _nested(given)


def _nested(given: Mapping[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, value in given.items():
        *sections, last = name.split(".")
        section = settings
        for part in sections:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise ConfigError(f"{part} is a value and has no setting {last}. Give one of them.")
        section[last] = value
    return settings
