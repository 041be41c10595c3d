"""The evaluation's report: results and run records to one self-contained HTML file."""

from stillhouse.evaluate._report._figures import TrainingCurve
from stillhouse.evaluate._report._page import render_report

__all__ = ["render_report", "TrainingCurve"]
