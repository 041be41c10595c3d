"""What curation found of held-out messages in the training data."""

from collections.abc import Mapping
from typing import Any

from stillhouse.artifacts import Artifact
from stillhouse.errors import DataError
from stillhouse.evaluate._task._results import ContaminationFacts


def contamination_of(dataset: Artifact, *, is_allowed: bool) -> ContaminationFacts:
    """What the dataset's manifest says.

    Raises:
        DataError: it says nothing, and that is not allowed.
    """
    found: Mapping[str, Any] | None = dataset.manifest.results.get("contamination")
    if found is None:
        if not is_allowed:
            raise DataError(
                f"Nobody has looked whether held-out messages of {dataset.path} are in its "
                "training data too. Curate again, with contamination set to refuse or remove, or "
                "judge all the same with allow_contamination=true."
            )
        return ContaminationFacts(is_checked=False)
    return ContaminationFacts(
        is_checked=True,
        num_held_out=found["num_held_out"],
        found=dict(found["held_out"]),
        num_removed=found["removed"],
    )


def contamination_warnings(facts: ContaminationFacts) -> tuple[str, ...]:
    """What a reader should know of it before believing figures."""
    if not facts.is_checked:
        return ("Nobody has looked whether held-out messages are in the training data too.",)
    if not facts.num_left:
        return ()
    kinds = ", ".join(f"{kind} {times:,}" for kind, times in facts.found.items() if times)
    return (
        f"{facts.num_left:,} of {facts.num_held_out:,} held-out messages are in the training data "
        f"too ({kinds}); every figure of a student is the better for it.",
    )
