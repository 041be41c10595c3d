"""Whose distributions these are, and for which head."""

from typing import Any

from stillhouse.artifacts import Artifact
from stillhouse.errors import IntegrityError, VocabularyMismatchError
from stillhouse.signal._codec import Codec


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


def check_head(codec: Codec[Any], *, shape: tuple[int, int], sha256: str) -> None:
    """Refuse a signal that was made with another head than that of `shape` and `sha256`.

    Codecs without a head fit any.

    Raises:
        VocabularyMismatchError: the head has another shape or other weights.
    """
    parameters = codec.parameters
    if "head_sha256" not in parameters:
        return
    found_shape, found = tuple(parameters["head_shape"]), parameters["head_sha256"]
    if found_shape != shape:
        raise VocabularyMismatchError(
            f"The signal (codec {codec.name}) was made with a head of shape {found_shape}, and "
            f"this one is {shape}. Run capture again with the head that is used now."
        )
    if found != sha256:
        raise VocabularyMismatchError(
            f"The signal (codec {codec.name}) was made with a head of other weights "
            f"({_short(found)}, needed {_short(sha256)}). Keep that head frozen, or run capture "
            "again with this one."
        )
