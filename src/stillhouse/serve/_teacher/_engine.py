"""Any teacher as an engine: every call goes through the ledger, and is training data later."""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from stillhouse.errors import StillhouseError
from stillhouse.records import Completion, Prompt, Request, Sampling
from stillhouse.runlog import Answer
from stillhouse.serve._ask import Answering, Ask, Piece, RefusedError
from stillhouse.serve._figures import Figure
from stillhouse.serve._seen import call_headers
from stillhouse.serve._stops import TextStream
from stillhouse.serve._teacher._asking import Asking
from stillhouse.serve._teacher._book import Book, BudgetSpentError, Claimed
from stillhouse.serve._teacher._outcomes import (
    budget_refusal,
    failed,
    left,
    refusal_for,
    refusal_of,
)
from stillhouse.serve._teacher._words import asked_of, calls_text, scores_of
from stillhouse.teachers import NOT_SENT, MalformedAnswerError, TeacherInfo, read_answer

logger = logging.getLogger(__name__)

_TRIES = 2  # of a request of which nothing was said yet
_NOT_AGAIN = frozenset({NOT_SENT, "deadline", "timeout", "rate_limited", "overloaded"})


@dataclass(slots=True)
class TeacherCounts:
    """What this server asked of its teacher."""

    num_answers: int = 0
    num_errors: int = 0
    num_over_budget: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float = 0.0
    num_unpriced: int = 0


@dataclass(frozen=True)
class TeacherSource:
    """An open teacher with its ledger, for one version of a student after the other.

    Attributes:
        info: Of the teacher.
        asking: How it is asked.
        book: Where every call is recorded; open.
        counts: Of all calls.
    """

    info: TeacherInfo
    asking: Asking
    book: Book
    counts: TeacherCounts = field(default_factory=TeacherCounts)

    async def close(self) -> None:
        """Close the teacher, then the ledger; may be called twice."""
        await self.asking.close()
        await self.book.close()


class TeacherEngine:
    """A teacher that answers and is recorded; use it within one event loop.

    Args:
        source: The teacher and its ledger.
        labels: Of the task, for a teacher that reads them.
        max_tokens: The most that one answer may have.
        reuses: Whether a request at temperature 0 that equals an earlier one gets its answer.
        is_owner: Whether the source is closed with it.
    """

    def __init__(
        self,
        source: TeacherSource,
        *,
        labels: tuple[str, ...],
        max_tokens: int,
        reuses: bool = False,
        is_owner: bool = True,
    ) -> None:
        self.name = source.info.id
        self.num_running = 0
        self.counts = source.counts
        self._source = source
        self._info = source.info
        self._asking = source.asking
        self._book = source.book
        self._labels = labels if source.info.reads_labels else ()
        self._max_tokens = max_tokens
        self._reuses = reuses
        self._is_owner = is_owner

    async def open(self, ask: Ask) -> Answering:
        """Begin to answer, and wait for the first word; see `Engine.open`."""
        prompt, sampling = asked_of(
            ask, self._info, labels=self._labels, max_tokens=self._max_tokens
        )
        call_headers(self._info.id)  # the trace has the call; a provider is told nothing of it
        calls = _Calls(self, ask, prompt, sampling)
        try:
            return await calls.begin()
        except BaseException:
            calls.stop()
            raise

    async def close(self) -> None:
        """Close the source where it is its own; may be called twice."""
        if self._is_owner:
            await self._source.close()

    def figures(self) -> list[Figure]:
        """For the metrics: of this server, and what the whole ledger has cost."""
        counts, name = self.counts, "stillhouse_teacher"
        found = [
            Figure(f"{name}_calls_total", counts.num_answers, {"outcome": "answered"}),
            Figure(f"{name}_calls_total", counts.num_errors, {"outcome": "failed"}),
            Figure(f"{name}_calls_total", self._book.counts.num_reused, {"outcome": "reused"}),
            Figure(f"{name}_calls_total", counts.num_over_budget, {"outcome": "over_budget"}),
            Figure(f"{name}_tokens_total", counts.prompt_tokens, {"kind": "prompt"}),
            Figure(f"{name}_tokens_total", counts.completion_tokens, {"kind": "completion"}),
            Figure(f"{name}_cost_usd_total", counts.cost_usd),
            Figure(f"{name}_unpriced_total", counts.num_unpriced),
            Figure(f"{name}_unrecorded_total", self._book.counts.num_unrecorded),
        ]
        totals = self._book.totals
        if totals is not None and totals.cost_usd is not None:
            found.append(Figure(f"{name}_ledger_cost_usd", totals.cost_usd, kind="gauge"))
        return found

    def may_reuse(self, sampling: Sampling) -> bool:
        """Whether a request that is answered so gets the answer to an equal one."""
        return self._reuses and sampling.temperature == 0

    async def claim(self, prompt: Prompt, sampling: Sampling, index: int) -> Claimed:
        """A request that may be sent.

        Raises:
            RefusedError: the budget has no room for it, or the ledger cannot be written.
        """

        def sample(number: int) -> Request:
            return Request.of(prompt, teacher=self._info.id, sampling=sampling, sample_index=number)

        try:
            may_reuse = self.may_reuse(sampling) and index == 0
            return await self._book.claim(sample, may_reuse=may_reuse)
        except BudgetSpentError as err:
            self.counts.num_over_budget += 1
            raise budget_refusal(may_clear=err.may_clear) from err
        except StillhouseError as err:
            logger.error("the teacher is not asked, as its calls cannot be counted: %s", err)
            raise RefusedError(503, "The teacher's calls cannot be counted now.") from err

    async def answer(self, claimed: Claimed, say: "_Saying") -> Answer:
        """What the teacher answers to a claimed request, which is recorded whatever it is."""
        if claimed.answer is not None:
            return claimed.answer
        request = claimed.request
        try:
            answer = await self._asking.answer(request, say)
        except asyncio.CancelledError:
            self._record(claimed, left(request))
            raise
        except StillhouseError as err:
            logger.warning("the teacher cannot be asked: %s", err)
            self._record(claimed, failed(request, err))
            raise refusal_for(err, self.name) from err
        except Exception as err:
            self._record(claimed, failed(request, err))
            raise
        self._record(claimed, answer)
        return answer

    def _record(self, claimed: Claimed, answer: Answer) -> None:
        self._book.record(claimed, answer)
        counts, usage = self.counts, answer.usage
        if answer.error is None:
            counts.num_answers += 1
            counts.num_unpriced += usage.cost_usd is None
        else:
            counts.num_errors += 1
        counts.prompt_tokens += usage.prompt_tokens
        counts.completion_tokens += usage.completion_tokens
        counts.cost_usd += usage.cost_usd or 0.0


