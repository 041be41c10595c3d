"""A cascade's teacher that is asked through the ledger."""

from stillhouse.serve._teacher._engine import TeacherEngine, TeacherSource
from stillhouse.serve._teacher._opening import open_source

__all__ = ["TeacherEngine", "TeacherSource", "open_source"]
