"""Teacher distributions on given text: taken from the collect pass, or scored now."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    Counts,
    TeacherRef,
    begin_artifact,
    is_up_to_date,
    open_artifact,
)
from stillhouse.collect._capture_config import CaptureConfig
from stillhouse.errors import ConfigError
from stillhouse.records import Completion, Example, TokenLogprobs, Usage
from stillhouse.runlog import Listener, Ticker, ignore_progress
from stillhouse.teachers import open_weights

if TYPE_CHECKING:
    from stillhouse.chat import EncodedExample
    from stillhouse.collect._capture_scores import Scorer
    from stillhouse.signal import Codec, SignalWriter, TopKSignal
    from stillhouse.teachers._local import LocalTeacher

_STAGE = "capture"
_BATCH_TOKENS = 2_048  # padded; keeps a batch's activations near 100 MB for a 135M teacher


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
        VocabularyMismatchError: the dataset's text came from another model, and `any_author` is
            not set.
        IntegrityError: an input is not sound.
    """
    parent = open_artifact(dataset, kind="dataset")
    recorded = open_artifact(completions, kind="completions") if completions else None
    parents = [parent, recorded] if recorded else [parent]
    author = None if config.any_author else parent
    with open_weights(teacher, dataset=author) as source:
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
            run = _Run(source, parent, writer, config, ticker)
            run.score(run.take_recorded(examples, recorded))
            return run.finish(num_examples=len(examples))
        finally:
            writer.release()


class _Run:
    """One attempt at a capture.

    What it does depends on its inputs alone and not on what an earlier attempt left: which examples
    are scored, and in which batches, so that a resumed capture ends with the same bytes.
    """

    def __init__(
        self,
        teacher: "LocalTeacher",
        dataset: Artifact,
        writer: ArtifactWriter,
        config: CaptureConfig,
        ticker: Ticker,
    ) -> None:
        self._teacher = teacher
        self._dataset = dataset
        tokenizer = dataset.manifest.tokenizer
        # The author's tokens are the teacher's only where both have one vocabulary.
        self._has_own_ids = tokenizer and tokenizer.sha256 == teacher.info.tokenizer_sha256
        self._writer = writer
        self._config = config
        self._ticker = ticker
        self._recorded_keys: set[str] = set()
        self._num_scored_tokens = 0

    @cached_property
    def _scorer(self) -> "Scorer":
        from stillhouse.collect._capture_scores import scorer_of

        return scorer_of(self._config, self._teacher.model)

    @cached_property
    def _codec(self) -> "Codec[Any]":
        # Weights are not loaded where everything was recorded.
        return self._config.top_k_codec or self._scorer.codec

    @cached_property
    def _store(self) -> "SignalWriter":
        from stillhouse.signal import SignalWriter

        return SignalWriter(self._writer, self._codec)

    def take_recorded(
        self, examples: list[Example], recorded: Artifact | None
    ) -> "list[EncodedExample]":
        """Store what was recorded while the text was generated; returns what has to be scored."""
        missing: dict[str, EncodedExample] = {}
        for example, logprobs in _with_recorded(examples, recorded):
            ids = example.completion_token_ids if self._has_own_ids else None
            encoded = self._teacher.chat.encode_example(example.messages, example.completion, ids)
            key = encoded.signal_key
            signal = _recorded_signal(encoded, logprobs, self._config)
            if signal is not None:
                self._recorded_keys.add(key)
                self._store.add(key, signal)
            if signal is not None or key in self._recorded_keys or key in missing:
                self._ticker.advance()
            else:
                missing[key] = encoded
        return [encoded for key, encoded in missing.items() if key not in self._recorded_keys]

    def score(self, missing: "list[EncodedExample]") -> None:
        """Store what the teacher now says about the text of `missing`."""
        for batch in _batches(missing):
            # Parts end between batches, so an earlier attempt left all of one or nothing of it.
            if batch[0].signal_key not in self._store:
                keys = [encoded.signal_key for encoded in batch]
                self._store.add_all(zip(keys, self._scorer.signals(batch), strict=True))
            for encoded in batch:
                self._num_scored_tokens += len(encoded.ids)
                self._ticker.advance()

    def finish(self, *, num_examples: int) -> Artifact:
        """Write the head where the codec needs one, and the manifest."""
        from stillhouse.signal import describe

        info = self._teacher.info
        num_tokens = self._store.close()
        num_recorded = len(self._recorded_keys)
        if self._config.codec == "hidden":
            self._write_head()
        return self._writer.finish(
            counts=Counts.model_validate({"in": num_examples, "kept": num_examples}),
            usage=Usage(prompt_tokens=self._num_scored_tokens, cost_usd=0.0),
            teacher=self._teacher_ref(),
            tokenizer_sha256=info.tokenizer_sha256,
            chat_template_sha256=info.chat_template_sha256,
            results={
                "codec": describe(self._codec),
                "rows": len(self._store),
                "tokens": num_tokens,
                "rows_recorded_while_generating": num_recorded,
                "rows_scored": len(self._store) - num_recorded,
            },
        )

    def _teacher_ref(self) -> TeacherRef | None:
        """Who scored the text, with the terms it was collected under where that wrote it too."""
        info, author = self._teacher.info, self._dataset.manifest.teacher
        if not self._config.any_author or (author and author.revision == info.revision):
            return author
        return TeacherRef(id=info.id, provider=info.provider, revision=info.revision)

    def _write_head(self) -> None:
        from stillhouse.models import output_head
        from stillhouse.signal import HEAD_NAME, write_head

        head = output_head(self._teacher.model.network).detach().numpy()
        write_head(self._writer.new_file(HEAD_NAME), head, self._config.dtype)


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
    encoded: "EncodedExample", logprobs: TokenLogprobs | None, config: CaptureConfig
) -> "TopKSignal | None":
    import numpy as np

    from stillhouse.signal import TopKSignal

    if config.top_k_codec is None:
        return None
    if logprobs is None or logprobs.top_ids is None or logprobs.top_k < config.top_k:
        return None
    if logprobs.token_ids != encoded.completion_ids:
        return None
    shape = (len(encoded.completion_ids), logprobs.top_k)
    ids = np.array(logprobs.top_ids, dtype=np.int32).reshape(shape)
    values = np.array(logprobs.top_logprobs, dtype=np.float32).reshape(shape)
    return TopKSignal.of(ids, values).truncated(config.top_k)


def _batches(examples: Iterable["EncodedExample"]) -> "Iterator[list[EncodedExample]]":
    """Batches of similar lengths."""
    batch: list[EncodedExample] = []
    for encoded in sorted(examples, key=lambda example: len(example.ids)):
        if batch and (len(batch) + 1) * len(encoded.ids) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(encoded)
    if batch:
        yield batch
