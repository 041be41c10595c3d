"""The profile of a deployment: which scheme marks it, under which name, and with what settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from stillhouse.errors import ConfigError
from stillhouse.records import Record
from stillhouse.settings import check_settings, read_yaml
from stillhouse.watermark._mark import LogitsMark

_HINT = "A profile has 'scheme', 'id' and the 'settings' of the scheme."


class WatermarkProfile(Record):
    """How one deployment marks what it generates."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    scheme: str = Field(min_length=1)
    """What marks."""
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """What headers, logs and manifests call the profile; it says nothing of the key."""
    settings: dict[str, Any] = Field(default_factory=dict, repr=False)
    """Of the scheme; a key may be among them."""


Marker = Callable[[WatermarkProfile], LogitsMark]
"""Makes what marks; raises ConfigError where the settings are none of its."""

MARKERS: Mapping[str, Marker] = {}
"""What can mark, by the name that profiles use."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """A profile that is in use.

    Attributes:
        profile_id: Its public name.
        mark: Changes the logits.
    """

    profile_id: str
    mark: LogitsMark


def open_watermark(path: Path, schemes: Mapping[str, Marker] = MARKERS) -> Watermark:
    """What the profile in a YAML file marks with.

    Args:
        path: The file.
        schemes: What can mark.

    Raises:
        ConfigError: the file or a setting is wrong, or nothing marks by that scheme.
    """
    profile = check_settings(WatermarkProfile, read_yaml(path, hint=_HINT), where=str(path))
    if profile.scheme not in schemes:
        known = ", ".join(sorted(schemes)) or "none: this version brings no scheme"
        raise ConfigError(
            f"{path} asks for the scheme {profile.scheme!r:.60}, and there is {known}. Correct "
            "it, or serve without --watermark."
        )
    return Watermark(profile.id, schemes[profile.scheme](profile))
