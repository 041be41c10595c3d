"""Teacher distributions on given text: taken from the collect pass, or scored now."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field

from stillhouse.artifacts import Artifact, Counts, begin_artifact, is_up_to_date, open_artifact
from stillhouse.errors import ConfigError, LogprobsUnavailableError, VocabularyMismatchError
from stillhouse.records import Completion, Example, Record, TokenLogprobs, Usage
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.teachers import Teacher, open_teacher

if TYPE_CHECKING:
    from stillhouse.chat import EncodedExample
    from stillhouse.models import LanguageModel
    from stillhouse.signal import TopKSignal
    from stillhouse.teachers._local import LocalTeacher

_STAGE = "capture"
_BATCH_TOKENS = 2_048  # padded; keeps a batch's activations near 100 MB for a 135M teacher


class CaptureConfig(Record):
    """How to capture."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    top_k: int = Field(default=32, ge=1, le=4_096)
    """Log-probabilities kept per token; the rest of the mass becomes the tail bucket."""


def capture(
    dataset: Path,
    out: Path,
    *,
    teacher: str,
    config: CaptureConfig,
    completions: Path | None = None,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Store the teacher's distributions on the training examples of a dataset.

    Args:
        dataset: What curate made; its held-out rows are left out.
        out: Folder of the signal; one that the same inputs made is returned as it is.
        teacher: Spec of a teacher with weights on this machine.
        config: What to keep.
        completions: Where distributions recorded while the text was generated may be found; what
            is not there is scored by a forward pass.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told about the examples captured.

    Returns:
        An artefact of the kind `signal`.

    Raises:
        LogprobsUnavailableError: the teacher only answers in text.
        VocabularyMismatchError: the dataset's text came from another model.
        IntegrityError: an input is not sound.
    """
    parent = open_artifact(dataset, kind="dataset")
    recorded = open_artifact(completions, kind="completions") if completions else None
    with open_teacher(teacher) as opened:
        local = _require_local(opened, teacher)
        resolved = {**config.model_dump(mode="json"), "teacher": local.info.id}
        parents = [parent, recorded] if recorded else [parent]
        if is_up_to_date(out, stage=_STAGE, config=resolved, parents=parents):
            return open_artifact(out)
        _require_same_teacher(parent, local)
        return _capture(
            parent, out, recorded, local, config, resolved, config_given, replace, on_progress
        )


def _capture(
    parent: Artifact,
    out: Path,
    recorded: Artifact | None,
    teacher: "LocalTeacher",
    config: CaptureConfig,
    resolved: dict[str, Any],
    config_given: dict[str, Any] | None,
    replace: bool,
    on_progress: Listener,
) -> Artifact:
    from stillhouse.signal import SignalWriter

    writer = begin_artifact(
        out,
        kind="signal",
        stage=_STAGE,
        config=resolved,
        config_given=config_given,
        parents=[parent, recorded] if recorded else [parent],
        replace=replace,
    )
    try:
        examples = [row for row in parent.rows("examples", Example) if row.split == "train"]
        if not examples:
            raise ConfigError(
                f"{parent.path} holds no training examples; there is nothing to capture."
            )
        store = SignalWriter(writer)
        ticker = Ticker(on_progress, stage=_STAGE, total=len(examples), unit="examples")
        missing: list[EncodedExample] = []
        num_recorded = 0
        for example, logprobs in _with_recorded(examples, recorded):
            encoded = teacher.chat.encode_example(
                example.messages, example.completion, example.completion_token_ids
            )
            if encoded.signal_key in store:
                ticker.advance()
            elif signal := _recorded_signal(encoded, logprobs, config.top_k):
                store.add(encoded.signal_key, signal)
                num_recorded += 1
                ticker.advance()
            else:
                missing.append(encoded)
        scored_tokens = 0
        for encoded, signal in _score(missing, teacher, config.top_k):
            store.add(encoded.signal_key, signal)
            scored_tokens += len(encoded.ids)
            ticker.advance()
        num_tokens = store.close()
        num_rows = len(store)
        return writer.finish(
            counts=Counts.model_validate({"in": len(examples), "kept": len(examples)}),
            usage=Usage(prompt_tokens=scored_tokens, cost_usd=0.0),
            teacher=parent.manifest.teacher,
            tokenizer_sha256=teacher.info.tokenizer_sha256,
            chat_template_sha256=teacher.info.chat_template_sha256,
            results={
                "rows": num_rows,
                "tokens": num_tokens,
                "rows_recorded_while_generating": num_recorded,
                "rows_scored": len(missing),
            },
        )
    finally:
        writer.release()


def _require_local(teacher: Teacher, spec: str) -> "LocalTeacher":
    if teacher.info.provider != "local":
        raise LogprobsUnavailableError(
            f"teacher {spec!r} gives no distributions over given text. Capture needs weights on "
            "this machine (local:FOLDER); train on this teacher's text with objective sft."
        )
    from stillhouse.teachers._local import LocalTeacher

    assert isinstance(teacher, LocalTeacher)
    return teacher


def _require_same_teacher(dataset: Artifact, teacher: "LocalTeacher") -> None:
    wrote = dataset.manifest.teacher
    if wrote is None or wrote.revision != teacher.info.revision:
        raise VocabularyMismatchError(
            f"{dataset.path} was written by {wrote.id if wrote else 'an unknown teacher'}, not by "
            f"{teacher.info.id}. Capture with the teacher that wrote the text."
        )


def _with_recorded(
    examples: list[Example], recorded: Artifact | None
) -> Iterator[tuple[Example, TokenLogprobs | None]]:
    """Each example with what its teacher call recorded; both are in the same order."""
    completions: Iterator[Completion] = iter(
        recorded.rows("completions", Completion) if recorded else ()
    )
    for example in examples:
        match = next((row for row in completions if row.request_id == example.request_id), None)
        yield example, match.logprobs if match else None


def _recorded_signal(
    encoded: "EncodedExample", logprobs: TokenLogprobs | None, top_k: int
) -> "TopKSignal | None":
    import numpy as np

    from stillhouse.signal import TopKSignal

    if logprobs is None or logprobs.top_ids is None or logprobs.top_k < top_k:
        return None
    if logprobs.token_ids != encoded.completion_ids:
        return None
    shape = (len(encoded.completion_ids), logprobs.top_k)
    ids = np.array(logprobs.top_ids, dtype=np.int32).reshape(shape)
    values = np.array(logprobs.top_logprobs, dtype=np.float32).reshape(shape)
    return TopKSignal.of(ids, values).truncated(top_k)


def _score(
    examples: Iterable["EncodedExample"], teacher: "LocalTeacher", top_k: int
) -> Iterator[tuple["EncodedExample", "TopKSignal"]]:
    batch: list[EncodedExample] = []
    for encoded in sorted(examples, key=lambda example: len(example.ids)):
        if batch and (len(batch) + 1) * len(encoded.ids) > _BATCH_TOKENS:
            yield from _score_batch(batch, teacher.model, top_k)
            batch = []
        batch.append(encoded)
    if batch:
        yield from _score_batch(batch, teacher.model, top_k)


def _score_batch(
    batch: list["EncodedExample"], model: "LanguageModel", top_k: int
) -> Iterator[tuple["EncodedExample", "TopKSignal"]]:
    from stillhouse.models import top_logprobs
    from stillhouse.signal import TopKSignal

    for encoded, (ids, logprobs) in zip(batch, top_logprobs(model, batch, top_k), strict=True):
        yield encoded, TopKSignal.of(ids, logprobs)
