"""One teacher's batches: handed over, looked at, taken back, each step in the ledger first."""

import logging
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Literal

from stillhouse.collect._asking import Asking
from stillhouse.collect._batch_chunks import Chunks
from stillhouse.collect._config import AccessConfig
from stillhouse.errors import TeacherError, TeacherUnavailableError
from stillhouse.records import ItemError
from stillhouse.runlog import Answer, Batch, BatchState, Ledger
from stillhouse.teachers import (
    NOT_SENT,
    QUEUE_FULL,
    BatchMissingError,
    BatchRefusedError,
    BatchUnclearError,
    RemoteBatch,
    SoughtBatch,
    name_of,
)

if TYPE_CHECKING:
    from stillhouse.teachers._batch._client import BatchClient

logger = logging.getLogger(__name__)

_AT_ONCE = 256
_NUM_SEARCHES = 3  # a list may lag behind: a batch is given up when it is in none of three
_NUM_DOWNLOADS = 5


class Lane:
    """The batches of one teacher in one ledger, those of earlier attempts and other runs included.

    Args:
        asking: What is to be asked.
        client: The provider's batch API.
        ledger: Where every step is written first.
        access: Sizes, budget.
        submits: Whether new batches are made; False only brings the earlier ones to their end.
    """

    def __init__(
        self,
        asking: Asking,
        client: "BatchClient",
        ledger: Ledger,
        access: AccessConfig,
        *,
        submits: bool,
    ) -> None:
        self.asking = asking
        self.submits = submits
        self._client = client
        self._ledger = ledger
        self._may_forget = access.forget_missing_batches
        self._teacher = asking.share.teacher.info.id
        self._batches: dict[str, Batch] = {}
        self._num_done: dict[str, int] = {}
        self._num_troubles: Counter[str] = Counter()
        self._is_full = False
        self._taken: set[str] = set()
        self._chunks = Chunks(asking, client, access, self._taken)

    @property
    def is_waiting(self) -> bool:
        """Whether batches are under way, or have to wait for room at the provider."""
        return bool(self._batches) or self._is_full

    @property
    def num_batches(self) -> int:
        """Batches under way."""
        return len(self._batches)

    @property
    def num_done(self) -> int:
        """Requests of batches under way that are done, as far as the provider says."""
        return sum(self._num_done.values())

    def take_over(self) -> None:
        """Take up the batches that earlier attempts left under way."""
        for batch in unsettled(self._ledger, self._teacher):
            left = self._left(batch)
            if not left:  # killed between the last outcome and the end that it brought about
                state: BatchState = "settled" if batch.remote_id is not None else "failed"
                self._ledger.set_batch_state(batch.id, state, note="all outcomes are recorded")
                continue
            self._batches[batch.id] = batch
            self._taken.update(left)

    def hand_over(self) -> bool:
        """Make one more batch; False when there is nothing to hand over, or no room for more.

        Raises:
            TeacherUnavailableError: the provider takes no batches, or not from this key.
            ConfigError: there is a budget and no price.
        """
        if not self.submits or self._is_full:
            return False
        chunk = self._chunks.take()
        batch = None
        if chunk:
            claim = self.asking.open_batch(
                [one.request for one in chunk], [one.worst_usd for one in chunk]
            )
            batch = claim.batch
            if claim.shortage is not None:
                self._chunks.put_back(chunk, claim.shortage.requests)
        if self._chunks.is_between:
            self.asking.note_read()
        if batch is not None:
            self._batches[batch.id] = batch
            self._create(batch)
        return bool(chunk) and self.asking.shortage is None

    def look(self) -> Iterator[bool]:
        """Look at every batch once, and take what has come; yields whether something changed.

        Raises:
            TeacherError: the provider refuses the key, does not know a batch of ours, or gives
                results that cannot be read.
        """
        self._is_full = self._is_full and bool(self._batches)
        for batch in list(self._batches.values()):
            try:
                if batch.remote_id is None:
                    yield self._adopt(batch)
                else:
                    yield from self._look_at(batch, batch.remote_id)
            except BatchMissingError as err:
                yield self._miss(batch, err)
            except BatchRefusedError as err:
                raise TeacherUnavailableError(
                    f"{self._teacher} refuses to tell of batch {batch.remote_id or batch.id} "
                    f"({err}). Run the same command to go on."
                ) from err
            except BatchUnclearError as err:
                # It may be over in an hour, and nothing is lost by waiting.
                logger.warning("%s: no news of batch %s: %s", self._teacher, batch.id, err)

    def _create(self, batch: Batch) -> None:
        """Create a batch at the provider; where that is in doubt, it is looked for later."""
        with tempfile.TemporaryFile(dir=self._ledger.path.parent) as file:
            self._client.write(batch.id, self._ledger.batch_requests(batch.id), file)
            try:
                remote = self._client.create(batch.id, file)
            except BatchRefusedError as err:
                # Where it may pass, it came too fast, or too much is under way there.
                kind = QUEUE_FULL if err.refusal.is_retryable else err.refusal.kind
                error = ItemError(
                    type=kind, message=err.refusal.message, retryable=err.refusal.is_retryable
                )
                self._end(batch, error, "failed")
            except BatchUnclearError as err:
                logger.warning("%s: batch %s is in doubt: %s", self._teacher, batch.id, err)
            else:
                self._name(batch, remote)

    def _adopt(self, batch: Batch) -> bool:
        """Look for a batch that was maybe created before its name could be written down."""
        known = {one.remote_id for one in self._ledger.batches() if one.remote_id is not None}
        found = self._client.find(
            SoughtBatch(batch.id, batch.num_requests, batch.created_utc, frozenset(known))
        )
        if found.remote is not None:
            self._name(batch, found.remote)
            return True
        if found.is_unclear:
            return False
        self._num_troubles[batch.id] += 1
        if self._num_troubles[batch.id] < _NUM_SEARCHES:
            return False
        error = ItemError(type=NOT_SENT, message="the batch was not created", retryable=True)
        self._end(batch, error, "failed")
        return True

    def _name(self, batch: Batch, remote: RemoteBatch) -> None:
        self._ledger.name_batch(batch.id, remote.id)
        self._num_troubles.pop(batch.id, None)
        self._batches[batch.id] = replace(batch, remote_id=remote.id, state="running")

    def _look_at(self, batch: Batch, remote_id: str) -> Iterator[bool]:
        remote = self._client.look(remote_id)
        has_moved = remote.num_done != self._num_done.get(batch.id, 0)
        self._num_done[batch.id] = remote.num_done
        yield has_moved
        if remote.state == "running":
            return
        if batch.state != "ended":
            self._ledger.set_batch_state(batch.id, "ended")
            batch = self._batches[batch.id] = replace(batch, state="ended")
        yield from self._take_results(batch, remote)

    def _take_results(self, batch: Batch, remote: RemoteBatch) -> Iterator[bool]:
        """Record what has come, as often as that is interrupted; then settle the batch."""
        waiting = {name_of(batch.id, request_id): request_id for request_id in self._left(batch)}
        try:
            for group in self._client.results(remote, self._ledger.path.parent):
                answers = [
                    self._client.answer(row, waiting.pop(row.name), remote)
                    for row in group
                    if row.name in waiting
                ]
                if answers:
                    self._record(answers)
                    yield True
        except BatchUnclearError as err:
            self._num_troubles[batch.id] += 1
            if self._num_troubles[batch.id] < _NUM_DOWNLOADS:
                raise
            raise TeacherError(
                f"{self._teacher}: the results of batch {remote.id} cannot be read ({err}). They "
                "stay at the provider for days; run the same command to try again."
            ) from err
        if remote.unanswered is not None:
            self._end(batch, remote.unanswered, "failed" if remote.state == "failed" else "settled")
        else:
            self._lose(batch, note=remote.note)
        yield True

    def _miss(self, batch: Batch, err: BatchMissingError) -> bool:
        """The provider does not know a batch, or its results: a person has to decide."""
        if not self._may_forget:
            raise TeacherUnavailableError(
                f"{self._teacher} knows no batch {batch.remote_id}, or not its results ({err}). "
                "Set the key of the account that made it. If it is gone for good, its requests are "
                "asked, and maybe paid, again with --set access.forget_missing_batches=true."
            ) from err
        self._lose(batch, note="missing at the provider")
        return True

    def _end(self, batch: Batch, error: ItemError, state: Literal["settled", "failed"]) -> None:
        """Record why the rest of a batch was not worked on, and close it."""
        is_tried = error.type not in (QUEUE_FULL, NOT_SENT)
        left = iter(self._left(batch))
        while group := [self._client.failed(one, error) for one in islice(left, _AT_ONCE)]:
            self._record(group, is_tried=is_tried)
        self._close(batch, state, error.message)
        if error.type == QUEUE_FULL:
            self._is_full = True
            logger.warning("%s has no room for another batch: %s", self._teacher, error.message)

    def _lose(self, batch: Batch, *, note: str) -> None:
        """Close a batch; what is left of it is unknown, and maybe paid."""
        left = self._left(batch)
        self._close(batch, "settled", note)
        self._taken.difference_update(left)
        message = f"batch {batch.remote_id} ended without a result of it"
        error = ItemError(type="no_result", message=message, retryable=True)
        self.asking.take_errors(dict.fromkeys(left, error))

    def _close(self, batch: Batch, state: Literal["settled", "failed"], note: str) -> None:
        self._ledger.set_batch_state(batch.id, state, note=note)
        self._is_full = False
        self._num_done.pop(batch.id, None)
        del self._batches[batch.id]

    def _record(self, answers: list[Answer], *, is_tried: bool = True) -> None:
        self._taken.difference_update(answer.request_id for answer in answers)
        self.asking.settle(answers, counts_tries=is_tried)

    def _left(self, batch: Batch) -> list[str]:
        """Ids of the requests of a batch that have no outcome yet."""
        return [request.id for request in self._ledger.batch_requests(batch.id)]


def unsettled(ledger: Ledger, teacher: str) -> list[Batch]:
    """A teacher's batches that have not come to their end."""
    return [
        batch
        for batch in ledger.batches()
        if batch.provider == teacher and batch.state not in ("settled", "failed")
    ]
