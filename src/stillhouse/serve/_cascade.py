"""A certified cascade: the student answers where its rule lets it, the teacher otherwise."""

import asyncio
import logging
import os
import secrets
from dataclasses import replace
from pathlib import Path

from stillhouse.cascade import Cascade, CascadeWatch, Route, WatchConfig, WatchSnapshot
from stillhouse.errors import DataError
from stillhouse.graders import agreement_grader, grade
from stillhouse.serve._ask import Answering, Ask, Engine
from stillhouse.serve._labels import LabelEngine, answer_in, confidence_header, label_pieces
from stillhouse.serve._replies import whole
from stillhouse.serve._seen import Audit, begin_apart, end_calls, note, note_audit
from stillhouse.tasks import parse_answer

logger = logging.getLogger(__name__)

_AUDITS_S = 5.0  # that closing waits for audits
_SAVE_EVERY = 200  # requests between two writings of what the watch remembers


class CascadeEngine:
    """Routes each request by the rule, audits some, and falls back when the watch says so.

    An audited request that the student answers is asked of the teacher too, after the answer has
    gone out; what the teacher fails to answer is no audit.

    Args:
        cascade: What was certified.
        student: Answers with labels, and knows how unfamiliar a text is.
        teacher: Answers the others.
        memory: The file in which the watch is kept over a restart.
        config: How it is watched.

    Raises:
        ConfigError: the memory belongs to another rule or other settings.
        DataError: the memory is damaged.
    """

    def __init__(
        self,
        cascade: Cascade,
        student: LabelEngine,
        teacher: Engine,
        *,
        memory: Path,
        config: WatchConfig | None = None,
    ) -> None:
        self.name = student.name
        self.version = cascade.artifact.manifest_sha256[:12]
        self.student = student
        self._cascade = cascade
        self._grader = agreement_grader(cascade.task)
        self._teacher = teacher
        self._memory = memory
        self.watch: CascadeWatch = cascade.watch(config=config, snapshot=_remembered(memory))
        self._audits: set[asyncio.Task[None]] = set()
        self._num_unsaved = 0

    @property
    def num_running(self) -> int:
        """Answers under way, of both."""
        return self.student.num_running + self._teacher.num_running

    async def open(self, ask: Ask) -> Answering:
        """Begin to answer; see `Engine.open`.

        What a student of labels cannot be held to, a schema or a call, is the teacher's, and so is
        what is continued without a conversation; neither is a request that was certified.
        """
        if ask.schema is not None or ask.must_call or ask.text is not None:
            return await self._by_teacher(ask, {"x-stillhouse-reason": "not_a_label"})
        decision = await self.student.decide(self.student.text_of(ask))
        chosen = self.watch.decide(decision.confidence, decision.novelty)
        is_audited = self.watch.is_audited(secrets.token_hex(16))
        note(novelty=decision.novelty, is_audited=is_audited)
        before = self.watch.state
        self.watch.observe_request(decision.confidence, chosen.route, novelty=decision.novelty)
        headers = confidence_header(decision.confidence)
        headers["x-stillhouse-reason"] = chosen.reason
        self._note(before)
        if chosen.route == "student":
            answer = answer_in(decision)
            if is_audited:
                self._begin_audit(ask, answer)
            headers |= self._headers("student")
            pieces = label_pieces(answer, ask.num_choices, decision.began_s)
            return Answering(0, pieces, headers)
        if is_audited:
            self.watch.observe_audit(0.0)
        return await self._by_teacher(ask, headers)

    async def close(self) -> None:
        """Wait a little for audits, write what the watch remembers, and close both."""
        if self._audits:
            await asyncio.wait(self._audits, timeout=_AUDITS_S)
        for audit in self._audits:
            audit.cancel()
        self._save()
        await self.student.close()
        await self._teacher.close()

    async def _by_teacher(self, ask: Ask, headers: dict[str, str]) -> Answering:
        headers = {**headers, **self._headers("teacher")}
        note(headers, teacher=self._teacher.name)
        answering = await self._teacher.open(ask)
        answering.headers = headers
        return answering

    def _headers(self, route: Route) -> dict[str, str]:
        return {"x-stillhouse-route": route, "x-stillhouse-version": self.version}

    def _begin_audit(self, ask: Ask, given: str) -> None:
        task = asyncio.get_running_loop().create_task(self._audit(ask, given))
        self._audits.add(task)  # the loop alone would forget it
        task.add_done_callback(self._audits.discard)

    async def _audit(self, ask: Ask, given: str) -> None:
        begin_apart()
        ask = replace(ask, num_choices=1)
        try:
            answering = await self._teacher.open(ask)
            try:
                (reply,) = await whole(answering, ask)
            finally:
                answering.stop()
        except Exception as err:  # nobody waits for it, and it must not end the server
            logger.warning("an audit was not answered: %s", err)
            return
        finally:
            end_calls()
        told = parse_answer(self._cascade.task, reply.text).text
        before = self.watch.state
        # What the teacher may not answer differs from whatever the student says, as in certify.
        loss = 1.0 if told is None else 1.0 - grade(self._grader, [given], [told])[0]
        self.watch.observe_audit(loss)
        note_audit(Audit(ask, given, reply.text, loss, self._teacher.name, self.version))
        self._note(before)

    def _note(self, before: str) -> None:
        """Tell of a change of state, and keep it."""
        self._num_unsaved += 1
        if self.watch.state != before:
            status = self.watch.status()
            logger.warning("the cascade is %s (%s)", status.state, status.cause)
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


def _remembered(memory: Path) -> WatchSnapshot | None:
    if not memory.is_file():
        return None
    try:
        return WatchSnapshot.model_validate_json(memory.read_text(encoding="utf-8"))
    except ValueError as err:
        raise DataError(
            f"{memory} is no memory of a watch. Remove it to begin without one."
        ) from err
