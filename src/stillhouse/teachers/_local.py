"""A teacher that runs in this process, in large batches, and shows its distributions."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import Self

import numpy as np

from stillhouse.chat import ChatTokenizer
from stillhouse.models import (
    Generated,
    GenerationJob,
    LanguageModel,
    generate,
    load_chat,
    load_model,
    locate_model,
)
from stillhouse.records import Completion, ItemError, Request, TokenLogprobs, Usage
from stillhouse.teachers._base import Pull, TeacherInfo

_REVISION_DIGITS = 12


class LocalTeacher:
    """Weights on this machine behind the teacher protocol.

    What it is (`info`) is read from files; the weights are loaded when it is first asked.

    Args:
        source: `""` for the embedded SmolLM2-135M-Instruct, a model folder, a `.gguf` file or a
            hub name.
    """

    def __init__(self, source: str) -> None:
        self._folder = locate_model(source)
        self._model: LanguageModel | None = None

    @cached_property
    def chat(self) -> ChatTokenizer:
        """Its tokenizer and template."""
        return load_chat(self._folder)

    @cached_property
    def info(self) -> TeacherInfo:
        """What answers."""
        revision = self._folder.revision
        suffix = f"@{revision[:_REVISION_DIGITS]}" if revision else ""
        return TeacherInfo(
            id=f"local:{self._folder.name}{suffix}",
            provider="local",
            revision=revision,
            max_top_logprobs=len(self.chat.tokenizer),
            tokenizer_sha256=self.chat.vocabulary_sha256,
            chat_template_sha256=self.chat.template_sha256,
        )

    @property
    def model(self) -> LanguageModel:
        """The loaded model."""
        if self._model is None:
            self._model = load_model(self._folder.path)
        return self._model

    def stream(self, pull: Pull) -> Iterator[list[Completion]]:
        """Answer everything that `pull` hands out; see `Teacher.stream`."""
        feed = _Feed(self.model, pull)
        for group in generate(self.model, feed.pull):
            yield feed.take_failed() + [feed.completion(generated) for generated in group]
        if failed := feed.take_failed():
            yield failed

    def close(self) -> None:
        """Let the weights go."""
        self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_local_teacher(source: str) -> LocalTeacher:
    """A local teacher; see `LocalTeacher`."""
    return LocalTeacher(source)


class _Feed:
    """Turns requests into jobs, and finished jobs into completions."""

    def __init__(self, model: LanguageModel, pull: Pull) -> None:
        self._model = model
        self._pull = pull
        self._requests: dict[str, Request] = {}
        self._failed: list[Completion] = []

    def pull(self, limit: int) -> list[GenerationJob]:
        """Up to `limit` jobs; requests that cannot be jobs become failed completions."""
        jobs: list[GenerationJob] = []
        while not jobs:
            requests = self._pull(limit)
            if not requests:
                return []
            jobs = [job for request in requests if (job := self._job(request))]
        return jobs

    def take_failed(self) -> list[Completion]:
        failed, self._failed = self._failed, []
        return failed

    def completion(self, generated: Generated) -> Completion:
        request = self._requests.pop(generated.key)
        text, finish_reason = self._model.chat.decode_completion(generated.ids.tolist())
        return Completion(
            request_id=request.id,
            prompt_id=request.prompt_id,
            sample_index=request.sample_index,
            text=text,
            finish_reason=finish_reason,
            model=self._model.name,
            usage=Usage(
                prompt_tokens=len(self._model.chat.encode_prompt(request.messages)),
                completion_tokens=len(generated.ids),
                cost_usd=0.0,
            ),
            created_utc=datetime.now(UTC),
            logprobs=TokenLogprobs(
                token_ids=tuple(generated.ids.tolist()),
                logprobs=tuple(generated.logprobs.astype(np.float64).tolist()),
                top_k=request.sampling.top_logprobs,
                top_ids=tuple(generated.top_ids.flatten().tolist()),
                top_logprobs=tuple(generated.top_logprobs.flatten().tolist()),
            ),
        )

    def _job(self, request: Request) -> GenerationJob | None:
        sampling = request.sampling
        prompt_ids = self._model.chat.encode_prompt(request.messages)
        if len(prompt_ids) + sampling.max_tokens > self._model.context_tokens:
            self._failed.append(
                _failed(
                    request,
                    self._model,
                    f"{len(prompt_ids)} prompt tokens and max_tokens={sampling.max_tokens} exceed "
                    f"the context of {self._model.context_tokens}. Shorten one of them.",
                )
            )
            return None
        self._requests[request.id] = request
        return GenerationJob(
            key=request.id,
            prompt_ids=prompt_ids,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=request.seed,
            top_logprobs=sampling.top_logprobs,
        )


def _failed(request: Request, model: LanguageModel, message: str) -> Completion:
    return Completion(
        request_id=request.id,
        prompt_id=request.prompt_id,
        sample_index=request.sample_index,
        text="",
        finish_reason="error",
        model=model.name,
        created_utc=datetime.now(UTC),
        error=ItemError(type="prompt_too_long", message=message),
    )
