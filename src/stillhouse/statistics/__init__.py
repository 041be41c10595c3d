"""Figures and how sure they are: pure functions on numbers and text."""

from stillhouse.statistics._text import is_looping

__all__ = ["is_looping"]