class _Saying:
    """Takes the text of one answer as it comes, and says it up to a stop sequence."""

    def __init__(self, index: int, ask: Ask, pieces: "asyncio.Queue[Piece | Exception]") -> None:
        self._index = index
        self._text = TextStream(ask.stop)
        self._pieces = pieces
        self.said = ""

    def __call__(self, text: str) -> None:
        self.said += text
        if shown := self._text.add(text.encode("utf-8", "replace")):
            self._pieces.put_nowait(Piece(self._index, shown))

    def end(self, completion: Completion, ask: Ask) -> None:
        """Say what is left, and that it is all."""
        if completion.text.startswith(self.said):
            self(completion.text[len(self.said) :])
        if completion.tool_calls:
            self(calls_text(completion))
        rest = self._text.end()
        reason = "stop" if self._text.is_stopped else completion.finish_reason
        number = completion.usage.completion_tokens
        scores = scores_of(completion.logprobs, ask)
        self._pieces.put_nowait(Piece(self._index, rest, scores, reason, number))


class _Calls:
    """All calls of one request."""

    def __init__(self, engine: TeacherEngine, ask: Ask, prompt: Prompt, sampling: Sampling) -> None:
        self._engine = engine
        self._ask = ask
        self._prompt = prompt
        self._sampling = sampling
        self._pieces: asyncio.Queue[Piece | Exception] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._answering: Answering | None = None
        self._is_over = False

    async def begin(self) -> Answering:
        self._engine.num_running += 1
        self._answering = Answering(0, self._all(), stop=self.stop)
        loop = asyncio.get_running_loop()
        for index in range(self._ask.num_choices):
            self._tasks.append(loop.create_task(self._call(index)))
        first = await self._pieces.get()
        if isinstance(first, Exception):
            raise first
        self._first = first
        return self._answering

    def stop(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._engine.num_running -= 1
            for task in self._tasks:
                task.cancel()

    async def _all(self) -> AsyncIterator[Piece]:
        num_left, piece = self._ask.num_choices, self._first
        while True:
            yield piece
            num_left -= piece.finish_reason is not None
            if not num_left:
                return
            got = await self._pieces.get()
            if isinstance(got, Exception):
                raise got
            piece = got

    async def _call(self, index: int) -> None:
        say = _Saying(index, self._ask, self._pieces)
        try:
            completion = await self._completion(index, say)
        except asyncio.CancelledError:
            raise
        except Exception as err:
            self._pieces.put_nowait(err)
            return
        assert self._answering is not None
        self._answering.num_prompt_tokens = completion.usage.prompt_tokens
        say.end(completion, self._ask)

    async def _completion(self, index: int, say: _Saying) -> Completion:
        """The answer; what failed before its first word is tried once more."""
        for number in range(1, _TRIES + 1):
            claimed = await self._engine.claim(self._prompt, self._sampling, index)
            answer = await self._engine.answer(claimed, say)
            error = answer.error
            if error is None:
                try:
                    return read_answer(answer, claimed.request)
                except (MalformedAnswerError, StillhouseError) as err:
                    logger.warning("an answer of the teacher cannot be read: %s", err)
                    message = f"The teacher {self._engine.name} gave no answer that can be read."
                    raise RefusedError(502, message) from err
            is_last = number == _TRIES or bool(say.said)
            if is_last or not error.retryable or error.type in _NOT_AGAIN:
                raise refusal_of(error, self._engine.name)
        raise AssertionError("the last try ends it")
