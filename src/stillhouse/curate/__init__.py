"""Completions to the examples that a student learns from."""

from stillhouse.curate._curate import CurateConfig, curate

__all__ = ["curate", "CurateConfig"]
