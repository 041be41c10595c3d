"""One ledger taken over into another: what several wrote becomes what one would have written.

A call is known again by its request, its worker, its attempt and the time it was sent, so merging
twice, merging a ledger that has grown since, or merging what came through a third one adds nothing
twice. All of it is one transaction: a process that is killed in the midst has merged nothing.
"""

from pathlib import Path

from stillhouse.errors import ConfigError
from stillhouse.runlog._ledger._database import Database
from stillhouse.runlog._ledger._records import FINAL_BATCH_STATES
from stillhouse.runlog._ledger._schema import IS_ANSWER, IS_NO_ANSWER
from stillhouse.runlog._ledger._sums import add_calls, subtract_call
from stillhouse.runlog._ledger._workers import roll_call

_KNOWN_BY = {
    "teachers": ("id",),
    "runs": ("key",),
    "batches": ("id",),
    "workers": ("host", "machine", "pid", "process_start", "started_utc_ms"),
    "requests": ("id",),
}
"""The columns that say that two rows of a table are the same, whatever their numbers."""

_MAPS = (*_KNOWN_BY, "calls", "segments")

# Tables of one column layout that are copied as they are, but for their numbers. Positions of runs
# are not taken over: they are about a file of prompts as one ledger has seen it.
_COPIED = {
    "teachers": "s.id, 0",
    "runs": "s.key, 0, 0, NULL",
    "batches": (
        "s.id, s.provider, s.remote_id, s.state, s.num_requests, s.created_utc_ms, "
        "s.settled_utc_ms, s.note"
    ),
    "workers": (
        "s.host, s.machine, s.pid, s.process_start, s.started_utc_ms, s.heartbeat_utc_ms, "
        "coalesce(s.ended_utc_ms, s.heartbeat_utc_ms)"
    ),
}

_SAME_CALL = (
    "t.request = r.target AND t.worker = w.target AND t.attempt = c.attempt "
    "AND t.sent_utc_ms = c.sent_utc_ms"
)
_NEW_CALLS = (
    "CREATE TABLE temp.calls_map AS SELECT c.number AS source, "
    "{before} + row_number() OVER (ORDER BY c.number) AS target "
    "FROM source.calls c JOIN temp.requests_map r ON r.source = c.request "
    "JOIN temp.workers_map w ON w.source = c.worker "
    f"WHERE NOT EXISTS (SELECT 1 FROM main.calls t WHERE {_SAME_CALL} AND t.{IS_ANSWER}) "
    f"AND NOT EXISTS (SELECT 1 FROM main.calls t WHERE {_SAME_CALL} AND t.{IS_NO_ANSWER} "
    "AND (t.finish_reason = 'error' OR c.finish_reason = 'lost'))"
)
_FOUND_AGAIN = (
    "SELECT t.number FROM temp.calls_map m JOIN source.calls c ON c.number = m.source "
    "JOIN temp.requests_map r ON r.source = c.request AND NOT r.is_new "
    "JOIN temp.workers_map w ON w.source = c.worker "
    f"JOIN main.calls t ON {_SAME_CALL} AND t.{IS_NO_ANSWER} AND t.finish_reason = 'lost'"
)
_NEEDED_SEGMENTS = (
    "CREATE TABLE temp.segments_map AS SELECT source, "
    "{before} + row_number() OVER (ORDER BY source) AS target FROM ("
    "SELECT s.segment AS source FROM source.requests s "
    "JOIN temp.requests_map r ON r.source = s.number WHERE r.is_new "
    "UNION SELECT c.segment FROM source.calls c JOIN temp.calls_map m ON m.source = c.number "
    "WHERE c.segment IS NOT NULL UNION SELECT s.segment FROM source.raw_requests s "
    "JOIN temp.requests_map r ON r.source = s.request "
    "WHERE NOT EXISTS (SELECT 1 FROM main.raw_requests t WHERE t.request = r.target))"
)
_COPY_SEGMENTS = (
    "INSERT INTO main.segments SELECT m.target, s.raw_bytes, s.data FROM temp.segments_map m "
    "JOIN source.segments s ON s.number = m.source ORDER BY m.target"
)
_COPY_REQUESTS = (
    "INSERT INTO main.requests SELECT r.target, s.id, t.target, s.prompt_id, m.target, s.offset, "
    "s.length FROM temp.requests_map r JOIN source.requests s ON s.number = r.source "
    "JOIN temp.teachers_map t ON t.source = s.teacher "
    "JOIN temp.segments_map m ON m.source = s.segment WHERE r.is_new ORDER BY r.target"
)
_COUNT_REQUESTS = (
    "UPDATE main.teachers SET num_requests = num_requests + (SELECT count(*) "
    "FROM temp.requests_map r JOIN main.requests q ON q.number = r.target "
    "WHERE r.is_new AND q.teacher = teachers.number)"
)
_COPY_CALLS = (
    "INSERT INTO main.calls SELECT m.target, r.target, t.target, w.target, b.target, n.target, "
    "c.sent_utc_ms, c.reserved_usd, c.attempt, c.finish_reason, c.answered_utc_ms, "
    "c.prompt_tokens, c.completion_tokens, c.cached_prompt_tokens, c.cache_write_tokens, "
    "c.reasoning_tokens, c.audio_tokens, c.cost_usd, c.seconds, c.error_type, c.error_message, "
    "c.is_retryable, c.model, c.response_id, c.dialect, g.target, c.offset, c.length "
    "FROM temp.calls_map m JOIN source.calls c ON c.number = m.source "
    "JOIN temp.requests_map r ON r.source = c.request "
    "JOIN temp.teachers_map t ON t.source = c.teacher "
    "JOIN temp.workers_map w ON w.source = c.worker "
    "LEFT JOIN temp.batches_map b ON b.source = c.batch "
    "LEFT JOIN temp.runs_map n ON n.source = c.run "
    "LEFT JOIN temp.segments_map g ON g.source = c.segment ORDER BY m.target"
)
_COPY_RAW = (
    "INSERT OR IGNORE INTO main.raw_requests SELECT r.target, m.target, s.offset, s.length "
    "FROM source.raw_requests s JOIN temp.requests_map r ON r.source = s.request "
    "JOIN temp.segments_map m ON m.source = s.segment"
)
_COPY_HELD = (
    "INSERT OR IGNORE INTO main.held SELECT n.target, r.target FROM source.held s "
    "JOIN temp.runs_map n ON n.source = s.run JOIN temp.requests_map r ON r.source = s.request"
)


