"""A certified cascade: the student answers where its rule lets it, the teacher otherwise."""

import asyncio
import logging
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path

from stillhouse.cascade import (
    Cascade,
    CascadeWatch,
    Route,
    WatchConfig,
    WatchSnapshot,
    WatchStatus,
)
from stillhouse.errors import DataError
from stillhouse.graders import agreement_grader, grade
from stillhouse.serve._ask import Answering, Ask, Engine, Piece, RefusedError
from stillhouse.serve._drafts import Draft, Student
from stillhouse.serve._figures import Figure, Report, figures_of
from stillhouse.serve._files import LoadedFiles
from stillhouse.serve._labels import confidence_header, label_pieces
from stillhouse.serve._replies import whole
from stillhouse.serve._seen import Audit, begin_apart, end_calls, note, note_audit
from stillhouse.serve._shadow import Answered, Kind, Shadow
from stillhouse.serve._stops import TextStream
from stillhouse.tasks import parse_answer

logger = logging.getLogger(__name__)

_AUDITS_S = 5.0  # that closing waits for audits
_SAVE_EVERY = 200  # requests between two writings of what the watch remembers
_OUT = {402: "teacher_budget", 429: "teacher_busy", 502: "teacher_out", 503: "teacher_busy"}
_STATES = ("serving", "alarm", "fallen_back")


