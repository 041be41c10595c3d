"""What a benchmark does with what it found."""

import json
from pathlib import Path
from typing import Any


def publish(result: dict[str, Any], path: Path | None) -> None:
    """Print the result and, if a file is named, write it there."""
    text = json.dumps(result, indent=2)
    print(text)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
