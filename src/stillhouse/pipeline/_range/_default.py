"""The range that comes with the package, and ranges that people wrote."""

from pathlib import Path
from typing import Any

from stillhouse.errors import ConfigError
from stillhouse.pipeline._demo import merge_settings
from stillhouse.pipeline._range._config import RangeConfig
from stillhouse.settings import check_settings, read_yaml

RANGE_DIR = Path(__file__).parent
"""What the default's paths are relative to."""

_TERMS = "terms.yaml"
_HINT = "It comes with the package: install stillhouse again."


def range_config(
    path: Path | None = None, changes: dict[str, Any] | None = None, *, quick: bool = False
) -> RangeConfig:
    """The range in a file, or the default one.

    Args:
        path: YAML; None for the default.
        changes: Laid over it, section by section.
        quick: Whether to make the default smaller: the same pairs on much less.

    Raises:
        ConfigError: a file or setting is wrong, or `quick` goes with a file.
    """
    if path is not None:
        if quick:
            raise ConfigError(
                f"--quick makes the default range smaller, and {path} is given. Leave one out, or "
                "make it smaller with --set."
            )
        hint = "Give a YAML file, or none for the default range."
        settings = read_yaml(path, hint=hint)
        return check_settings(RangeConfig, merge_settings(settings, changes or {}), where=str(path))
    settings = read_yaml(RANGE_DIR / "default.yaml", hint=_HINT)
    if quick:
        settings = merge_settings(settings, read_yaml(RANGE_DIR / "quick.yaml", hint=_HINT))
    settings = merge_settings({**settings, "terms": _TERMS}, changes or {})
    return check_settings(RangeConfig, settings, where="default range")


def default_range_text() -> str:
    """The YAML of the default range, to start from."""
    return (RANGE_DIR / "default.yaml").read_text(encoding="utf-8")
