"""The report on a task's students: results as one self-contained HTML file."""

from stillhouse.evaluate._task._report._page import RunFacts, render_task_report
from stillhouse.evaluate._task._report._tiles import paying_tiles

__all__ = ["RunFacts", "render_task_report", "paying_tiles"]
