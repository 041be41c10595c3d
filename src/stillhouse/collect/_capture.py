"""Teacher distributions on given text: taken from the collect pass, or scored now."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    begin_artifact,
    is_up_to_date,
    open_artifact,
)
from stillhouse.errors import ConfigError
from stillhouse.records import Completion, Example, Record, TokenLogprobs, Usage
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.teachers import open_weights

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
    parents = [parent, recorded] if recorded else [parent]
    with open_weights(teacher, dataset=parent) as source:
        resolved = {**config.model_dump(mode="json"), "teacher": source.info.id}
        if is_up_to_date(out, stage=_STAGE, config=resolved, parents=parents):
            return open_artifact(out)
        examples = [row for row in parent.rows("examples", Example) if row.split == "train"]
        if not examples:
            raise ConfigError(f"{parent.path} holds no training examples: nothing to capture.")
        writer = begin_artifact(
            out,
            kind="signal",
            stage=_STAGE,
            config=resolved,
            config_given=config_given,
            parents=parents,
            replace=replace,
        )
        try:
            ticker = Ticker(on_progress, stage=_STAGE, total=len(examples), unit="examples")
            run = _Run(source, writer, config.top_k, ticker)
            run.score(run.take_recorded(examples, recorded))
            return run.finish(parent, num_examples=len(examples))
        finally:
            writer.release()


class _Run:
    """One attempt at a capture."""

    def __init__(
        self, teacher: "LocalTeacher", writer: ArtifactWriter, top_k: int, ticker: Ticker
    ) -> None:
        from stillhouse.signal import SignalWriter

        self._teacher = teacher
        self._writer = writer
        self._top_k = top_k
        self._ticker = ticker
        self._store = SignalWriter(writer)
        self._recorded_keys: set[str] = set()
        self._num_scored_tokens = 0

    def take_recorded(
        self, examples: list[Example], recorded: Artifact | None
    ) -> "list[EncodedExample]":
        """Store what was recorded while the text was generated; returns what has to be scored."""
        missing = []
        for example, logprobs in _with_recorded(examples, recorded):
            encoded = self._teacher.chat.encode_example(
                example.messages, example.completion, example.completion_token_ids
            )
            signal = _recorded_signal(encoded, logprobs, self._top_k)
            if signal is not None:
                self._recorded_keys.add(encoded.signal_key)
                self._store.add(encoded.signal_key, signal)
            elif encoded.signal_key not in self._store:
                missing.append(encoded)
                continue
            self._ticker.advance()
        return missing

    def score(self, missing: "list[EncodedExample]") -> None:
        """Store what the teacher now says about the text of `missing`."""
        for encoded, signal in _score(missing, self._teacher, self._top_k):
            self._store.add(encoded.signal_key, signal)
            self._num_scored_tokens += len(encoded.ids)
            self._ticker.advance()

    def finish(self, dataset: Artifact, *, num_examples: int) -> Artifact:
        """Write index and manifest."""
        info = self._teacher.info
        num_tokens = self._store.close()
        num_recorded = len(self._recorded_keys)
        return self._writer.finish(
            counts=Counts.model_validate({"in": num_examples, "kept": num_examples}),
            usage=Usage(prompt_tokens=self._num_scored_tokens, cost_usd=0.0),
            teacher=dataset.manifest.teacher,
            tokenizer_sha256=info.tokenizer_sha256,
            chat_template_sha256=info.chat_template_sha256,
            results={
                "rows": len(self._store),
                "tokens": num_tokens,
                "rows_recorded_while_generating": num_recorded,
                "rows_scored": len(self._store) - num_recorded,
            },
        )


def _with_recorded(
    examples: list[Example], recorded: Artifact | None
) -> Iterator[tuple[Example, TokenLogprobs | None]]:
    """Each example once with what its teacher call recorded, those without a record last.

    One pass over the completions whatever their order: they are too large to hold.
    """
    waiting: dict[str, list[Example]] = {}
    for example in examples:
        waiting.setdefault(example.request_id, []).append(example)
    for row in recorded.rows("completions", Completion) if recorded else ():
        for example in waiting.pop(row.request_id, ()):
            yield example, row.logprobs
    for left in waiting.values():
        for example in left:
            yield example, None


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
