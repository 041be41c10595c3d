"""A language model in this process, whose answers are generated together.

One thread owns the model. Requests are put into its inbox and read their tokens from queues of the
event loop, which is woken once for each step whatever the number of answers.
"""

import asyncio
import itertools
import logging
import queue
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from stillhouse.chat import with_tools
from stillhouse.errors import ConfigError, RecordError, StillhouseError
from stillhouse.serve._ask import Answering, Ask, Piece, RefusedError, TokenScore
from stillhouse.serve._detection import Detector
from stillhouse.serve._files import LoadedFiles
from stillhouse.serve._headers import UNKNOWN_VERSION
from stillhouse.serve._held import HeldGrammar
from stillhouse.serve._marks import Marks
from stillhouse.serve._stops import TextStream
from stillhouse.serve._tools import tool_schema

if TYPE_CHECKING:
    from stillhouse.models import Grammar, LanguageModel, NewToken
    from stillhouse.watermark import LogitsMark, Watermark

logger = logging.getLogger(__name__)

A = TypeVar("A")
R = TypeVar("R")

MAX_TOP_LOGPROBS = 20
"""As in the protocols."""

_SEEDS = 1 << 62
_MAX_GRAMMARS = 64  # kept; making one takes 0.3 s
_BROKEN = "the generation failed; this is logged. Try again."


@dataclass
class _Answer:
    """One answer under way, on the side of the event loop."""

    index: int
    text: TextStream
    pieces: "asyncio.Queue[Piece | Exception]"
    wants_scores: bool
    max_tokens: int
    grammar: HeldGrammar | None
    num_tokens: int = 0


@dataclass
class _Inbox:
    """What the thread of the model is told."""

    orders: "queue.SimpleQueue[tuple[str, Any]]" = field(default_factory=queue.SimpleQueue)

    def tell(self, what: str, value: Any = None) -> None:
        self.orders.put((what, value))


