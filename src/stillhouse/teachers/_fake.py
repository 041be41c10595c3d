"""A teacher without a model: scripted or made-up answers, the same on every machine.

It takes the true path through collect, so pipelines and their failures can be tried in seconds.
"""

import math
import random
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson
from pydantic import Field, ValidationError

from stillhouse.errors import ConfigError
from stillhouse.records import (
    Completion,
    FinishReason,
    ItemError,
    Record,
    Request,
    TokenLogprobs,
    Usage,
    content_hash,
)
from stillhouse.runlog import Answer
from stillhouse.teachers._answers import answer_of, failed
from stillhouse.teachers._base import Pull, Teacher, TeacherInfo
from stillhouse.teachers._options import Options, split_options

_HEADLINE_WORDS = 8
_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")
_TOKEN = re.compile(r"\s*\S+")


class FakeOptions(Options):
    """Options of `fake:`."""

    latency_s: float = Field(default=0.0, ge=0.0, le=3600.0)
    """How long each group of up to `parallel` requests takes."""
    fail_every: int = Field(default=0, ge=0)
    """Fail every n-th request that this teacher is handed; 0 fails none."""
    parallel: int = Field(default=16, ge=1)
    logprobs: int = Field(default=0, ge=0, le=100)
    """The largest `top_logprobs` it gives; 0 gives none."""


class ScriptedAnswer(Record):
    """One line of a script: the answer to prompts that hold `match`."""

    match: str
    text: str = ""
    finish_reason: FinishReason = "stop"
    error: ItemError | None = None


class FakeTeacher(Teacher):
    """Answers from a script, or with a headline made of the prompt's own words.

    Without a script the answer depends on the messages alone at temperature 0, and on
    `Request.seed` as well above it. Its tokens are words. With a script the first line whose
    `match` occurs in a message answers; a prompt that no line matches is an item error.
    """

    def __init__(
        self,
        options: FakeOptions | None = None,
        *,
        script: tuple[ScriptedAnswer, ...] | None = None,
    ) -> None:
        self._options = options or FakeOptions()
        self._script = script
        self._num_handed = 0
        name = "headline" if script is None else content_hash([row.model_dump() for row in script])
        self._info = TeacherInfo(
            id=f"fake:{name[:16]}",
            provider="fake",
            max_top_logprobs=self._options.logprobs,
        )

    @property
    def info(self) -> TeacherInfo:
        """What answers: `fake:headline`, or the hash of the script."""
        return self._info

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        """Answer everything that `pull` hands out, `parallel` at a time."""
        while requests := pull(self._options.parallel):
            time.sleep(self._options.latency_s)
            yield [self._answer(request) for request in requests]

    def close(self) -> None:
        """Nothing to release."""

    def _answer(self, request: Request) -> Answer:
        self._num_handed += 1
        every = self._options.fail_every
        if every and self._num_handed % every == 0:
            error = ItemError(
                type="fake_failure", message=f"fail_every={every} struck", retryable=True
            )
            return failed(request, error, model=self._info.id)
        if self._script is None:
            text, finish_reason = _headline(request)
            return self._answered(request, text, finish_reason)
        return self._scripted(request, self._script)

    def _scripted(self, request: Request, script: tuple[ScriptedAnswer, ...]) -> Answer:
        for row in script:
            if any(row.match in message.content for message in request.messages):
                if row.error is not None:
                    return failed(request, row.error, model=self._info.id)
                return self._answered(request, row.text, row.finish_reason)
        error = ItemError(
            type="not_scripted",
            message=f"no line of the script matches prompt {request.prompt_id!r}; add one",
        )
        return failed(request, error, model=self._info.id)

    def _answered(self, request: Request, text: str, finish_reason: FinishReason) -> Answer:
        tokens = _TOKEN.findall(text)
        top_k = min(request.sampling.top_logprobs, self._options.logprobs)
        completion = Completion(
            request_id=request.id,
            prompt_id=request.prompt_id,
            sample_index=request.sample_index,
            text=text,
            finish_reason=finish_reason,
            model=self._info.id,
            usage=Usage(
                prompt_tokens=sum(len(_TOKEN.findall(m.content)) for m in request.messages),
                completion_tokens=len(tokens),
                cost_usd=0.0,
                seconds=self._options.latency_s,
            ),
            created_utc=datetime.now(UTC),
            logprobs=_made_up_logprobs(tokens, top_k) if top_k else None,
        )
        return answer_of(completion)


