"""One request to one provider account, from the gate to the answer.

A request that was turned away before any work was done (too fast, overloaded) is sent again from
here: nobody charges for it. A call that may have been paid (a timeout, a cut, a broken answer)
comes back as an answer with a retryable error: the ledger has it before the request goes out again.
"""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from time import monotonic

import orjson

from stillhouse.errors import (
    LogprobsUnavailableError,
    RateLimitedError,
    RecordError,
    StillhouseError,
    TeacherError,
    TeacherUnavailableError,
)
from stillhouse.records import ItemError, Request, Usage
from stillhouse.runlog import Answer
from stillhouse.teachers._base import NOT_SENT
from stillhouse.teachers._dialects import (
    MalformedAnswerError,
    Refusal,
    SseParser,
    StreamRefusedError,
    read_refusal,
)
from stillhouse.teachers._endpoint import (
    CostOf,
    Endpoint,
    WorstCostOf,
    backoff_s,
    is_told,
    priced,
)
from stillhouse.teachers._gate import Admission, CallGate, Need, Settled
from stillhouse.teachers._tokens import estimate_prompt_tokens
from stillhouse.teachers._transport import (
    MAX_ANSWER_BYTES,
    Reply,
    Transport,
    TransportError,
)

_MOST_REFUSALS = 5  # of one request, for reasons of its own; then the run counts it as a try
_NOTHING = Usage(cost_usd=0.0)  # of what was never sent, or turned away before any work
_LONGEST_WAIT_S = 300.0  # an endpoint that asks for more ends the run, which can go on later
_OTHER_FIELD = "other_field"
_NO_LOGPROBS = "no_logprobs"
_RATE_LIMITED, _OVERLOADED = "rate_limited", "overloaded"
_HELD_KINDS = frozenset({_RATE_LIMITED, _OVERLOADED})
_WORK_DONE_KINDS = frozenset({"timeout", "server_error"})  # refused late: it may be on the bill


OnText = Callable[[str], None]
"""Told what an answer says, piece by piece."""


