"""What is still to be asked of one teacher: new prompts, earlier tries, calls that were lost."""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from stillhouse.collect._purse import Purse
from stillhouse.collect._shares import Share, without_price
from stillhouse.collect._source import START, PromptSource
from stillhouse.collect._survey import Survey
from stillhouse.collect._tally import Tally
from stillhouse.records import ItemError, Request
from stillhouse.runlog import Answer, Claim, Ledger, ReadPosition, Shortage
from stillhouse.teachers import FREE, NOT_SENT

_READ_AT_ONCE = 256  # requests are looked up in the ledger, and claimed, in groups
_NOTE_EVERY_ROWS = 5_000


class Asking:
    """One teacher's share of a collection, asked through the ledger.

    Its methods are called by one thread, the ledger's.

    Args:
        share: What is asked of whom.
        source: The prompts.
        survey: Of the prompts.
        ledger: Where every request and answer goes.
        tally: Counts this attempt's answers, those of other teachers with them.
        run_key: Names this share in the ledger, for later attempts at it.
        max_tries: Times that a request is sent at most.
        purse: The budget that it shares with the others.

    Attributes:
        share: As given.
        shortage: What the budget had no room for, at the last claim.
        failures: Why requests have no answer, by id, once they are given up.
        num_requests: All of the share.
        num_settled: Requests that are answered or given up, those of earlier attempts included.
    """

    def __init__(
        self,
        share: Share,
        source: PromptSource,
        survey: Survey,
        ledger: Ledger,
        tally: Tally,
        *,
        run_key: str,
        max_tries: int,
        purse: Purse,
    ) -> None:
        self.share = share
        self.shortage: Shortage | None = None
        self._tally = tally
        self.failures: dict[str, ItemError] = {}
        self.num_requests = share.num_requests(survey)
        self._source = source
        self._survey = survey
        self._ledger = ledger
        self._run_key = run_key
        self._max_tries = max_tries
        self._purse = purse
        self._again: deque[Request] = deque()
        self._without_room: set[str] = set()  # read once, and claimed by nobody
        self._open: dict[str, Request] = {}
        self._tries: dict[str, int] = {}
        self._held: dict[str, Request] = {}
        # Rows that wait for a request: more than one where two ask the same of this teacher, or
        # where a request that was left behind stands after the position as well.
        self._num_waiting: Counter[str] = Counter()
        self._given_up: frozenset[str] = frozenset()
        position, num_left = self._resume()
        self._read_to = self._noted = position
        self._is_all_claimed = True
        self._fresh = self._requests(position)
        self.num_settled = survey.num_asked_before(position) * share.samples_per_prompt - num_left

    @property
    def reserves_cost(self) -> bool:
        """Whether the ledger is told what each call can cost."""
        return self._purse.cap_usd is not None

    @property
    def is_free(self) -> bool:
        """Whether asking costs nothing."""
        return self.share.teacher.allowance.price == FREE

    @property
    def has_more(self) -> bool:
        """Whether something can be asked at once: tries are left, or others gave it up."""
        return bool(self._again) and self.shortage is None

    @property
    def is_held_up(self) -> bool:
        """Whether another process is asking what is left."""
        return bool(self._held)

    @property
    def num_left(self) -> int:
        """Requests that are neither answered nor given up."""
        return self.num_requests - self.num_settled

    def give_up(self, failures: Mapping[str, ItemError]) -> None:
        """Ask nothing of what was tried elsewhere, in vain, in this very run."""
        self.failures.update(failures)
        self._given_up = frozenset(failures)

    def next_requests(self, num_wanted: int) -> list[Request]:
        """Up to so many requests, written to the ledger as about to be sent.

        None when all are, and where the budget has no room for the next one: there is a `shortage`
        then, and it is read again first.

        Raises:
            ConfigError: there is a budget and no price.
        """
        while True:
            group = self._read(min(num_wanted, _READ_AT_ONCE))
            if not group:
                self.note_read()
                return []
            claim = self._claim(group)
            if claim.shortage is not None:
                return claim.requests
            self._is_all_claimed = not self._without_room
            if self._read_to.num_rows - self._noted.num_rows >= _NOTE_EVERY_ROWS:
                self.note_stop()
            if claim.requests:
                return claim.requests

    def read_requests(self, num_wanted: int) -> list[Request]:
        """Up to so many requests for a batch, not claimed yet; none when all were handed out."""
        return self._read(min(num_wanted, _READ_AT_ONCE))

    def open_batch(self, requests: Sequence[Request], reserved_usd: Sequence[float]) -> Claim:
        """Claim requests as one batch; what cannot be had is counted, or held by others.

        What the budget has no room for is the caller's to hold, in the claim's `shortage`.
        """
        claim = self._ledger.open_batch(
            self.share.teacher.info.id,
            requests,
            reserved_usd=reserved_usd if self.reserves_cost else None,
            cap_usd=self._purse.cap_usd,
            run_key=self._run_key,
        )
        self.shortage = claim.shortage
        self._put_off_others(requests, claim)
        return claim

    def refuse(self, request: Request, answer: Answer) -> None:
        """Write down that a request cannot be sent; it costs nothing."""
        claim = self._ledger.claim([request], run_key=self._run_key)
        self._take_up(claim.requests)
        self._put_off_others([request], claim)
        if claim.requests:
            self.settle([answer])

    def note_read(self) -> None:
        """Keep how far the prompts were read: everything before must have been claimed once."""
        if self._survey.num_routed or not self._source.looks_unchanged:
            return  # how many rows before a position are asked, or which, would not be known
        if self._given_up:
            return  # a later run asks these again, and would not find them among its own
        if self._read_to.num_rows > self._noted.num_rows:
            self._noted = self._read_to
            self._ledger.note_read(self._run_key, self._read_to)

    def note_stop(self) -> None:
        """Keep how far a run came that stops here, unless it has read what it did not claim.

        A batch holds back what the budget has no room for, and a claim may fail: such rows would
        never be asked if they stood before the position.
        """
        if self._is_all_claimed:
            self.note_read()

    def settle(self, answers: Sequence[Answer], *, counts_tries: bool = True) -> None:
        """Write down what came back, and count it.

        Args:
            answers: To what this share asked, or to what a batch of another run did.
            counts_tries: Whether errors use up tries; False where nothing was tried.
        """
        self._ledger.record_answers(answers)
        errors: dict[str, ItemError] = {}
        for answer in answers:
            if answer.error is not None:
                errors[answer.request_id] = answer.error
            elif self._is_waiting_for(answer.request_id):
                self._tally.add(self.share.teacher.info.id, answer)
                self._tries.pop(answer.request_id, None)
                self.failures.pop(answer.request_id, None)
                self._let_go(answer.request_id)
                self._count(answer.request_id)
        self.take_errors(errors, counts_tries=counts_tries)

    def take_errors(self, errors: Mapping[str, ItemError], *, counts_tries: bool = True) -> None:
        """Have requests asked again that came to nothing and may come to more, or give them up."""
        elsewhere: list[str] = []
        for request_id, error in errors.items():
            if not self._is_waiting_for(request_id):
                continue  # another run's, or not read yet
            request = self._let_go(request_id)
            if not self._may_try_again(request_id, error, counts_tries=counts_tries):
                self.failures[request_id] = error
                self._count(request_id)
            elif request is not None:
                self._again.append(request)
            else:
                elsewhere.append(request_id)
        self._again.extend(self._ledger.requests(elsewhere))

    def look_again(self) -> None:
        """Count what other processes have answered; the rest of theirs can be tried again."""
        known = self._ledger.answered_ids(self._held)
        for request_id in known:
            self._count(request_id)
        self._again.extend(one for one in self._held.values() if one.id not in known)
        self._held.clear()

    def _resume(self) -> tuple[ReadPosition, int]:
        """Where reading goes on, and how many requests before it have no answer."""
        position = self._ledger.read_position(self._run_key)
        self._left_behind: Iterator[Request] = iter(())
        if position is None or position.prefix_sha256 != self._survey.sha256:
            return START, 0
        left = list(self._ledger.unanswered(self._run_key))
        self._left_behind = self._ledger.requests(left)
        return position, len(left)

    def _claim(self, group: list[Request]) -> Claim:
        claim = self._ledger.claim(
            group,
            reserved_usd=self._reserves(group) if self.reserves_cost else None,
            cap_usd=self._purse.cap_usd,
            run_key=self._run_key,
        )
        self._take_up(claim.requests)
        self._put_off_others(group, claim)
        self.shortage = claim.shortage
        if self._without_room:
            self._without_room.difference_update(request.id for request in group)
        if claim.shortage is not None:
            self._again.extendleft(reversed(claim.shortage.requests))
            self._without_room.update(request.id for request in claim.shortage.requests)
        return claim

    def _reserves(self, requests: Sequence[Request]) -> list[float]:
        teacher = self.share.teacher
        reserves = [teacher.worst_cost_usd(request) for request in requests]
        known = [usd for usd in reserves if usd is not None]
        if len(known) < len(reserves):
            raise without_price(teacher.info.id)
        return known

    def _take_up(self, claimed: Sequence[Request]) -> None:
        self._open.update((request.id, request) for request in claimed)

    def _put_off_others(self, requests: Sequence[Request], claim: Claim) -> None:
        short = [] if claim.shortage is None else claim.shortage.requests
        if len(claim.requests) + len(short) < len(requests):
            told = {request.id for request in (*claim.requests, *short)}
            self._put_off([request for request in requests if request.id not in told])

    def _put_off(self, requests: Sequence[Request]) -> None:
        """Count those that are answered; the others are being asked elsewhere."""
        others = {request.id: request for request in requests}
        known = self._ledger.answered_ids(others)
        for request_id in known:
            self._count(request_id)
        self._held.update((id_, one) for id_, one in others.items() if id_ not in known)

    def _is_waiting_for(self, request_id: str) -> bool:
        return request_id in self._num_waiting

    def _let_go(self, request_id: str) -> Request | None:
        """Take a request out of those under way; None where it is in a batch."""
        return self._open.pop(request_id, None) or self._held.pop(request_id, None)

    def _may_try_again(self, request_id: str, error: ItemError, *, counts_tries: bool) -> bool:
        is_try = counts_tries and error.type != NOT_SENT
        tries = self._tries.get(request_id, 0) + is_try
        if error.retryable and tries < self._max_tries:
            self._tries[request_id] = tries
            return True
        self._tries.pop(request_id, None)
        return False

    def _count(self, request_id: str) -> None:
        """Count all rows that waited for a request that is now answered or given up."""
        self.num_settled += self._num_waiting.pop(request_id, 0)

    def _read(self, num_wanted: int) -> list[Request]:
        group = [self._again.popleft() for _ in range(min(num_wanted, len(self._again)))]
        rows = list(islice(self._left_behind, num_wanted - len(group)))
        for before, request in islice(self._fresh, num_wanted - len(group) - len(rows)):
            self._read_to = before  # the row itself may have requests that are not read yet
            rows.append(request)
        self._num_waiting.update(request.id for request in rows)
        self._is_all_claimed = self._is_all_claimed and not rows
        return group + rows

    def _requests(self, after: ReadPosition) -> Iterator[tuple[ReadPosition, Request]]:
        """Requests from a position on, each with the position before its row."""
        for prompt, end in self._source.iterate(self._survey, after):
            for request in self.share.requests_for(prompt):
                if request.id in self._given_up:
                    self.num_settled += 1
                else:
                    yield after, request
            after = end
