"""The demo's prompts, which the benchmarks of models ask too."""

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillhouse.records import Prompt


def demo_prompts() -> list["Prompt"]:
    """News with the demo's instruction, in both splits."""
    from stillhouse.collect import read_prompts

    return read_prompts(Path(str(files("stillhouse.pipeline") / "demo_prompts.yaml")))
