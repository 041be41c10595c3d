"""Requests, answers and dead processes for the tests of the ledger."""

import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from stillhouse.records import ItemError, Message, Prompt, Request, Sampling, Usage
from stillhouse.runlog import Answer, Ledger


def a_request(text: str, sample_index: int = 0, teacher: str = "fake:t") -> Request:
    prompt = Prompt(id=f"p-{text[:60]}", messages=(Message(role="user", content=text),))
    return Request.of(prompt, teacher=teacher, sampling=Sampling(), sample_index=sample_index)


def an_answer(request: Request, text: str = "yes", usage: Usage | None = None) -> Answer:
    return Answer(
        request_id=request.id,
        dialect="d",
        body=text.encode(),
        finish_reason="stop",
        model="m-1",
        usage=usage or Usage(prompt_tokens=3, completion_tokens=2, cost_usd=0.5, seconds=0.25),
        response_id="r-1",
    )


def a_failure(request: Request, message: str = "too slow") -> Answer:
    error = ItemError(type="timeout", message=message, retryable=True)
    return Answer(
        request_id=request.id, dialect="d", body=b"", finish_reason="error", model="m", error=error
    )


def ask(ledger: Ledger, *answers: tuple[Request, Answer]) -> None:
    ledger.claim([request for request, _ in answers])
    ledger.record_answers([answer for _, answer in answers])


def answer_in(ledger: Ledger, request_id: str) -> Answer | None:
    """The first answer to one request; None while it has none."""
    return next(ledger.answered([request_id]), None)


def request_in(ledger: Ledger, request_id: str) -> Request | None:
    """A request that was claimed once, or None."""
    return next(ledger.requests([request_id]), None)


def ids_of(requests: Sequence[Request]) -> list[str]:
    return [request.id for request in requests]


@cache
def a_dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def run_sql(path: Path, statement: str, *parameters: object) -> None:
    """What another program does to the file."""
    db = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        db.execute(statement, parameters)
    finally:
        db.close()


def select(path: Path, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    db = sqlite3.connect(path, timeout=10)
    try:
        return db.execute(statement, parameters).fetchall()
    finally:
        db.close()
