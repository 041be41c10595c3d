"""Logs of requests, as `stillhouse serve --log` writes them: what teachers answered there.

A student's own answers that nobody checked teach nothing but itself. Audits are drawn at random
from all requests, so that what they say is unbiased: their prompts are held out, and with them
whatever else begins with the same words of a user.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stillhouse.collect._imports._exchange import (
    BadRowError,
    Exchange,
    NoAnswerError,
    ReadRow,
    chat_body,
)
from stillhouse.collect._imports._source import Row
from stillhouse.errors import DataError
from stillhouse.records import Message, Split
from stillhouse.scrubbing import scrub_texts
from stillhouse.servicelog import AuditRow, LogAnswer, LogAsked, RequestRow, read_log

SERVED = "served"
"""The one field of a log's row; it holds a `Served`."""

_CHUNK_BYTES = 1 << 20
_GROUP_HEX_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Served:
    """A row of a log, and what it hangs together with.

    Attributes:
        row: As it was written.
        group: What it begins with, as a hash; None where no content was kept.
        split: Held out where an audit has the same beginning.
        counts_unchecked: Whether what the student answered counts like a teacher's answer.
    """

    row: RequestRow | AuditRow
    group: str | None
    split: Split
    counts_unchecked: bool


def read_served(row: ReadRow) -> list[Exchange]:
    """The exchanges of a logged request or audit: one for each answer of the teacher.

    Raises:
        NoAnswerError: no teacher answered, or its answer was not whole; or it was no conversation
            that a prompt can be made of, or no content was kept.
        BadRowError: the row is of no log.
    """
    served = row.get(SERVED)
    if not isinstance(served, Served):
        raise BadRowError("malformed", "this is no row of a log of requests")
    logged = served.row
    asked = _conversation(logged)
    if isinstance(logged, AuditRow):
        return [_exchange(served, asked, logged.answer, logged.teacher)]
    if logged.route not in ("student", "teacher") or logged.status != 200:
        raise NoAnswerError("cancelled" if logged.cancelled else "failed_call")
    if logged.route == "student" and not served.counts_unchecked:
        raise NoAnswerError("unchecked_student_answer")
    model = logged.teacher or logged.model
    if logged.route == "student":
        model = f"student:{logged.version}"
    return [_exchange(served, asked, answer, model) for answer in logged.answers]


def _conversation(row: RequestRow | AuditRow) -> LogAsked:
    asked = row.asked
    if asked is None or not (asked.messages or asked.text):
        raise NoAnswerError("no_content")
    if not asked.messages:
        raise NoAnswerError("no_conversation")
    if asked.tools:
        raise NoAnswerError("with_tools")  # its calls are told in words of the server's own
    if asked.messages[-1].role == "assistant":
        raise NoAnswerError("prefilled")
    return asked


def _exchange(served: Served, asked: LogAsked, answer: LogAnswer, model: str) -> Exchange:
    if answer.text is None:
        raise NoAnswerError("no_content")
    if answer.finish_reason is None:
        raise NoAnswerError("not_whole")
    if not answer.text:
        raise NoAnswerError("empty")
    return Exchange(
        messages=asked.messages,
        body=chat_body(
            {"role": "assistant", "content": answer.text},
            model=model,
            finish_reason=answer.finish_reason,
            usage={"completion_tokens": answer.num_tokens} if answer.num_tokens else None,
            created=served.row.at.isoformat(),
        ),
        output_schema=asked.output_schema,
        split=served.split,
        group=served.group,
    )


class ServedOrigin:
    """What a log holds at this moment; servers may go on writing it.

    Args:
        folder: Of the log.
        counts_unchecked: Whether what the student answered counts like a teacher's answer.

    Raises:
        ConfigError: it holds none.
    """

    def __init__(self, folder: Path, *, counts_unchecked: bool = False) -> None:
        self.path = folder
        self._counts_unchecked = counts_unchecked
        self.made_utc = datetime.now(UTC)  # every row says when it came
        self._log = read_log(folder)
        self.sha256 = _sha256(self._log.files)

    def rows(self) -> Iterator[Row]:
        """The requests and audits, file by file."""
        # Twice through the log: what is audited late holds out what came before.
        audited = {_group(row) for row in self._log if isinstance(row, AuditRow) or row.audited}
        for number, row in enumerate(self._log, start=1):
            group = _group(row)
            is_held_out = group is not None and group in audited
            split: Split = "held_out" if is_held_out else "train"
            served = Served(row, group, split, self._counts_unchecked)
            yield Row(f"row {number} ({row.id})", {SERVED: served})
        for number in range(self._log.num_damaged):
            problem = "a line that is no row of a log"
            yield Row(f"damaged line {number + 1}", BadRowError("damaged", problem))

    def check_unchanged(self) -> None:
        """Refuse a log of which something went away; what was added since is not read.

        Raises:
            DataError: a file is shorter than it was, or gone.
        """
        for path, size in self._log.files:
            if not path.is_file() or path.stat().st_size < size:
                raise DataError(f"{path} changed while it was read. Import it again.")


def _group(row: RequestRow | AuditRow) -> str | None:
    """What a conversation begins with: all turns of one conversation have the same.

    Over what scrubbing leaves, so that texts which become equal by it stay together.
    """
    if row.asked is None or not row.asked.messages:
        return None
    begin = _beginning(row.asked.messages)
    words = [" ".join(text.casefold().split()) for text in scrub_texts(begin)]
    digest = hashlib.sha256("\0".join(words).encode("utf-8", "replace"))
    return digest.hexdigest()[:_GROUP_HEX_DIGITS]


def _beginning(messages: tuple[Message, ...]) -> list[str]:
    """The texts up to the first one of a user, that one too."""
    begin = []
    for message in messages:
        begin.append(message.content)
        if message.role == "user":
            break
    return begin


def _sha256(files: tuple[tuple[Path, int], ...]) -> str:
    """Of what is read of the files, whatever follows later."""
    digest = hashlib.sha256()
    for path, size in files:
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as stream:
            while size > 0 and (chunk := stream.read(min(_CHUNK_BYTES, size))):
                digest.update(chunk)
                size -= len(chunk)
    return digest.hexdigest()
