"""Students of what was seen; the same lessons make one student, whatever led to them."""

from stillhouse.artifacts import Artifact
from stillhouse.collect import CaptureConfig, capture
from stillhouse.pipeline._range._field import OpenField
from stillhouse.pipeline._range._seen import Seen, seen_dataset
from stillhouse.pipeline._steps import named
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.train import train


def make_student(
    field: OpenField,
    seen: Seen,
    *,
    name: str,
    terms: str | None,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """The student of what a copier has seen; one that is there is not made again.

    Args:
        field: Whose settings make it.
        seen: What it learns.
        name: What its training is called on the way.
        terms: File of the declaration; None for that of the environment.
        on_progress: Told after each step.
    """
    folder = field.folder / "students" / seen.key
    dataset = seen_dataset(seen, folder / "dataset")
    signal = None
    if seen.has_logprobs:
        # What the API showed: nothing is asked of the teacher again.
        shown = capture(
            dataset.path,
            folder / "signal",
            teacher=field.teacher,
            config=CaptureConfig(top_k=field.config.top_logprobs),
            completions=seen.teacher.path,
            replace=True,
        )
        signal = shown.path
    config = field.config.train.model_copy(
        update={"objective": "forward_kl" if seen.has_logprobs else "sft", "terms": terms}
    )
    return train(
        dataset.path,
        folder / "student",
        config=config,
        signal=signal,
        replace=True,
        on_progress=named(name, on_progress),
    )
