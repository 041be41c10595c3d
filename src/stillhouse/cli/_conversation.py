"""A conversation with one model."""

import time
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from stillhouse.errors import ConfigError, TeacherError
from stillhouse.records import Completion, Message, Prompt, Request, Sampling
from stillhouse.teachers import Teacher, read_answer


@dataclass(frozen=True)
class Reply:
    """What a model said, and how fast."""

    completion: Completion
    latency_s: float

    @property
    def text(self) -> str:
        """The answer, printable on any terminal: a model may write control characters."""
        kept = (c if c.isprintable() or c in "\n\t" else " " for c in self.completion.text)
        return "".join(kept)

    @property
    def error(self) -> str | None:
        """Why there is no answer."""
        return self.completion.error.message if self.completion.error else None

    def figures(self) -> str:
        """Latency, tokens and their rate, for a person."""
        tokens = self.completion.usage.completion_tokens
        rate = f", {tokens / self.latency_s:,.0f} tokens/s" if tokens and self.latency_s else ""
        cut = ", cut at --max-tokens" if self.completion.finish_reason == "length" else ""
        return f"{self.latency_s:.2f} s, {tokens} tokens{rate}{cut}"

    def document(self) -> dict[str, Any]:
        """The answer for programs."""
        completion = self.completion
        return {
            "model": completion.model,
            "text": completion.text,
            "finish_reason": completion.finish_reason,
            "usage": completion.usage.model_dump(mode="json"),
            "latency_s": round(self.latency_s, 4),
        }


class Conversation:
    """Keeps what was said, so that each question comes with all before it."""

    def __init__(self, teacher: Teacher, *, system: str | None, sampling: Sampling) -> None:
        self._teacher = teacher
        self._sampling = sampling
        self._start = (Message(role="system", content=system),) if system else ()
        self._messages = self._start

    def ask(self, text: str) -> Reply:
        """The answer to `text`; a question that gets an error is forgotten.

        Raises:
            TeacherError: the model cannot answer anything any more.
        """
        messages = (*self._messages, Message(role="user", content=text))
        started_s = time.monotonic()
        completion = self._complete(messages, self._sampling)
        reply = Reply(completion=completion, latency_s=time.monotonic() - started_s)
        if completion.error is None:
            self._messages = (*messages, Message(role="assistant", content=completion.text))
        return reply

    def reset(self) -> None:
        """Forget all but the system message."""
        self._messages = self._start

    def load(self) -> None:
        """Have local weights loaded now, so that the first answer's time is the model's own.

        Other teachers are not asked: their answers may cost money.
        """
        if self._teacher.info.provider == "local":
            messages = (*self._start, Message(role="user", content="Hello"))
            self._complete(messages, self._sampling.model_copy(update={"max_tokens": 1}))

    def _complete(self, messages: tuple[Message, ...], sampling: Sampling) -> Completion:
        request = Request.of(
            Prompt(id="chat", messages=messages),
            teacher=self._teacher.info.id,
            sampling=sampling,
        )
        waiting = [request]

        def pull(num_wanted: int) -> list[Request]:
            handed, waiting[:] = waiting[:num_wanted], waiting[num_wanted:]
            return handed

        for group in self._teacher.stream(pull):
            for answer in group:
                return read_answer(answer, request)
        raise TeacherError(f"{self._teacher.info.id} ended without an answer. Ask again.")


def chat_sampling(*, temperature: float, max_tokens: int) -> Sampling:
    """The sampling that the flags ask for.

    Raises:
        ConfigError: a flag is out of range.
    """
    try:
        return Sampling(temperature=temperature, max_tokens=max_tokens)
    except ValidationError as err:
        first = err.errors()[0]
        flag = str(first["loc"][0]).replace("_", "-")
        raise ConfigError(
            f"--{flag} is {first['input']}; {first['msg'].replace('Input should', 'it must')}."
        ) from err
