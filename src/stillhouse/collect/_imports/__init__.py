"""Exports of other tools to a completions artefact: one module per kind of row."""

from stillhouse.collect._imports._formats import FORMATS, FormatName
from stillhouse.collect._imports._plain import PlainFields
from stillhouse.collect._imports._run import ImportConfig, import_completions

__all__ = ["import_completions", "ImportConfig", "PlainFields", "FORMATS", "FormatName"]
