"""How calls end: with an answer or an error that came in, or without."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from stillhouse.errors import IntegrityError
from stillhouse.records import ItemError, Usage
from stillhouse.runlog._answer import Answer
from stillhouse.runlog._ledger._database import Database
from stillhouse.runlog._ledger._packing import (
    Key,
    Packed,
    Place,
    id_of,
    key_of,
    load,
    storable,
    store,
)
from stillhouse.runlog._ledger._records import utc_of
from stillhouse.runlog._ledger._schema import IS_ANSWER
from stillhouse.runlog._ledger._sums import add_calls, count_open, subtract_call
from stillhouse.runlog._ledger._workers import now_ms, roll_call

_INTENT = "request, teacher, worker, batch, run, sent_utc_ms, reserved_usd, attempt"
_INTENTS = (
    f"SELECT r.id, {_INTENT.replace('teacher', 'o.teacher')} FROM requests r "
    "JOIN open_calls o ON o.request = r.number WHERE r.id IN ({marks})"
)
_LOST = (
    f"SELECT number, {_INTENT} FROM calls WHERE finish_reason = 'lost' AND request = "
    "(SELECT number FROM requests WHERE id = ?) AND finish_reason IN ('error', 'lost') "
    "ORDER BY worker = ? DESC, number DESC LIMIT 1"
)
_RESERVES = "SELECT teacher, reserved_usd FROM calls WHERE number BETWEEN ? AND ?"
_INSERT = f"INSERT INTO calls VALUES ({', '.join('?' * 28)})"
ANSWER_COLUMNS = (
    "c.dialect, c.finish_reason, c.model, c.response_id, c.prompt_tokens, c.completion_tokens, "
    "c.cached_prompt_tokens, c.cache_write_tokens, c.reasoning_tokens, c.audio_tokens, "
    "c.cost_usd, c.seconds, c.answered_utc_ms, c.segment, c.offset, c.length"
)
_FIRST_ANSWERS = (
    f"SELECT r.id, {ANSWER_COLUMNS} FROM requests r JOIN calls c ON c.number = "
    f"(SELECT min(number) FROM calls WHERE request = r.number AND {IS_ANSWER}) "
    "WHERE r.id IN ({marks})"
)
_ANSWERED_IDS = (
    "SELECT r.id FROM requests r WHERE r.id IN ({marks}) "
    f"AND EXISTS (SELECT 1 FROM calls WHERE request = r.number AND {IS_ANSWER})"
)


_MOST_TOKENS = 2**40  # more is no count of tokens, and would overflow the sums


class _Intent(NamedTuple):
    """What a call takes over from the row that was written before it was sent."""

    request: int
    teacher: int
    worker: int
    batch: int | None
    run: int | None
    sent_utc_ms: int
    reserved_usd: float | None
    attempt: int


def record(db: Database, worker: int, answers: Sequence[Answer], bodies: Packed) -> None:
    """End one call for each of `answers`, in a transaction of the caller.

    `bodies` are theirs, packed before: others wait for the file as long as this runs.

    Raises:
        IntegrityError: one answers no call that was written down before it was sent.
    """
    if not answers:
        return
    intents = _take_intents(db, worker, answers)
    places = store(db, bodies)
    first = db.next_number("calls")
    now = now_ms()
    db.many(
        _INSERT,
        [
            _row(number, intent, answer, now, place)
            for number, (intent, answer, place) in enumerate(
                zip(intents, answers, places, strict=True), start=first
            )
        ],
    )
    add_calls(db, first, first + len(answers) - 1)


def end_without_answer(
    db: Database, requests: Sequence[int], *, as_lost: bool, error: ItemError | None = None
) -> None:
    """End the open calls of these requests (their numbers): lost, or failed with `error`."""
    if not requests:
        return
    first = db.next_number("calls")
    # Where the provider says that it ran nothing, nothing is to pay; else that is not known.
    reason, ended, cost_usd = ("lost", None, None) if as_lost else ("error", now_ms(), 0.0)
    kind, message, is_retryable = (
        (error.type, storable(error.message), error.retryable) if error else (None, None, None)
    )
    db.many(
        f"INSERT INTO calls ({_INTENT}, finish_reason, answered_utc_ms, cost_usd, error_type, "
        f"error_message, is_retryable) SELECT {_INTENT}, ?, ?, ?, ?, ?, ? "
        "FROM open_calls WHERE request = ?",
        [(reason, ended, cost_usd, kind, message, is_retryable, number) for number in requests],
    )
    db.many("DELETE FROM open_calls WHERE request = ?", [(number,) for number in requests])
    last = first + len(requests) - 1
    add_calls(db, first, last)
    count_open(db, db.rows(_RESERVES, (first, last)), -1)


def first_answers(db: Database, request_ids: Sequence[str]) -> Iterator[Answer]:
    """The first answer to each of `request_ids` that has one, in their order."""
    found = {row[0]: row for row in db.rows_for(_FIRST_ANSWERS, [key_of(i) for i in request_ids])}
    rows = [found[key] for key in map(key_of, request_ids) if key in found]
    for row, body in zip(rows, load(db, [row[-3:] for row in rows]), strict=True):
        yield read_row(row, body)


def answered_ids(db: Database, request_ids: Sequence[str]) -> set[str]:
    """Those of `request_ids` that have an answer."""
    found = db.rows_for(_ANSWERED_IDS, [key_of(request_id) for request_id in request_ids])
    return {id_of(key) for (key,) in found}


def _take_intents(db: Database, worker: int, answers: Sequence[Answer]) -> list[_Intent]:
    """The intent of each answer, taken out of where it stood."""
    keys = [key_of(answer.request_id) for answer in answers]
    opened = {key: _Intent(*intent) for key, *intent in db.rows_for(_INTENTS, keys)}
    intents: list[_Intent] = []
    ended: list[_Intent] = []
    for key in keys:
        intent = opened.pop(key, None)
        if intent is not None and (intent.worker == worker or intent.batch is not None):
            ended.append(intent)
        else:
            intent = _take_foreign_intent(db, worker, key, intent)
        intents.append(intent)
    _close(db, ended)
    return intents


def _take_foreign_intent(db: Database, worker: int, key: Key, opened: _Intent | None) -> _Intent:
    """The intent of an answer that came in after its call was given up, or for another process.

    `opened` is what another worker has open of the same request: the answer is to it only where
    that worker is gone, and fits no call of ours.
    """
    found = db.rows(_LOST, (key, worker))
    number, lost = (found[0][0], _Intent(*found[0][1:])) if found else (None, None)
    if opened is not None and (lost is None or lost.worker != worker):
        living, _ = roll_call(db)
        if opened.worker not in living:
            _close(db, [opened])
            return opened
    if number is None or lost is None:
        raise IntegrityError(
            f"{db.path}: an answer to request {id_of(key)[:16]} came in, but no open call of it "
            "was recorded. Claim requests before sending them, and record each answer once."
        )
    subtract_call(db, number)
    db.rows("DELETE FROM calls WHERE number = ?", (number,))
    return lost


def _close(db: Database, intents: Sequence[_Intent]) -> None:
    """Take intents out of the open calls, and out of their sums."""
    db.many("DELETE FROM open_calls WHERE request = ?", [(one.request,) for one in intents])
    count_open(db, [(one.teacher, one.reserved_usd) for one in intents], -1)


def _row(number: int, intent: _Intent, answer: Answer, now: int, place: Place) -> tuple[Any, ...]:
    usage, error = answer.usage, answer.error
    return (
        number,
        *intent,
        answer.finish_reason,
        now,
        min(usage.prompt_tokens, _MOST_TOKENS),
        min(usage.completion_tokens, _MOST_TOKENS),
        min(usage.cached_prompt_tokens, _MOST_TOKENS),
        min(usage.cache_write_tokens, _MOST_TOKENS),
        min(usage.reasoning_tokens, _MOST_TOKENS),
        min(usage.audio_tokens, _MOST_TOKENS),
        usage.cost_usd,
        usage.seconds,
        None if error is None else storable(error.type),
        None if error is None else storable(error.message),
        None if error is None else error.retryable,
        storable(answer.model),
        storable(answer.response_id),
        answer.dialect,
        *place,
    )


def read_row(row: tuple[Any, ...], body: bytes) -> Answer:
    """The answer in a row of a request's id and `ANSWER_COLUMNS`, with its body."""
    key, dialect, finish_reason, model, response_id, *numbers = row
    prompt, completion, cached, cache_write, reasoning, audio, *numbers = numbers
    cost_usd, seconds, answered_utc_ms, *_ = numbers
    usage = Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_prompt_tokens=cached,
        cache_write_tokens=cache_write,
        reasoning_tokens=reasoning,
        audio_tokens=audio,
        cost_usd=cost_usd,
        seconds=seconds,
    )
    return Answer(
        request_id=id_of(key),
        dialect=dialect,
        body=body,
        finish_reason=finish_reason,
        model=model,
        usage=usage,
        response_id=response_id,
        answered_utc=utc_of(answered_utc_ms),
    )
