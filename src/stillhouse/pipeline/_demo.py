"""The demo: a run that comes with the package."""

from pathlib import Path
from typing import Any

from stillhouse.pipeline._config import RunConfig
from stillhouse.settings import check_settings, read_yaml

DEMO_DIR = Path(__file__).parent
"""What the demo's paths are relative to."""

_HINT = "It comes with the package: install stillhouse again."


def demo_config(*, quick: bool) -> RunConfig:
    """The demo's run: a news headline for one sentence, from the embedded teacher.

    Args:
        quick: Whether to make it smaller: the same stages, smaller numbers.
    """
    path = DEMO_DIR / "demo.yaml"
    settings = read_yaml(path, hint=_HINT)
    if quick:
        path = DEMO_DIR / "demo_quick.yaml"
        settings = merge_settings(settings, read_yaml(path, hint=_HINT))
    return check_settings(RunConfig, settings, where=str(path))


def merge_settings(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`settings` with what `changes` sets, section by section."""
    merged = dict(settings)
    for name, value in changes.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            value = merge_settings(old, value)
        merged[name] = value
    return merged
