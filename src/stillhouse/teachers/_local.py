"""A teacher that runs in this process, in large batches, and shows its distributions."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from stillhouse.artifacts import WatermarkRef
from stillhouse.chat import ChatTokenizer
from stillhouse.errors import RecordError
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
from stillhouse.runlog import Answer
from stillhouse.teachers._answers import answer_of, failed
from stillhouse.teachers._base import Pull, Teacher, TeacherInfo
from stillhouse.teachers._local_labels import LabelChooser, is_choice
from stillhouse.teachers._options import Options, split_options
from stillhouse.watermark import LogitsMark, Watermark, open_watermark

_REVISION_DIGITS = 12
_CHOICES_AT_ONCE = 64  # as many answers are recorded together; not tuned


class LocalOptions(Options):
    """Options of `local:`."""

    answers: Literal["labels", "text"] = "labels"
    """What a prompt with labels is answered with: one of them, and the probability of each; or
    what the model writes, as any other prompt is."""
    watermark: Path | None = None
    """File of the signed profile that marks what the model writes; all prompts are then answered
    with what it writes."""
    watermark_key: Path | None = None
    """File of the key that marks; without it the key is looked for in the folder of keys."""


class LocalTeacher(Teacher):
    """Weights on this machine behind the teacher protocol.

    What it is (`info`) is read from files; the weights are loaded when it is first asked. A request
    with labels is answered with one of them and the probability of each, unless the options or
    `top_logprobs` say that it writes.

    Args:
        source: `""` for the embedded SmolLM2-135M-Instruct, a model folder, a `.gguf` file or a
            hub name.
        options: How it answers.

    Raises:
        ConfigError: there is no such model, or its answers cannot be marked.
        SignatureError: the profile of the marks was changed.
    """

    def __init__(self, source: str, options: LocalOptions | None = None) -> None:
        self._folder = locate_model(source)
        self._options = options or LocalOptions()
        self._watermark: Watermark | None = None
        if self._options.watermark is not None:
            self._watermark = open_watermark(
                self._options.watermark, key=self._options.watermark_key
            )
            self._watermark.check_tokenizer(self.chat.vocabulary_sha256)
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
            id=f"local:{self._folder.name}{suffix}{self._marked_by}",
            provider="local",
            revision=revision,
            max_top_logprobs=len(self.chat.tokenizer),
            tokenizer_sha256=self.chat.vocabulary_sha256,
            chat_template_sha256=self.chat.template_sha256,
            reads_labels=self._options.answers == "labels" and self._watermark is None,
            watermark=self._watermark_ref,
        )

    @property
    def _marked_by(self) -> str:
        # Part of each request's identity: an answer with another mark is another answer.
        if self._watermark is None:
            return ""
        return f"+watermark:{self._watermark.profile_id[:_REVISION_DIGITS]}"

    @property
    def _watermark_ref(self) -> WatermarkRef | None:
        if self._watermark is None:
            return None
        profile = self._watermark.profile
        return WatermarkRef(scheme=profile.scheme, profile_id=profile.profile_id)

    @property
    def model(self) -> LanguageModel:
        """The loaded model."""
        if self._model is None:
            self._model = load_model(self._folder.path)
        return self._model

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        """Answer everything that `pull` hands out; see `Teacher.stream`."""
        queue, chooser = _Queue(pull), LabelChooser(self.model)
        while queue.has_more():
            if choices := queue.take_choices(_CHOICES_AT_ONCE):
                yield chooser.answers(choices)
            else:
                yield from self._written(queue.pull)

    def _written(self, pull: Pull) -> Iterator[list[Answer]]:
        mark = None if self._watermark is None else self._watermark.mark
        feed = _Feed(self.model, pull, mark)
        for group in generate(self.model, feed.pull):
            yield feed.take_failed() + [feed.answer(generated) for generated in group]
        if failed := feed.take_failed():
            yield failed

    def close(self) -> None:
        """Let the weights go."""
        self._model = None


def open_local_teacher(rest: str) -> LocalTeacher:
    """The teacher of `local:[PATH][?answers=text&watermark=FILE&watermark_key=FILE]`.

    Raises:
        ConfigError: an option is wrong, or there is no such model.
    """
    source, options = split_options(rest, LocalOptions, scheme="local")
    return LocalTeacher(source, options)


class _Queue:
    """Hands out requests for text, and keeps those for labels apart."""

    def __init__(self, pull: Pull) -> None:
        self._pull = pull
        self._texts: list[Request] = []
        self._choices: list[Request] = []

    def has_more(self) -> bool:
        """Whether anything is there to answer."""
        if not self._texts and not self._choices:
            self._fill(1)
        return bool(self._texts or self._choices)

    def take_choices(self, limit: int) -> list[Request]:
        """Up to `limit` requests for labels, where one is there already."""
        if self._choices and len(self._choices) < limit:
            self._fill(limit - len(self._choices))
        taken, self._choices = self._choices[:limit], self._choices[limit:]
        return taken

    def pull(self, limit: int) -> list[Request]:
        """Up to `limit` requests for text; none where one for a label is next, or none is left."""
        if not self._choices and len(self._texts) < limit:
            self._fill(limit - len(self._texts))
        taken, self._texts = self._texts[:limit], self._texts[limit:]
        return taken

    def _fill(self, limit: int) -> None:
        for request in self._pull(limit):
            (self._choices if is_choice(request) else self._texts).append(request)


@dataclass(frozen=True)
class _Asked:
    request: Request
    num_prompt_tokens: int


class _Feed:
    """Turns requests into jobs, and finished jobs into answers."""

    def __init__(self, model: LanguageModel, pull: Pull, mark: LogitsMark | None) -> None:
        self._model = model
        self._mark = mark
        self._pull = pull
        self._asked: dict[str, _Asked] = {}
        self._failed: list[Answer] = []

    def pull(self, limit: int) -> list[GenerationJob]:
        """Up to `limit` jobs; requests that cannot be jobs become failed answers."""
        jobs: list[GenerationJob] = []
        while not jobs:
            requests = self._pull(limit)
            if not requests:
                return []
            jobs = [job for request in requests if (job := self._job(request))]
        return jobs

    def take_failed(self) -> list[Answer]:
        """The failed answers since the last call."""
        taken, self._failed = self._failed, []
        return taken

    def answer(self, generated: Generated) -> Answer:
        """What a finished job answers to its request."""
        asked = self._asked.pop(generated.key)
        text, finish_reason = self._model.chat.decode_completion(generated.ids.tolist())
        completion = Completion(
            request_id=asked.request.id,
            prompt_id=asked.request.prompt_id,
            sample_index=asked.request.sample_index,
            text=text,
            finish_reason=finish_reason,
            model=self._model.name,
            usage=Usage(
                prompt_tokens=asked.num_prompt_tokens,
                completion_tokens=len(generated.ids),
                cost_usd=0.0,
            ),
            created_utc=datetime.now(UTC),
            logprobs=_token_logprobs(generated, asked.request.sampling.top_logprobs),
        )
        return answer_of(completion)

    def _job(self, request: Request) -> GenerationJob | None:
        sampling, context = request.sampling, self._model.context_tokens
        try:
            prompt_ids = self._model.chat.encode_prompt(request.messages)
        except RecordError as err:
            self._reject(request, "template_refused", str(err))
            return None
        if len(prompt_ids) + sampling.max_tokens > context:
            self._reject(
                request,
                "prompt_too_long",
                f"{len(prompt_ids)} prompt tokens and max_tokens={sampling.max_tokens} exceed the "
                f"context of {context}. Shorten one of them.",
            )
            return None
        self._asked[request.id] = _Asked(request, len(prompt_ids))
        return GenerationJob(
            key=request.id,
            prompt_ids=prompt_ids,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=request.seed,
            top_logprobs=sampling.top_logprobs,
            mark=self._mark,
        )

    def _reject(self, request: Request, kind: str, message: str) -> None:
        error = ItemError(type=kind, message=message)
        self._failed.append(failed(request, error, model=self._model.name))


def _token_logprobs(generated: Generated, top_k: int) -> TokenLogprobs:
    return TokenLogprobs(
        token_ids=tuple(generated.ids.tolist()),
        logprobs=tuple(generated.logprobs.tolist()),
        top_k=top_k,
        top_ids=tuple(generated.top_ids.flatten().tolist()),
        top_logprobs=tuple(generated.top_logprobs.flatten().tolist()),
    )
