"""The tables of a ledger file; `docs/format.md` describes them for readers.

Times are whole milliseconds since 1970 in UTC. A `teacher`, `worker`, `batch`, `run`, `request` or
`segment` column holds the number of a row of that table.
"""

APPLICATION_ID = int.from_bytes(b"Stil", "big")
SCHEMA_VERSION = 3

IS_ANSWER = "finish_reason NOT IN ('error', 'lost')"
"""Holds for the calls that count as answered; the partial indexes need these very words."""
IS_NO_ANSWER = "finish_reason IN ('error', 'lost')"

OPEN = "open"
"""The `finish_reason` in `sums` of the calls under way, which are in `open_calls`."""

SCHEMA = (
    """
    CREATE TABLE teachers (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        num_requests INTEGER NOT NULL DEFAULT 0
    )
    """,
    """
    CREATE TABLE segments (
        number INTEGER PRIMARY KEY,
        raw_bytes INTEGER,
        data BLOB NOT NULL
    )
    """,
    """
    CREATE TABLE requests (
        number INTEGER PRIMARY KEY,
        id BLOB NOT NULL UNIQUE,
        teacher INTEGER NOT NULL,
        prompt_id TEXT NOT NULL,
        segment INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        length INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE raw_requests (
        request INTEGER PRIMARY KEY,
        segment INTEGER NOT NULL,
        offset INTEGER NOT NULL,
        length INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE open_calls (
        request INTEGER PRIMARY KEY,
        teacher INTEGER NOT NULL,
        worker INTEGER NOT NULL,
        batch INTEGER,
        run INTEGER,
        sent_utc_ms INTEGER NOT NULL,
        reserved_usd REAL,
        attempt INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE calls (
        number INTEGER PRIMARY KEY,
        request INTEGER NOT NULL,
        teacher INTEGER NOT NULL,
        worker INTEGER NOT NULL,
        batch INTEGER,
        run INTEGER,
        sent_utc_ms INTEGER NOT NULL,
        reserved_usd REAL,
        attempt INTEGER NOT NULL,
        finish_reason TEXT NOT NULL,
        answered_utc_ms INTEGER,
        prompt_tokens INTEGER NOT NULL DEFAULT 0,
        completion_tokens INTEGER NOT NULL DEFAULT 0,
        cached_prompt_tokens INTEGER NOT NULL DEFAULT 0,
        cache_write_tokens INTEGER NOT NULL DEFAULT 0,
        reasoning_tokens INTEGER NOT NULL DEFAULT 0,
        audio_tokens INTEGER NOT NULL DEFAULT 0,
        cost_usd REAL,
        seconds REAL NOT NULL DEFAULT 0,
        error_type TEXT,
        error_message TEXT,
        is_retryable INTEGER,
        model TEXT,
        response_id TEXT,
        dialect TEXT,
        segment INTEGER,
        offset INTEGER,
        length INTEGER
    )
    """,
    """
    CREATE TABLE sums (
        teacher INTEGER NOT NULL,
        finish_reason TEXT NOT NULL,
        num_calls INTEGER NOT NULL DEFAULT 0,
        prompt_tokens INTEGER NOT NULL DEFAULT 0,
        completion_tokens INTEGER NOT NULL DEFAULT 0,
        cached_prompt_tokens INTEGER NOT NULL DEFAULT 0,
        reasoning_tokens INTEGER NOT NULL DEFAULT 0,
        cost_pico INTEGER NOT NULL DEFAULT 0,
        num_unpriced INTEGER NOT NULL DEFAULT 0,
        unsettled_pico INTEGER NOT NULL DEFAULT 0,
        seconds REAL NOT NULL DEFAULT 0,
        PRIMARY KEY (teacher, finish_reason)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE workers (
        number INTEGER PRIMARY KEY,
        host TEXT NOT NULL,
        machine TEXT NOT NULL,
        pid INTEGER NOT NULL,
        process_start INTEGER NOT NULL,
        started_utc_ms INTEGER NOT NULL,
        heartbeat_utc_ms INTEGER NOT NULL,
        ended_utc_ms INTEGER
    )
    """,
    """
    CREATE TABLE batches (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        provider TEXT NOT NULL,
        remote_id TEXT,
        state TEXT NOT NULL,
        num_requests INTEGER NOT NULL,
        created_utc_ms INTEGER NOT NULL,
        settled_utc_ms INTEGER,
        note TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE runs (
        number INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        offset_bytes INTEGER NOT NULL DEFAULT 0,
        num_rows INTEGER NOT NULL DEFAULT 0,
        prefix_sha256 TEXT
    )
    """,
    """
    CREATE TABLE held (
        run INTEGER NOT NULL,
        request INTEGER NOT NULL,
        PRIMARY KEY (run, request)
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE memos (
        key TEXT PRIMARY KEY,
        text TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    f"CREATE INDEX calls_answered ON calls (request) WHERE {IS_ANSWER}",
    f"CREATE INDEX calls_unanswered ON calls (request, run) WHERE {IS_NO_ANSWER}",
    "CREATE INDEX open_calls_in_batch ON open_calls (batch) WHERE batch IS NOT NULL",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)
