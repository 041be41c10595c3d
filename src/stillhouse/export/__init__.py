"""Students in formats that other programs run, each held to the student before it is given out.

Every export is measured (the same token ids, nearly the same distributions or answers) or refused.
"""

from stillhouse.export._config import ExportConfig, FormatName, Limits
from stillhouse.export._exporters import EXPORTERS, Exporter
from stillhouse.export._report import (
    REPORT_NAME,
    ExportedFile,
    ExportReport,
    Figure,
    FormatReport,
    MetricComparison,
)
from stillhouse.export._stage import export

__all__ = [
    "export",
    "ExportConfig",
    "Limits",
    "FormatName",
    "ExportReport",
    "FormatReport",
    "Figure",
    "MetricComparison",
    "ExportedFile",
    "REPORT_NAME",
    "Exporter",
    "EXPORTERS",
]
