"""Intents: who may ask what, written down before it is asked."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse.records import Request
from stillhouse.runlog._ledger._answers import end_without_answer
from stillhouse.runlog._ledger._database import Database
from stillhouse.runlog._ledger._money import commitments, limit_of, picos_of, usd_of
from stillhouse.runlog._ledger._packing import Key, id_of, key_of, pack, request_json, store
from stillhouse.runlog._ledger._records import Claim, OpenCall, RoomFrom, Shortage, utc_of
from stillhouse.runlog._ledger._schema import IS_ANSWER, IS_NO_ANSWER
from stillhouse.runlog._ledger._sums import count_open
from stillhouse.runlog._ledger._workers import now_ms, roll_call, sign_off

_STANDING = (
    "SELECT r.id, r.number, "
    f"EXISTS (SELECT 1 FROM calls WHERE request = r.number AND {IS_ANSWER}), "
    f"(SELECT count(*) FROM calls WHERE request = r.number AND {IS_NO_ANSWER}), "
    "o.worker, o.batch, o.run "
    "FROM requests r LEFT JOIN open_calls o ON o.request = r.number WHERE r.id IN ({marks})"
)
_UNSETTLED = (
    "SELECT r.id, r.prompt_id, t.id, c.sent_utc_ms, b.id, c.reserved_usd, c.request, c.worker "
    "FROM {calls} JOIN requests r ON r.number = c.request "
    "JOIN teachers t ON t.number = c.teacher LEFT JOIN batches b ON b.number = c.batch "
    "WHERE {which} ORDER BY c.sent_utc_ms, c.request"
)
_HOLDERS = "SELECT DISTINCT worker, batch IS NOT NULL FROM open_calls WHERE reserved_usd > 0"
_ORPHANS = _UNSETTLED.format(calls="open_calls c", which="c.batch IS NULL")
_LOST = _UNSETTLED.format(
    calls="calls c INDEXED BY calls_unanswered",
    which=f"c.finish_reason = 'lost' AND c.{IS_NO_ANSWER}",
)


@dataclass(frozen=True, slots=True)
class Claimant:
    """For whom calls are opened.

    Attributes:
        worker: Its number.
        run: Number of the run, if one is given.
        batch: Number of the batch they are part of, if any.
    """

    worker: int
    run: int | None = None
    batch: int | None = None


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the ledger knows about a request that is asked for again."""

    number: int
    is_answered: int
    num_failed: int
    open_worker: int | None
    open_batch: int | None
    open_run: int | None


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What stands against known requests: keys that cannot be had, and numbers by reason."""

    refused: list[Key]
    held: list[int]
    abandoned: list[int]


def claim(
    db: Database,
    claimant: Claimant,
    requests: Sequence[Request],
    reserved_usd: Sequence[float] | None = None,
    cap_usd: float | None = None,
) -> Claim:
    """Open a call for each of `requests` that has no answer and is not being asked.

    Under a limit, in order and only as long as the reserves fit. To be called in a transaction.

    Raises:
        ConfigError: the limit is no amount of money, or what was spent is not known.
    """
    wanted: dict[Key, Request] = {}
    for request in requests:
        wanted.setdefault(key_of(request.id), request)
    reserves = _reserves(requests, reserved_usd)
    known = {key: _Standing(*rest) for key, *rest in db.rows_for(_STANDING, list(wanted))}
    held: list[int] = []
    if known:
        verdict = _judge(db, claimant, known)
        for key in verdict.refused:
            del wanted[key]
        end_without_answer(db, verdict.abandoned, as_lost=True)
        held = verdict.held
    shortage = None
    if cap_usd is not None:
        shortage = _cut_to_fit(db, claimant, wanted, reserves, cap_usd)
    if known:
        numbers = [known[key].number for key in wanted if key in known]
        _note_held(db, claimant.run, held, numbers)
    _open_calls(db, claimant, wanted, known, reserves)
    return Claim(list(wanted.values()), shortage)


def _open_calls(
    db: Database,
    claimant: Claimant,
    wanted: dict[Key, Request],
    known: dict[Key, _Standing],
    reserves: dict[str, float],
) -> None:
    teachers = _teacher_numbers(db, {request.teacher for request in wanted.values()})
    new = [request for key, request in wanted.items() if key not in known]
    new_numbers = iter(_add_requests(db, new, teachers))
    now = now_ms()
    rows = []
    for key, request in wanted.items():
        standing = known.get(key)
        number, attempt = (
            (next(new_numbers), 1) if standing is None else (standing.number, _attempt(standing))
        )
        rows.append(
            (
                number,
                teachers[request.teacher],
                claimant.worker,
                claimant.batch,
                claimant.run,
                now,
                reserves.get(request.id),
                attempt,
            )
        )
    db.many("INSERT INTO open_calls VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    count_open(db, [(row[1], row[6]) for row in rows], 1)


def _cut_to_fit(
    db: Database,
    claimant: Claimant,
    wanted: dict[Key, Request],
    reserves: dict[str, float],
    cap_usd: float,
) -> Shortage | None:
    """Leave in `wanted` what fits under the limit: all before the first that does not.

    What costs nothing always fits: a limit that was lowered does not stop it.
    """
    limit, committed = limit_of(cap_usd), commitments(db, db.path)
    picos = picos_of(reserves[request.id] for request in wanted.values())
    left = limit - committed.total
    if sum(picos) <= left:
        return None
    num_fitting = 0
    for pico in picos:
        if pico > left and pico:
            break
        left -= pico
        num_fitting += 1
    else:
        return None  # what is over the limit costs nothing
    requests = [wanted.pop(key) for key in list(wanted)[num_fitting:]]
    can_fit = committed.spent + committed.unknown + picos[num_fitting] <= limit
    is_claiming = any(picos[:num_fitting])
    return Shortage(
        requests=requests,
        cap_usd=cap_usd,
        worst_usd=reserves[requests[0].id],
        spent_usd=usd_of(committed.spent),
        held_usd=usd_of(limit - left - committed.spent),
        room_from=_room_from(db, claimant, is_claiming=is_claiming) if can_fit else frozenset(),
    )


def _room_from(db: Database, claimant: Claimant, *, is_claiming: bool) -> frozenset[RoomFrom]:
    """Where money is reserved that may come back."""
    found: set[RoomFrom] = set()
    if is_claiming:
        found.add("here" if claimant.batch is None else "batches")
    living: set[int] | None = None
    for worker, is_in_batch in db.rows(_HOLDERS):
        if is_in_batch:
            found.add("batches")
        elif worker == claimant.worker:
            found.add("here")
        else:
            living = roll_call(db)[0] if living is None else living
            if worker in living:
                found.add("elsewhere")
    return frozenset(found)


def orphans(db: Database) -> tuple[list[OpenCall], list[int]]:
    """The open calls whose worker is gone, and the numbers of their requests.

    Those of a batch are not among them: the provider goes on with it.
    """
    living, _ = roll_call(db)
    rows = [row for row in db.rows(_ORPHANS) if row[-1] not in living]
    return [_open_call(row) for row in rows], [row[-2] for row in rows]


def settle_orphans(db: Database) -> list[OpenCall]:
    """Turn the orphans into lost calls, in a transaction of the caller."""
    calls, numbers = orphans(db)
    end_without_answer(db, numbers, as_lost=True)
    _, gone = roll_call(db)
    sign_off(db, gone)
    db.rows(
        "DELETE FROM held WHERE EXISTS "
        f"(SELECT 1 FROM calls WHERE request = held.request AND {IS_ANSWER})"
    )
    return calls


def lost_calls(db: Database) -> list[OpenCall]:
    """Every call that was given up and whose answer did not turn up, oldest first."""
    return [_open_call(row) for row in db.rows(_LOST)]


def _judge(db: Database, claimant: Claimant, known: dict[Key, _Standing]) -> _Verdict:
    verdict = _Verdict([], [], [])
    living: set[int] | None = None
    for key, standing in known.items():
        if standing.is_answered:
            verdict.refused.append(key)
        elif standing.open_worker is not None:
            living = roll_call(db)[0] if living is None else living
            if standing.open_batch is None and standing.open_worker not in living:
                verdict.abandoned.append(standing.number)
                continue
            verdict.refused.append(key)
            if standing.open_run != claimant.run:
                verdict.held.append(standing.number)
    return verdict


def _attempt(standing: _Standing) -> int:
    """How often the request is asked with this call; one still open was just given up."""
    return standing.num_failed + (standing.open_worker is not None) + 1


def _note_held(db: Database, run: int | None, held: Iterable[int], claimed: Iterable[int]) -> None:
    """Keep what `run` was refused for another's sake, and drop what it now has."""
    if run is None:
        return
    db.many("INSERT OR IGNORE INTO held VALUES (?, ?)", [(run, number) for number in held])
    db.many("DELETE FROM held WHERE run = ? AND request = ?", [(run, number) for number in claimed])