class CascadeEngine:
    """Routes each request by the rule, audits some, and falls back when the watch says so.

    An audited request that the student answers is asked of the teacher too, after the answer has
    gone out; what the teacher fails to answer is no audit.

    Args:
        cascade: What was certified.
        student: Drafts answers, and knows how unfamiliar a text is.
        teacher: Answers the others; closed with it.
        memory: The file in which the watch is kept over a restart.
        config: How it is watched.
        stand_in_s: How long a teacher that does not answer is waited for until the student answers
            in its place, which no certificate covers; None lets it answer nothing but its own.
        shadow: Another student that reads along; closed with it.
        on_fallen: Told when the watch falls back.

    Raises:
        ConfigError: the memory belongs to another rule or other settings, or the task's answers
            cannot be graded here.
        DataError: the memory is damaged.
    """

    def __init__(
        self,
        cascade: Cascade,
        student: Student,
        teacher: Engine,
        *,
        memory: Path,
        config: WatchConfig | None = None,
        stand_in_s: float | None = None,
        shadow: Shadow | None = None,
        on_fallen: Callable[[WatchStatus], None] | None = None,
    ) -> None:
        self.name = student.name
        self.files: LoadedFiles | None = None
        self.version = cascade.artifact.manifest_sha256[:12]
        self.student = student
        self._cascade = cascade
        self._grader = agreement_grader(cascade.task)
        self._teacher = teacher
        self._memory = memory
        self._stand_in_s = stand_in_s
        self._shadow = shadow
        self._on_fallen = on_fallen
        self.watch: CascadeWatch = cascade.watch(config=config, snapshot=_remembered(memory))
        self._audits: set[asyncio.Task[None]] = set()
        self._routes: Counter[tuple[str, str]] = Counter()
        self._num_failed_audits = 0
        self._num_unsaved = 0

    @property
    def num_running(self) -> int:
        """Answers under way, of both."""
        return self.student.num_running + self._teacher.num_running

    async def open(self, ask: Ask) -> Answering:
        """Begin to answer; see `Engine.open`.

        What the student was not certified for, such as a call that has to be made, is the
        teacher's. So is an answer that is longer than the client allows.
        """
        if (why_not := self.student.refuses(ask)) is not None:
            return await self._by_teacher(ask, {"x-stillhouse-reason": why_not})
        draft = await self.student.draft(ask)
        chosen = self.watch.decide(draft.confidence, draft.novelty)
        route, reason = chosen.route, str(chosen.reason)
        if route == "student" and ask.max_tokens is not None and draft.num_tokens > ask.max_tokens:
            route, reason = "teacher", "too_long"
        is_audited = self.watch.is_audited(secrets.token_hex(16))
        note(novelty=draft.novelty, is_audited=is_audited)
        before = self.watch.state
        self.watch.observe_request(draft.confidence, route, novelty=draft.novelty)
        headers = confidence_header(draft.confidence)
        headers["x-stillhouse-reason"] = reason
        self._note(before)
        if route == "student":
            assert draft.answer is not None  # without one there is no confidence
            if is_audited:
                self._begin_audit(ask, draft)
            elif self._shadow is not None:
                self._shadow.take(Answered(ask, draft, "student"))
            return self._by_student(ask, draft, headers)
        if is_audited:
            self.watch.observe_audit(0.0)
        kind: Kind = "audited" if is_audited else "escalated"
        return await self._by_teacher(ask, headers, draft, Answered(ask, draft, "teacher", kind))

    async def close(self) -> None:
        """Wait a little for audits, write what the watch remembers, and close all of it."""
        if self._audits:
            await asyncio.wait(self._audits, timeout=_AUDITS_S)
        for audit in self._audits:
            audit.cancel()
        self._save()
        if self._shadow is not None:
            await self._shadow.close()
        await self.student.close()
        await self._teacher.close()

    def figures(self) -> list[Figure]:
        """For the metrics."""
        status, name = self.watch.status(), "stillhouse_cascade"
        found = [
            Figure(f"{name}_requests_total", number, {"route": route, "reason": reason})
            for (route, reason), number in sorted(self._routes.items())
        ]
        found += [
            Figure(f"{name}_state", status.state == state, {"state": state}, "gauge")
            for state in _STATES
        ]
        found += [
            Figure(f"{name}_audits", status.counts.audits, kind="gauge"),
            Figure(f"{name}_audit_loss", status.counts.loss, kind="gauge"),
            Figure(f"{name}_audits_failed_total", self._num_failed_audits),
            Figure(f"{name}_drift_evidence", status.drift_evidence, kind="gauge"),
            Figure(f"{name}_breach_evidence", status.breach_evidence, kind="gauge"),
        ]
        shadow = [] if self._shadow is None else self._shadow.figures()
        return [*found, *figures_of(self._teacher), *shadow]

    def reports(self) -> Mapping[str, Report]:
        """How the watch stands, and the shadow."""
        found: dict[str, Report] = {"cascade": self._report}
        if self._shadow is not None:
            found["shadow"] = self._shadow.report
        return found

    def _report(self) -> dict[str, object]:
        status = self.watch.status().model_dump(mode="json")
        version = self._cascade.artifact.manifest_sha256
        return {"object": "cascade", "version": version, **status}

    def _by_student(self, ask: Ask, draft: Draft, headers: dict[str, str]) -> Answering:
        said = _up_to_stop(draft.answer or "", ask)
        headers = {**headers, **self._headers("student")}
        self._routes["student", headers["x-stillhouse-reason"]] += 1
        return Answering(
            0, label_pieces(said, ask.num_choices, draft.began_s, draft.num_tokens), headers
        )

    async def _by_teacher(
        self,
        ask: Ask,
        headers: dict[str, str],
        draft: Draft | None = None,
        seen: Answered | None = None,
    ) -> Answering:
        headers = {**headers, **self._headers("teacher")}
        note(headers, teacher=self._teacher.name)
        try:
            async with asyncio.timeout(self._stand_in_s):
                answering = await self._teacher.open(ask)
        except (RefusedError, TimeoutError) as err:
            status = err.status if isinstance(err, RefusedError) else 504
            reason = "teacher_late" if status == 504 else _OUT.get(status)
            can_answer = draft is not None and draft.answer is not None
            is_fitting = draft is None or draft.num_tokens <= (ask.max_tokens or draft.num_tokens)
            if self._stand_in_s is None or reason is None or not (can_answer and is_fitting):
                if isinstance(err, TimeoutError):
                    raise RefusedError(504, "The teacher did not answer in time.") from err
                raise
            assert draft is not None
            note(teacher=None)
            return self._by_student(ask, draft, {**headers, "x-stillhouse-reason": reason})
        answering.headers = headers
        self._routes["teacher", headers["x-stillhouse-reason"]] += 1
        if seen is not None and self._shadow is not None:
            answering.pieces = self._overheard(answering.pieces, seen)
        return answering

    async def _overheard(
        self, pieces: AsyncIterator[Piece], seen: Answered
    ) -> AsyncIterator[Piece]:
        """The teacher's pieces as they come; the shadow learns the first answer when it ends."""
        said, reason = "", None
        async for piece in pieces:
            if piece.index == 0:
                said += piece.text
                reason = piece.finish_reason or reason
            yield piece
        if reason == "stop" and self._shadow is not None:
            told = parse_answer(self._cascade.task, said).text
            self._shadow.take(replace(seen, told=told, is_told=True))

    def _headers(self, route: Route) -> dict[str, str]:
        return {"x-stillhouse-route": route, "x-stillhouse-version": self.version}

    def _begin_audit(self, ask: Ask, draft: Draft) -> None:
        task = asyncio.get_running_loop().create_task(self._audit(ask, draft))
        self._audits.add(task)  # the loop alone would forget it
        task.add_done_callback(self._audits.discard)

    async def _audit(self, ask: Ask, draft: Draft) -> None:
        begin_apart()
        # The whole answer is compared, whatever the client would have cut of it.
        asked = replace(ask, num_choices=1, stop=(), max_tokens=None)
        try:
            answering = await self._teacher.open(asked)
            try:
                (reply,) = await whole(answering, asked)
            finally:
                answering.stop()
        except Exception as err:  # nobody waits for it, and it must not end the server
            logger.warning("an audit was not answered: %s", err)
            self._num_failed_audits += 1
            return
        finally:
            end_calls()
        told = parse_answer(self._cascade.task, reply.text).text
        before = self.watch.state
        # What the teacher may not answer differs from whatever the student says, as in certify.
        loss = 1.0 if told is None else 1.0 - grade(self._grader, [draft.answer], [told])[0]
        self.watch.observe_audit(loss)
        given = draft.answer or ""
        note_audit(Audit(asked, given, reply.text, loss, self._teacher.name, self.version))
        if self._shadow is not None:
            self._shadow.take(Answered(ask, draft, "student", "audited", told, is_told=True))
        self._note(before)

    def _note(self, before: str) -> None:
        """Tell of a change of state, and keep it."""
        self._num_unsaved += 1
        if self.watch.state != before:
            status = self.watch.status()
            logger.warning("the cascade is %s (%s)", status.state, status.cause)
            if status.state == "fallen_back" and self._on_fallen is not None:
                self._on_fallen(status)
        elif self._num_unsaved < _SAVE_EVERY:
            return
        self._save()

    def _save(self) -> None:
        self._num_unsaved = 0
        temporary = self._memory.with_name(f".{self._memory.name}.{os.getpid()}")
        try:
            temporary.write_text(self.watch.snapshot().model_dump_json(), encoding="utf-8")
            temporary.replace(self._memory)
        except OSError as err:  # a full disk is no reason to answer nobody
            logger.error("the watch cannot be kept in %s: %s", self._memory, err)


def _up_to_stop(text: str, ask: Ask) -> str:
    """An answer up to the first stop sequence of its client."""
    stream = TextStream(ask.stop)
    return stream.add(text.encode()) + stream.end()


def _remembered(memory: Path) -> WatchSnapshot | None:
    if not memory.is_file():
        return None
    try:
        return WatchSnapshot.model_validate_json(memory.read_text(encoding="utf-8"))
    except ValueError as err:
        raise DataError(
            f"{memory} is no memory of a watch. Remove it to begin without one."
        ) from err
