"""What a person wrote: YAML with line and column, rows of tables, checked against a model.

Configs, prompt recipes, tasks, files of prompts and `--set` flags come through here. Importing it
loads no torch.
"""

from stillhouse.settings._cells import MAX_CELL_CHARS, large_cells
from stillhouse.settings._check import check_settings
from stillhouse.settings._tables import ROW_SUFFIXES, TableRow, iterate_rows
from stillhouse.settings._yaml import parse_yaml, read_yaml

__all__ = [
    "read_yaml",
    "parse_yaml",
    "check_settings",
    "iterate_rows",
    "TableRow",
    "ROW_SUFFIXES",
    "large_cells",
    "MAX_CELL_CHARS",
]