class Caller:
    """Answers requests one by one; use it and close it within one event loop.

    Args:
        endpoint: Who is asked.
        gate: Of the account; shared with whoever else uses it.
        cost_of: The price.
        worst_cost_of: The most that a call with so many tokens can cost.
        seed: Of the delays before a request is sent again.

    Attributes:
        ended_by: Why no further request can succeed, until `resume`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        gate: CallGate,
        *,
        cost_of: CostOf,
        worst_cost_of: WorstCostOf,
        seed: int | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._gate = gate
        self._cost_of = cost_of
        self._worst_cost_of = worst_cost_of
        self._random = random.Random(seed)
        self._headers = endpoint.dialect.headers(endpoint.api_key)
        self._headers["Content-Type"] = "application/json"
        self._path = endpoint.dialect.path(endpoint.model, stream=endpoint.is_streamed)
        self._transport: Transport | None = None
        self._failures: dict[str, int] = {}
        self._cut_off: set[str] = set()  # under way when their deadline came
        self._has_shown_logprobs = False
        self._is_over: Callable[[], bool] = lambda: False
        self.ended_by: StillhouseError | None = None

    async def answer(self, request: Request, *, on_text: OnText | None = None) -> Answer:
        """The answer to one request, or the error of this try.

        Args:
            request: What is asked.
            on_text: Told the text as it comes, where the endpoint is streamed. Once it was told
                something the request is not sent again from here.

        Once no further request can succeed (key refused, model missing, nothing there),
        `ended_by` says so, and requests that were not worked on come back as the retryable error
        `not_sent`, at no cost, until `resume`.

        Raises:
            TeacherError: the same where the call may be paid: no log-probabilities, or an error
                in the middle of a stream.
            ConfigError: the host has nothing for what the request asks.
        """
        endpoint = self.endpoint
        try:
            body = self._encode(request)
        except (RecordError, TypeError) as err:
            error = ItemError(type="bad_request", message=str(err))
            return self._failed(request, error, usage=_NOTHING)
        try:
            async with asyncio.timeout(endpoint.deadline_s):
                if request.id in self._failures:
                    await asyncio.sleep(backoff_s(self._random, self._failures[request.id]))
                answer = await self._until_worked_on(request, body, on_text)
        except _NotPaid as err:
            self.ended_by = self.ended_by or err.why
            return self._unsent(request)
        except StillhouseError as err:
            self.ended_by = self.ended_by or err
            raise
        except TimeoutError:  # the transport's own have another name by now
            message = f"no answer within the deadline of {endpoint.deadline_s:g} s"
            usage = None if request.id in self._cut_off else _NOTHING
            self._cut_off.discard(request.id)
            answer = self._failed(request, ItemError(type="deadline", message=message), usage=usage)
        if answer.error is not None and answer.error.type == NOT_SENT:
            return answer
        if answer.error is not None and answer.error.retryable:
            self._failures[request.id] = self._failures.get(request.id, 0) + 1
        else:
            self._failures.pop(request.id, None)
        return answer

    def worst_cost_usd(self, request: Request) -> float | None:
        """The most that one call of a request can cost, None where no price is known."""
        try:
            num_bytes = len(self._encode(request))
        except (RecordError, TypeError):
            return 0.0  # it will not be sent
        # No token is shorter than a byte: what the bytes cannot exceed, the bill cannot either.
        return self._worst_cost_of(num_bytes, request.sampling.max_tokens)

    @property
    def gate(self) -> CallGate:
        """What it waits at."""
        return self._gate

    def stop_when(self, is_over: Callable[[], bool]) -> None:
        """Send nothing once `is_over()` holds; what waits to be sent comes back as `not_sent`."""
        self._is_over = is_over

    def resume(self) -> None:
        """Send again, after an error that ended an earlier stream."""
        self.ended_by = None

    async def close(self) -> None:
        """Close the connections; may be called twice."""
        if self._transport is not None:
            await self._transport.close()
            self._transport = None

    def _encode(self, request: Request) -> bytes:
        endpoint = self.endpoint
        fields = endpoint.dialect.body(
            request, model=endpoint.model, quirks=endpoint.quirks, stream=endpoint.is_streamed
        )
        return orjson.dumps(fields)

    async def _until_worked_on(
        self, request: Request, body: bytes, on_text: OnText | None
    ) -> Answer:
        """Send until the endpoint takes the request up; refusals cost nothing but time."""
        max_tokens = request.sampling.max_tokens
        need = Need(estimate_prompt_tokens(request), max_tokens)
        num_refused = 0
        while True:
            try:
                admission = await self._gate.admit(need)
            except StillhouseError as err:
                raise _NotPaid(err) from err
            if self.ended_by is not None or self._is_over():
                self._gate.cancel(admission)
                return self._unsent(request)
            outcome = await self._try_once(request, body, admission, on_text)
            if isinstance(outcome, Answer):
                return outcome
            self._check_wait(outcome)
            if outcome.kind == _OTHER_FIELD:
                body = self._encode(request)
                continue
            if outcome.kind not in _HELD_KINDS:  # for those, the gate holds everybody back
                num_refused += 1
                if num_refused == _MOST_REFUSALS:
                    return self._refused(request, outcome, seconds=0.0, usage=_NOTHING)
                await asyncio.sleep(backoff_s(self._random, num_refused))

    def _check_wait(self, refusal: Refusal) -> None:
        if refusal.wait_s is not None and refusal.wait_s > _LONGEST_WAIT_S:
            said = self.endpoint.without_key(refusal.message)
            text = (
                f"{self.endpoint.provider} ({self.endpoint.base_url}) asks to wait "
                f"{refusal.wait_s:.0f} s ({said}). Run the same command again later; it goes on "
                "where it stopped."
            )
            raise _NotPaid(RateLimitedError(text))

    async def _try_once(
        self, request: Request, body: bytes, admission: Admission, on_text: OnText | None
    ) -> Answer | Refusal:
        """One call. A `Refusal` comes back only where the request may go again at no cost."""
        started_s = monotonic()
        settled = Settled(status=None, is_server_trouble=True)
        try:
            reply = await self._send(body, on_text)
            settled, outcome = self._judge(request, body, reply, monotonic() - started_s)
            return outcome
        except asyncio.CancelledError:
            self._cut_off.add(request.id)
            raise
        except TransportError as err:
            message = self.endpoint.without_key(str(err))
            error = ItemError(type=err.kind, message=message, retryable=err.kind != "too_large")
            return self._failed(request, error, seconds=monotonic() - started_s)
        except MalformedAnswerError as err:
            return self._malformed(request, err, monotonic() - started_s)
        except StreamRefusedError as err:
            # It began with status 200: there was work, and there may be a bill.
            settled = Settled(status=200, is_server_trouble=True, wait_s=err.refusal.wait_s)
            return self._refused(request, err.refusal, seconds=monotonic() - started_s)
        finally:
            self._gate.settle(admission, settled)

    async def _send(self, body: bytes, on_text: OnText | None) -> Reply:
        if self._transport is None:
            endpoint = self.endpoint
            self._transport = Transport(
                endpoint.base_url, timeouts=endpoint.timeouts, concurrency=0
            )
        try:
            return await self._exchange(self._transport, body, on_text)
        except TeacherUnavailableError as err:  # nobody received it
            raise _NotPaid(err) from err

    async def _exchange(self, transport: Transport, body: bytes, on_text: OnText | None) -> Reply:
        if not self.endpoint.is_streamed:
            return await transport.post(self._path, self._headers, body)
        async with transport.stream(self._path, self._headers, body) as (head, pieces):
            if head.status != 200:
                return head
            parser, assembler = SseParser(), self.endpoint.dialect.assembler()
            num_bytes = 0
            async for piece in pieces:
                num_bytes += len(piece)
                if num_bytes > MAX_ANSWER_BYTES:
                    raise TransportError("too_large", f"a stream of over {MAX_ANSWER_BYTES} bytes")
                for event in parser.feed(piece):
                    assembler.feed(event)
                if on_text is not None and (text := assembler.take_text()):
                    on_text(text)
            if not assembler.is_complete:
                raise TransportError("cut", "the stream ended before the answer did")
            return replace(head, body=assembler.result())

    def _judge(
        self, request: Request, sent: bytes, reply: Reply, seconds: float
    ) -> tuple[Settled, Answer | Refusal]:
        limits = self.endpoint.dialect.limits(reply.headers)
        if reply.status != 200:
            refusal = self._refusal_of(request, reply)
            if self._takes_other_field(reply, sent):
                return Settled(status=reply.status, limits=limits), replace(
                    refusal, kind=_OTHER_FIELD, is_retryable=True
                )
            settled = Settled(
                status=reply.status,
                limits=limits,
                wait_s=refusal.wait_s,
                is_rate_limited=refusal.kind == _RATE_LIMITED,
                is_overloaded=refusal.kind == _OVERLOADED,
                is_server_trouble=refusal.kind in _WORK_DONE_KINDS,
            )
            if refusal.is_retryable and settled.was_refused:
                return settled, refusal
            if refusal.stops_provider and (settled.was_refused or reply.status < 400):
                raise _NotPaid(self._stopped(refusal))
            usage = _NOTHING if settled.was_refused else None
            return settled, self._refused(request, refusal, seconds=seconds, usage=usage)
        answer = self._read(request, reply.body, seconds)
        usage = answer.usage if is_told(answer.usage) else None
        return Settled(status=200, usage=usage, limits=limits), answer

    def _refusal_of(self, request: Request, reply: Reply) -> Refusal:
        refusal = read_refusal(reply.status, reply.headers, reply.body)
        may_lack_them = request.sampling.top_logprobs and not self._has_shown_logprobs
        if refusal.kind == _NO_LOGPROBS and not may_lack_them:
            # The name was quoted from the prompt: it is this request that is wrong.
            return replace(refusal, kind="bad_request", stops_provider=False)
        return refusal

    def _takes_other_field(self, reply: Reply, sent: bytes) -> bool:
        """Whether a refusal was for the name of one field, which is then changed.

        Newer OpenAI models refuse the old name of the limit, most other servers know no other: at
        an address about which nothing is known, the answer tells.
        """
        if reply.status != 400 or b"max_completion_tokens" not in reply.body:
            return False
        if b'"max_tokens":' not in sent:
            return False
        quirks = replace(self.endpoint.quirks, max_tokens_field="max_completion_tokens")
        self.endpoint = replace(self.endpoint, quirks=quirks)
        return True

    def _read(self, request: Request, body: bytes, seconds: float) -> Answer:
        dialect = self.endpoint.dialect
        try:
            facts = dialect.outcome(body)
            if request.labels:  # one that names none of them is no answer, and asked for again
                dialect.completion(body, request)
            if request.sampling.top_logprobs and not self._has_shown_logprobs:
                # Once, on the first answer: going on without them would be another experiment.
                self._has_shown_logprobs = dialect.completion(body, request).logprobs is not None
        except MalformedAnswerError as err:
            return self._malformed(request, err, seconds)
        return Answer(
            request_id=request.id,
            dialect=dialect.name,
            body=body,
            finish_reason=facts.finish_reason,
            model=facts.model,
            usage=self._priced_in(facts.usage, seconds),
            response_id=facts.response_id,
        )

    def _malformed(self, request: Request, err: MalformedAnswerError, seconds: float) -> Answer:
        message = self.endpoint.without_key(f"not an answer of {self.endpoint.dialect.name}: {err}")
        error = ItemError(type="malformed_answer", message=message, retryable=True)
        return self._failed(request, error, seconds=seconds, usage=err.usage)

    def _refused(
        self, request: Request, refusal: Refusal, *, seconds: float, usage: Usage | None = None
    ) -> Answer:
        if refusal.stops_provider:
            raise self._stopped(refusal)
        error = ItemError(
            type=refusal.kind,
            message=self.endpoint.without_key(refusal.message),
            retryable=refusal.is_retryable,
        )
        return self._failed(request, error, seconds=seconds, usage=usage)

    def _stopped(self, refusal: Refusal) -> TeacherError:
        endpoint = self.endpoint
        said = self.endpoint.without_key(refusal.message)
        who, key = f"{endpoint.provider} ({endpoint.base_url})", endpoint.key_variable
        if refusal.kind == _NO_LOGPROBS:
            return LogprobsUnavailableError(
                f"top_logprobs is set, but {who} gives {endpoint.model!r} none or fewer ({said}). "
                "Lower it, set it to 0, or use a teacher that gives them."
            )
        if refusal.kind == "model_missing":
            text = (
                f"{who} has no model {endpoint.model!r} ({said}). Check the model's name, and that "
                "the address ends where the API's paths begin, often in /v1."
            )
        elif refusal.kind == "redirected":
            text = f"{who} redirects ({said}); a key is never sent on. Give that address."
        elif refusal.kind == "key_refused" and endpoint.api_key is None:
            text = f"{who} asks for a key ({said}). Set {key or 'one'} in the environment."
        elif refusal.kind == "key_refused":
            text = f"{who} refuses the key in {key} ({said}). Check the key and what it may use."
        else:
            text = (
                f"{who} will not go on for payment reasons ({said}). Check the balance and limits "
                f"of the account of {key or 'the key'}; what was answered is kept."
            )
        return TeacherUnavailableError(text)

    def _unsent(self, request: Request) -> Answer:
        message = "the run ended before it was worked on"
        error = ItemError(type=NOT_SENT, message=message, retryable=True)
        return self._failed(request, error, usage=_NOTHING)

    def _failed(
        self,
        request: Request,
        error: ItemError,
        *,
        seconds: float = 0.0,
        usage: Usage | None = None,
    ) -> Answer:
        return Answer(
            request_id=request.id,
            dialect=self.endpoint.dialect.name,
            body=b"",
            finish_reason="error",
            model=self.endpoint.model,
            usage=Usage(seconds=seconds) if usage is None else self._priced_in(usage, seconds),
            error=error,
        )

    def _priced_in(self, usage: Usage, seconds: float) -> Usage:
        return priced(usage, self._cost_of, seconds=seconds)


class _NotPaid(Exception):
    """The end of a run, from a call that was not sent or that was turned away."""

    def __init__(self, why: StillhouseError) -> None:
        super().__init__(str(why))
        self.why = why