def open_fake_teacher(rest: str) -> FakeTeacher:
    """The teacher of `fake:[SCRIPT.jsonl][?options]`.

    Raises:
        ConfigError: an option or a line of the script is wrong, or the script is missing.
    """
    script_path, options = split_options(rest, FakeOptions, scheme="fake")
    return FakeTeacher(options, script=read_script(Path(script_path)) if script_path else None)


def read_script(path: Path) -> tuple[ScriptedAnswer, ...]:
    """The lines of a script, split at newlines only.

    Raises:
        ConfigError: the file is missing, empty, or a line is not a scripted answer.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as err:
        raise ConfigError(
            f"The script {path} cannot be read ({err.strerror}). Give fake:SCRIPT.jsonl, or fake: "
            "alone for made-up headlines."
        ) from err
    rows = tuple(
        _script_row(path, n, line) for n, line in enumerate(lines, start=1) if line.strip()
    )
    if not rows:
        raise ConfigError(f"The script {path} is empty; write at least one answer.")
    return rows


def _script_row(path: Path, number: int, line: bytes) -> ScriptedAnswer:
    try:
        row = ScriptedAnswer.model_validate(orjson.loads(line))
    except orjson.JSONDecodeError as err:
        raise ConfigError(f"{path}, line {number} is not JSON ({err}).") from err
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "line"
        raise ConfigError(
            f"{path}, line {number}: {place}: {first['msg']}. Fields are "
            f"{', '.join(ScriptedAnswer.model_fields)}."
        ) from err
    if (row.finish_reason == "error") != (row.error is not None):
        # An error alone is meant often enough; an "error" without one says nothing.
        if row.error is None:
            raise ConfigError(
                f"{path}, line {number}: finish_reason 'error' needs an error "
                "{type, message, retryable}."
            )
        row = row.model_copy(update={"finish_reason": "error"})
    return row


def _headline(request: Request) -> tuple[str, FinishReason]:
    words = _WORD.findall(request.messages[-1].content)
    long_words = [word for word in words if len(word) > 3] or words or ["Untitled"]
    distinct = list({word.lower(): word for word in long_words}.values())
    if request.sampling.temperature > 0 and len(distinct) > _HEADLINE_WORDS:
        chosen = random.Random(request.seed).sample(range(len(distinct)), _HEADLINE_WORDS)
        distinct = [distinct[position] for position in sorted(chosen)]
    headline = [word[0].upper() + word[1:] for word in distinct[:_HEADLINE_WORDS]]
    kept = headline[: request.sampling.max_tokens]
    return " ".join(kept), "stop" if len(kept) == len(headline) else "length"


def _made_up_logprobs(tokens: list[str], top_k: int) -> TokenLogprobs:
    """0.6 on the token itself, then 0.2, 0.1, 0.05 ... on others: sums to less than 1."""
    values = [math.log(0.6)] + [math.log(0.2 * 0.5**rank) for rank in range(top_k - 1)]
    others = [f"<other-{rank}>" for rank in range(1, top_k)]
    return TokenLogprobs(
        tokens=tuple(tokens),
        logprobs=(values[0],) * len(tokens),
        top_k=top_k,
        top_tokens=tuple(name for token in tokens for name in (token, *others)),
        top_logprobs=tuple(values) * len(tokens),
    )
