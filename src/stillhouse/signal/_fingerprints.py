"""Whose distributions these are."""

from stillhouse.artifacts import Artifact
from stillhouse.errors import IntegrityError, VocabularyMismatchError


def check_fingerprints(
    signal: Artifact,
    *,
    dataset: Artifact,
    vocabulary_sha256: str,
    template_sha256: str,
    any_teacher: bool = False,
) -> None:
    """Refuse a signal that was not made for this dataset and this student.

    Args:
        signal: What was captured.
        dataset: The text that is learnt from.
        vocabulary_sha256: Of the tokens that the signal must be in.
        template_sha256: Of the template that it must be under.
        any_teacher: Whether the teacher need not have written the text.

    Raises:
        VocabularyMismatchError: teacher, tokenizer or chat template differ.
        IntegrityError: it was captured on another dataset.
    """
    manifest = signal.manifest
    teacher = manifest.teacher.revision if manifest.teacher else None
    wanted = dataset.manifest.teacher.revision if dataset.manifest.teacher else None
    tokenizer = manifest.tokenizer.sha256 if manifest.tokenizer else None
    for what, found, expected in (
        ("teacher", teacher, wanted),
        ("tokenizer", tokenizer, vocabulary_sha256),
        ("chat template", manifest.chat_template_sha256, template_sha256),
    ):
        if found != expected and not (any_teacher and what == "teacher"):
            raise VocabularyMismatchError(
                f"{signal.path} comes from another {what} ({_short(found)}, needed "
                f"{_short(expected)}). Run capture again with the teacher of this dataset and a "
                "student that shares its tokenizer and template."
            )
    if dataset.manifest_sha256 not in {parent.sha256 for parent in manifest.parents}:
        raise IntegrityError(
            f"{signal.path} was captured on another dataset than {dataset.path}. "
            "Run capture on this dataset."
        )


def _short(fingerprint: str | None) -> str:
    return fingerprint[:12] if fingerprint else "none recorded"