def check_at_rest(db: Database) -> None:
    """Refuse a ledger that is still written, or of which a provider still works off a batch.

    Raises:
        ConfigError: a process that writes it is running, or a batch is not settled.
    """
    living, _ = roll_call(db)
    if living:
        raise ConfigError(
            f"{db.path} is being written by a running process. Wait for its end, or stop it, then "
            "merge."
        )
    marks = ", ".join("?" * len(FINAL_BATCH_STATES))
    ((num_batches,),) = db.rows(
        f"SELECT count(*) FROM batches WHERE state NOT IN ({marks})", FINAL_BATCH_STATES
    )
    if num_batches:
        raise ConfigError(
            f"{db.path} has {num_batches} batches whose answers were not fetched. Run its own "
            "collection to the end, then merge."
        )


def merge(db: Database, source: Path) -> None:
    """Add what another ledger, at `source`, holds; it is at rest and its orphans are settled."""
    db.rows("ATTACH DATABASE ? AS source", (str(source),))
    try:
        with db.transaction():
            _take_over(db)
    finally:
        db.rows("DETACH DATABASE source")


def _take_over(db: Database) -> None:
    for table in _KNOWN_BY:
        _map_numbers(db, table)
    for table, columns in _COPIED.items():
        db.rows(
            f"INSERT INTO main.{table} SELECT m.target, {columns} FROM temp.{table}_map m "
            f"JOIN source.{table} s ON s.number = m.source WHERE m.is_new ORDER BY m.target"
        )
    before = db.next_number("calls") - 1
    db.rows(_NEW_CALLS.format(before=before))
    for (number,) in db.rows(_FOUND_AGAIN):
        subtract_call(db, number)
        db.rows("DELETE FROM main.calls WHERE number = ?", (number,))
    ((num_calls,),) = db.rows("SELECT count(*) FROM temp.calls_map")
    _copy_rows(db)
    if num_calls:
        add_calls(db, before + 1, before + num_calls)
    for table in _MAPS:
        db.rows(f"DROP TABLE temp.{table}_map")


def _map_numbers(db: Database, table: str) -> None:
    """Say which number each row of the source has, or will have, here."""
    columns = _KNOWN_BY[table]
    same = " AND ".join(f"t.{column} = s.{column}" for column in columns)
    # Who only looked at the ledger is of no interest elsewhere.
    which = "WHERE s.number IN (SELECT worker FROM source.calls)" if table == "workers" else ""
    db.rows(
        f"CREATE TABLE temp.{table}_map AS SELECT source, is_new, "
        f"CASE WHEN is_new THEN {db.next_number(table) - 1} "
        "+ row_number() OVER (PARTITION BY is_new ORDER BY source) ELSE known END AS target "
        "FROM (SELECT s.number AS source, t.number AS known, t.number IS NULL AS is_new "
        f"FROM source.{table} s LEFT JOIN main.{table} t ON {same} {which} GROUP BY s.number)"
    )
    db.rows(f"CREATE UNIQUE INDEX temp.{table}_mapped ON {table}_map (source)")


def _copy_rows(db: Database) -> None:
    """Copy what the maps of requests and calls say is new, with its bodies."""
    db.rows(_NEEDED_SEGMENTS.format(before=db.next_number("segments") - 1))
    db.rows("CREATE UNIQUE INDEX temp.segments_mapped ON segments_map (source)")
    for statement in (
        _COPY_SEGMENTS,
        _COPY_REQUESTS,
        _COUNT_REQUESTS,
        _COPY_CALLS,
        _COPY_RAW,
        _COPY_HELD,
    ):
        db.rows(statement)
