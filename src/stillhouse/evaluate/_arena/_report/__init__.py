"""The arena's report: its results as one self-contained HTML file, in the style of the other."""

from stillhouse.evaluate._arena._report._page import render_arena_report

__all__ = ["render_arena_report"]
