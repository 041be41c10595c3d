"""Whom a judge may favour: itself, and those who learnt from it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stillhouse.artifacts import Artifact
from stillhouse.errors import IntegrityError
from stillhouse.evaluate._arena._answers import Entrant
from stillhouse.provenance import lineage
from stillhouse.records import Completion

_LOCAL = "local:"
_MANIFEST = "manifest.json"


def partial_to(
    entrants: Sequence[Entrant], specs: Sequence[str], judgements: Artifact
) -> Iterator[str]:
    """A sentence for each model that the judge is, or that was made from the judge's text.

    Judges prefer their own answers: Panickssery et al. 2024, arXiv:2404.13076.

    Args:
        entrants: The models.
        specs: What each was asked as, in the same order.
        judgements: The judge's completions.
    """
    judge = judgements.manifest.teacher
    if judge is None:
        return
    judge_models = {row.model for row in judgements.rows("completions", Completion)}
    for entrant, spec in zip(entrants, specs, strict=True):
        if entrant.teacher == judge.id or judge_models.intersection(entrant.answered_by):
            yield (
                f"The judge {judge.id} is {entrant.name} itself, and models tend to prefer what "
                "they wrote. Give a judge of another maker."
            )
        elif judge.id in _taught_by(spec):
            yield (
                f"{entrant.name} was trained on texts of the judge {judge.id}, and models tend to "
                "prefer what they wrote. Give a judge of another maker."
            )


def _taught_by(spec: str) -> set[str]:
    """Ids of the teachers in the lineage of a student's folder; none of any other model."""
    folder = Path(spec.removeprefix(_LOCAL).partition("?")[0])
    if not spec.startswith(_LOCAL) or not (folder / _MANIFEST).is_file():
        return set()
    try:
        nodes = lineage(folder).nodes
    except IntegrityError:
        return set()  # moved away from what it was made from: its origin cannot be told
    return {node.manifest.teacher.id for node in nodes if node.manifest.teacher is not None}