def _reserves(
    requests: Sequence[Request], reserved_usd: Sequence[float] | None
) -> dict[str, float]:
    if reserved_usd is None:
        return {}
    return {request.id: reserve for request, reserve in zip(requests, reserved_usd, strict=True)}


def _teacher_numbers(db: Database, teachers: set[str]) -> dict[str, int]:
    db.many("INSERT OR IGNORE INTO teachers (id) VALUES (?)", [(teacher,) for teacher in teachers])
    if not teachers:
        return {}
    return dict(
        db.rows_for("SELECT id, number FROM teachers WHERE id IN ({marks})", list(teachers))
    )


def _add_requests(db: Database, new: Sequence[Request], teachers: dict[str, int]) -> range:
    """Append requests that the ledger has not seen; their numbers."""
    if not new:
        return range(0)
    places = store(db, pack([request_json(request) for request in new]))
    first = db.next_number("requests")
    numbers = range(first, first + len(new))
    db.many(
        "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (number, key_of(request.id), teachers[request.teacher], request.prompt_id, *place)
            for number, request, place in zip(numbers, new, places, strict=True)
        ],
    )
    db.many(
        "UPDATE teachers SET num_requests = num_requests + ? WHERE id = ?",
        [(times, teacher) for teacher, times in Counter(r.teacher for r in new).items()],
    )
    return numbers


def _open_call(row: Sequence[Any]) -> OpenCall:
    key, prompt_id, teacher, sent_utc_ms, batch_id, reserved_usd, *_ = row
    return OpenCall(
        request_id=id_of(key),
        prompt_id=prompt_id,
        teacher=teacher,
        sent_utc=utc_of(sent_utc_ms),
        batch_id=batch_id,
        reserved_usd=reserved_usd,
    )
