"""How an arena asks: by a function that is handed in, as stages do not import each other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from stillhouse.artifacts import Artifact
from stillhouse.records import Prompt, Sampling
from stillhouse.runlog import Listener, Progress


class Ask(Protocol):
    """Asks one teacher prompts through a ledger, and keeps the completions in a folder.

    `collect`, with its settings about access and its ledger bound, does so: what the ledger has an
    answer to is not asked again, and a folder that the same prompts made is returned as it is.
    """

    def __call__(
        self,
        prompts: Sequence[Prompt],
        out: Path,
        *,
        teacher: str,
        sampling: Sampling,
        max_failure_fraction: float,
        on_progress: Listener,
    ) -> Artifact:
        """The completions of `teacher` to `prompts`.

        Raises:
            TooManyFailuresError: more than `max_failure_fraction` of the requests failed.
            TeacherError: the teacher cannot answer any further request, or the budget is spent.
        """
        ...


def named_progress(listener: Listener, stage: str, unit: str) -> Listener:
    """`listener`, told of what is asked here rather than of a collection."""

    def listen(progress: Progress) -> None:
        listener(replace(progress, stage=stage, unit=unit))

    return listen
