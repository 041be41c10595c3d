"""Ledgers, as `stillhouse proxy` and `collect` write them: the calls that were answered."""

from collections.abc import Iterator
from dataclasses import replace

import orjson

from stillhouse.collect._imports._asked import request_of
from stillhouse.collect._imports._exchange import (
    BadRowError,
    Exchange,
    Kept,
    NoAnswerError,
    ReadRow,
)
from stillhouse.records import Prompt, Sampling, Usage
from stillhouse.runlog import Answer, Recorded
from stillhouse.teachers._dialects import DIALECTS

RECORDED = "recorded"
"""The one field of a ledger's row; it holds a `Recorded`."""


def read_recorded(row: ReadRow) -> list[Exchange]:
    """The exchanges of a recorded call: one for each choice.

    Raises:
        NoAnswerError: the prompt is not whole without what only the provider has, or without its
            images; or the answer only goes on with the caller's own words.
        BadRowError: the row is of no ledger, or its request cannot be read.
    """
    recorded = row.get(RECORDED)
    if not isinstance(recorded, Recorded):
        raise BadRowError("malformed", "this is no row of a ledger")
    prompt, sampling = _asked(recorded)
    if prompt.messages[-1].role == "assistant":
        raise NoAnswerError("prefilled")
    return [
        Exchange(
            messages=prompt.messages,
            body={},
            tools=prompt.tools,
            output_schema=prompt.output_schema,
            labels=prompt.labels,
            kept=Kept(answer, recorded.request.teacher, sampling),
        )
        for answer in _one_by_one(recorded.answer)
    ]


def _asked(recorded: Recorded) -> tuple[Prompt, Sampling]:
    """What was asked: read again from the application's own bytes where they were kept."""
    request = recorded.request
    if recorded.raw_request is None or recorded.answer.dialect not in DIALECTS:
        prompt = Prompt(
            id=request.prompt_id,
            messages=request.messages,
            tools=request.tools,
            output_schema=request.output_schema,
            labels=request.labels,
        )
        return prompt, request.sampling
    model = request.teacher.partition(":")[2]
    asked = request_of(recorded.raw_request, recorded.answer.dialect, model=model)
    if asked.lacks:
        raise NoAnswerError("not_whole")
    return asked.prompt, asked.sampling


def _one_by_one(answer: Answer) -> Iterator[Answer]:
    """An answer with several choices, one by one; what all cost together is counted once."""
    if answer.dialect != "openai_chat" or answer.body.count(b'"finish_reason"') < 2:
        yield answer
        return
    body = orjson.loads(answer.body)
    for index, choice in enumerate(body["choices"]):
        one = replace(answer, body=orjson.dumps({**body, "choices": [choice]}))
        yield one if index == 0 else replace(one, usage=Usage(cost_usd=0.0))
