"""A student whose answers carry the mark of this deployment.

No field of a request has a say in it. What cannot be marked is not served under a profile at all:
an answer without the mark would pass for one of somebody else.
"""

from pathlib import Path

from stillhouse.artifacts import open_artifact
from stillhouse.errors import ConfigError
from stillhouse.releases import is_deployment
from stillhouse.signing import load_trust
from stillhouse.watermark import Watermark, open_watermark


def open_mark(
    student: str, profile: Path, key: Path | None, trust: Path | None = None
) -> Watermark:
    """What marks a student's answers.

    Args:
        student: As `open_engine` takes it.
        profile: File of the profile.
        key: File of its key; None looks for it in the folder of keys.
        trust: File that says by whom it must be signed; None for anybody.

    Raises:
        ConfigError: the profile, its key or the trust file is wrong, or answers of this student
            cannot be marked.
        SignatureError: the profile was changed, or its signature does not count.
    """
    obstacle = _obstacle(student)
    if obstacle is not None:
        raise ConfigError(
            f"--watermark marks what a language model generates in this process, and {obstacle}. "
            "Serve the folder that train wrote, or leave --watermark out."
        )
    return open_watermark(profile, key=key, trust=None if trust is None else load_trust(trust))


def _obstacle(student: str) -> str | None:
    """Why answers of a student cannot be marked; None where they can."""
    if student.startswith(("http://", "https://")):
        return f"{student} is run by another server"
    folder = Path(student)
    if folder.suffix == ".gguf":
        return f"{student} is run by llama.cpp"
    if student and is_deployment(folder):
        return f"{student} is a deployment, whose versions may be of any kind"
    if student and (folder / "manifest.json").is_file():
        kind = open_artifact(folder).manifest.kind
        if kind == "classifier":
            return f"{student} answers with labels"
        if kind == "cascade":
            return f"{student} is a cascade, whose teacher's answers would have no mark"
    return None
