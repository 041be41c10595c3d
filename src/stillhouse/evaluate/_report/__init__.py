"""The evaluation's report: results and run records to one self-contained HTML file."""

from stillhouse.evaluate._report._inputs import CountRow, LineageNode, StageCost, TrainingCurve
from stillhouse.evaluate._report._page import render_report

__all__ = ["render_report", "TrainingCurve", "StageCost", "CountRow", "LineageNode"]
