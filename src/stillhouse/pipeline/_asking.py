"""How an arena asks: stages do not import each other, so a run hands one the other."""

from collections.abc import Sequence
from pathlib import Path

from stillhouse.artifacts import Artifact
from stillhouse.collect import CollectConfig, collect
from stillhouse.evaluate import Ask
from stillhouse.records import Prompt, Sampling
from stillhouse.runlog import Listener


def ledger_asking(access: CollectConfig, ledger: Path) -> Ask:
    """How an arena asks: as `collect` does, with these settings about access and this ledger."""

    def ask(
        prompts: Sequence[Prompt],
        out: Path,
        *,
        teacher: str,
        sampling: Sampling,
        max_failure_fraction: float,
        on_progress: Listener,
    ) -> Artifact:
        # An arena compares; who learns from its answers passes the gate of `train`.
        changes = {
            "sampling": sampling,
            "max_failure_fraction": max_failure_fraction,
            "for_learning": False,
        }
        return collect(
            prompts,
            out,
            teacher=teacher,
            config=access.model_copy(update=changes),
            ledger=ledger,
            replace=True,  # the answers are in the ledger; what was made of them is made again
            on_progress=on_progress,
        )

    return ask
