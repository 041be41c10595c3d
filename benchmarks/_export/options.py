"""How large the parts of the export benchmark are."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks._parts import BENCHMARKS
from benchmarks._parts.command import PartOptions


@dataclass(frozen=True, kw_only=True)
class ExportOptions(PartOptions):
    """As in `PartOptions`.

    Attributes:
        positions: At which distributions are compared; the built-in prompts have 384.
    """

    rounds: int = 1
    positions: int = 384
    json: Path = BENCHMARKS / "results" / "export.json"
