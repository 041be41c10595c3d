"""Answers of a wheel in a process that sees nothing but the wheel and what it requires."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stillhouse.errors import ExportRefusedError, MissingDependencyError

UNWANTED = ("stillhouse", "torch", "transformers", "scipy", "pydantic")
"""What a wheel must do without."""
_TIMEOUT_S = 600
_PROGRAM = """
import importlib, json, sys
sys.path[:0] = json.loads(sys.argv[1])
package = importlib.import_module(sys.argv[2])
texts = json.load(sys.stdin)
answers = [package.predict(text) for text in texts]
given = [list(package.predict_proba(text).values()) for text in texts]
loaded = [name for name in json.loads(sys.argv[3]) if name in sys.modules]
print(json.dumps({"labels": package.labels(), "answers": answers, "given": given,
                  "loaded": loaded, "place": package.__file__}))
"""


@dataclass(frozen=True)
class Answers:
    """What an isolated wheel said.

    Attributes:
        labels: Its labels.
        answers: One for each text; a list where a text may have several labels.
        given: Probabilities of each text, in the order of the labels.
    """

    labels: list[str]
    answers: list[str | list[str]]
    given: list[list[float]]


def isolated_answers(
    wheel: Path, *, name: str, requires: Sequence[str], texts: Sequence[str]
) -> Answers:
    """Ask a wheel in a fresh interpreter without site-packages.

    Args:
        wheel: The file.
        name: Of its package.
        requires: Packages that it may import.
        texts: What it is asked.

    Raises:
        ExportRefusedError: it fails there, or loads what it must do without.
        MissingDependencyError: a package that it requires is not installed here.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for package in requires:
            _link(package, Path(scratch))
        # Isolated, and without site-packages: a developer's installation cannot help it.
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
        arguments = [json.dumps([str(wheel), scratch]), name, json.dumps(UNWANTED)]
        done = subprocess.run(
            [*command, *arguments],
            input=json.dumps(texts),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ExportRefusedError(
            f"The wheel fails where only {', '.join(requires)} are installed ({reason[:300]}). "
            "Nothing was exported. Report this with the kind of student."
        )
    found = json.loads(done.stdout)
    if found["loaded"] or not found["place"].startswith(str(wheel)):
        raise ExportRefusedError(
            f"The wheel is not by itself: it loaded {found['loaded'] or found['place']}. "
            "Nothing was exported. Report this with the kind of student."
        )
    return Answers(found["labels"], found["answers"], found["given"])


def _link(package: str, folder: Path) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            f"Verifying the wheel needs {package}. Run: pip install 'stillhouse[encoder]'"
        )
    place = Path(spec.origin).parent
    # Shared libraries of a binary wheel lie beside the package.
    for path in (place, place.with_name(f"{package}.libs")):
        if path.is_dir():
            (folder / path.name).symlink_to(path, target_is_directory=True)