class LocalEngine:
    """A student that is a language model; use it within one event loop.

    Args:
        model: The loaded model.
        slots: Answers generated together.
        max_tokens: The most that one answer may have.
        watermark: Marks all answers; None marks none.

    Attributes:
        version: Which student it is.
        watermark: The profile that marks its answers.
        detector: Tests texts for its mark; None tests none.

    Raises:
        ConfigError: the model cannot generate in batches.
    """

    def __init__(
        self,
        model: "LanguageModel",
        *,
        slots: int,
        max_tokens: int,
        watermark: "Watermark | None" = None,
    ) -> None:
        from stillhouse.models import GenerationSession

        self.name = model.name
        self.files: LoadedFiles | None = None
        self.version = UNKNOWN_VERSION
        self.detector: Detector | None = None
        self.watermark = None if watermark is None else watermark.profile_id
        self._marks = None if watermark is None else Marks(watermark)
        self.end_of_turn_ids = model.chat.end_of_turn_ids
        self._model = model
        self._max_tokens = max_tokens
        self._make_session = lambda: GenerationSession(
            model, max_slots=slots, num_ids=len(model.chat.text_bytes)
        )
        self._session = self._make_session()
        self._keys = itertools.count()
        self._answers: dict[str, _Answer] = {}
        self._grammars: dict[str, Grammar] = {}
        # Long prompts would hold up the loop, and a tokenizer is not for two threads at once.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="tokens")
        self._inbox = _Inbox()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def num_running(self) -> int:
        """Answers under way."""
        return len(self._answers)

    async def open(self, ask: Ask) -> Answering:
        """Begin to answer; see `Engine.open`."""
        self._start()
        prompt_ids = await self._read(self._prompt_ids, ask)
        room = self._model.context_tokens - len(prompt_ids)
        if room < 1:
            raise RefusedError(
                400,
                f"The prompt has {len(prompt_ids)} tokens; the model reads at most "
                f"{self._model.context_tokens - 1}. Shorten it.",
                param="messages" if ask.text is None else "prompt",
                code="context_length_exceeded",
            )
        wanted = self._max_tokens if ask.max_tokens is None else ask.max_tokens
        grammar = await self._grammar(ask)
        mark = None if self._marks is None else self._marks.of_request()
        answering = _Answers(self, min(wanted, self._max_tokens, room), mark)
        # A generator takes no negative seed; any number of a client is some seed.
        seed = secrets.randbits(62) if ask.seed is None else ask.seed % _SEEDS
        for index in range(ask.num_choices):
            answering.add(ask, prompt_ids, index, seed + index, grammar)
        return Answering(len(prompt_ids), answering.pieces(), stop=answering.stop)

    async def count_tokens(self, ask: Ask) -> int:
        """Tokens of the prompt."""
        return len(await self._read(self._prompt_ids, ask))

    async def close(self) -> None:
        """Stop the threads."""
        if self._thread is not None:
            self._inbox.tell("close")
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self._reader.shutdown()

    def begin(self, key: str, answer: _Answer, job: Any) -> None:
        """Have an answer generated."""
        self._answers[key] = answer
        self._inbox.tell("add", job)

    def end(self, key: str) -> None:
        """Generate no more of an answer."""
        if self._answers.pop(key, None) is not None:
            self._inbox.tell("drop", key)

    def next_key(self) -> str:
        """A name for an answer."""
        return str(next(self._keys))

    def _start(self) -> None:
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._work, name="generation", daemon=True)
            self._thread.start()

    async def _read(self, function: Callable[[A], R], argument: A) -> R:
        """What a function of the tokenizer's thread gives."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, function, argument)

    def _prompt_ids(self, ask: Ask) -> tuple[int, ...]:
        chat = self._model.chat
        try:
            if ask.text is not None:
                chat.refuse_control_tokens(ask.text)
                (ids,) = chat.encode_pieces([ask.text])
                if not ids:
                    raise RefusedError(400, "The prompt is empty. Give some text.", param="prompt")
                return ids
            messages, tools = with_tools(ask.messages, ask.tools, chat.reads_tools)
            return chat.encode_prompt(messages, tools)
        except (RecordError, UnicodeEncodeError) as err:
            raise RefusedError(400, str(err), param="messages") from err

    async def _grammar(self, ask: Ask) -> "Grammar | None":
        schema = tool_schema(ask) if ask.must_call else ask.schema
        if schema is None:
            return None
        if schema not in self._grammars:
            try:
                made = await self._read(self._made_grammar, schema)
            except (StillhouseError, ValueError) as err:
                raise RefusedError(400, str(err), param="response_format") from err
            if len(self._grammars) >= _MAX_GRAMMARS:
                self._grammars.pop(next(iter(self._grammars)))
            self._grammars[schema] = made
        return self._grammars[schema]

    def _made_grammar(self, schema: str) -> "Grammar":
        from stillhouse.models import json_grammar

        return json_grammar(self._model.chat, orjson.loads(schema))

    # What follows runs in the thread of the model.

    def _work(self) -> None:
        while True:
            if not self._obey(waits=self._session.is_idle):
                return
            if self._session.is_idle:
                continue
            try:
                new, _ = self._session.step()
            except Exception:  # one step failed: what runs is lost, what comes is not
                logger.exception("a step of generation failed")
                self._session = self._make_session()
                self._call(self._fail_all)
                continue
            if new:
                self._call(self._hand_out, new)

    def _obey(self, *, waits: bool) -> bool:
        """Take what was told; False once the engine is to be closed."""
        while True:
            try:
                what, value = self._inbox.orders.get(block=waits)
            except queue.Empty:
                return True
            waits = False
            if what == "close":
                return False
            if what == "add":
                self._add(value)
            else:
                self._session.drop(value)

    def _add(self, job: Any) -> None:
        try:
            self._session.add(job)
        except ConfigError as err:
            self._call(self._fail, job.key, RefusedError(400, str(err)))

    def _call(self, function: Any, *arguments: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop was closed: nobody listens
            logger.debug("an answer came after the server had ended")

    # What follows runs in the event loop.

    def _hand_out(self, new: "list[NewToken]") -> None:
        for token in new:
            if (answer := self._answers.get(token.key)) is not None:
                self._take(token, answer)

    def _take(self, token: "NewToken", answer: _Answer) -> None:
        chat = self._model.chat
        answer.num_tokens += 1
        is_end = token.token_id in chat.end_of_turn_ids
        text = "" if is_end else answer.text.add(chat.text_bytes[token.token_id])
        is_last = is_end or answer.text.is_stopped or answer.num_tokens >= answer.max_tokens
        if is_last:
            text += answer.text.end()
        if answer.grammar is not None and answer.grammar.error is not None:
            answer.pieces.put_nowait(RefusedError(400, str(answer.grammar.error)))
            self.end(token.key)
            return
        scores = (self._score(token),) if answer.wants_scores and not is_end else ()
        ended = is_end or answer.text.is_stopped
        reason: Any = None if not is_last else ("stop" if ended else "length")
        answer.pieces.put_nowait(
            Piece(answer.index, text, scores, reason, answer.num_tokens, token.began_s)
        )
        if is_last:
            self.end(token.key)

    def _score(self, token: "NewToken") -> TokenScore:
        texts = self._model.chat.text_bytes
        top = tuple(
            _token_score(texts[int(token_id)], float(logprob))
            for token_id, logprob in zip(token.top_ids, token.top_logprobs, strict=True)
        )
        return _token_score(texts[token.token_id], token.logprob, top)

    def _fail_all(self) -> None:
        for key in list(self._answers):
            self._fail(key, RefusedError(500, _BROKEN))

    def _fail(self, key: str, error: Exception) -> None:
        if (answer := self._answers.get(key)) is not None:
            answer.pieces.put_nowait(error)
            self.end(key)  # it may still be in the inbox


class _Answers:
    """All answers to one request."""

    def __init__(self, engine: LocalEngine, max_tokens: int, mark: "LogitsMark | None") -> None:
        self._engine = engine
        self._max_tokens = max_tokens
        self._mark = mark
        self._keys: list[str] = []
        self._queue: asyncio.Queue[Piece | Exception] = asyncio.Queue()

    def add(
        self,
        ask: Ask,
        prompt_ids: tuple[int, ...],
        index: int,
        seed: int,
        grammar: "Grammar | None",
    ) -> None:
        from stillhouse.models import GenerationJob

        held = None if grammar is None else HeldGrammar(grammar, self._engine.end_of_turn_ids)
        key = self._engine.next_key()
        self._keys.append(key)
        job = GenerationJob(
            key=key,
            prompt_ids=prompt_ids,
            max_tokens=self._max_tokens,
            temperature=ask.temperature,
            top_p=ask.top_p,
            seed=seed,
            top_logprobs=ask.top_logprobs or 0,
            grammar=held,
            mark=self._mark,
        )
        answer = _Answer(
            index=index,
            text=TextStream(ask.stop),
            pieces=self._queue,
            wants_scores=ask.top_logprobs is not None,
            max_tokens=self._max_tokens,
            grammar=held,
        )
        self._engine.begin(key, answer, job)

    async def pieces(self) -> AsyncIterator[Piece]:
        num_left = len(self._keys)
        while num_left:
            piece = await self._queue.get()
            if isinstance(piece, Exception):
                raise piece
            num_left -= piece.finish_reason is not None
            yield piece

    def stop(self) -> None:
        for key in self._keys:
            self._engine.end(key)


def _token_score(raw: bytes, logprob: float, top: tuple[TokenScore, ...] = ()) -> TokenScore:
    return TokenScore(raw.decode("utf-8", "replace"), raw, logprob, top)
