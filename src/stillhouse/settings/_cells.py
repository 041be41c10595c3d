"""CSV cells as large as prompts and conversations are."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager

MAX_CELL_CHARS = 64 << 20


@contextmanager
def large_cells() -> Iterator[None]:
    """Let a cell hold a whole conversation; the module knows one limit for the whole process."""
    before = csv.field_size_limit(MAX_CELL_CHARS)
    try:
        yield
    finally:
        csv.field_size_limit(before)
