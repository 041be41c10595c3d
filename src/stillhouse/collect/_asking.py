"""What is still to be asked of one teacher: new prompts, earlier tries, calls that were lost."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from stillhouse.collect._source import START, PromptSource, Survey
from stillhouse.collect._tally import Tally
from stillhouse.records import ItemError, Prompt, Request, Sampling
from stillhouse.runlog import Answer, Ledger, ReadPosition
from stillhouse.teachers import Teacher

_READ_AT_ONCE = 256  # requests are looked up in the ledger, and claimed, in groups
_NOTE_EVERY_ROWS = 5_000


@dataclass(frozen=True)
class Share:
    """What one teacher is asked.

    Attributes:
        teacher: Who is asked.
        name: What prompts call it that are for one teacher only.
        sampling: How it answers.
        samples_per_prompt: How often it answers each prompt.
    """

    teacher: Teacher
    name: str
    sampling: Sampling
    samples_per_prompt: int

    def requests_for(self, prompt: Prompt) -> list[Request]:
        """One request per sample; none where the prompt is for another teacher."""
        if prompt.teacher not in (None, self.name):
            return []
        return [
            Request.of(
                prompt,
                teacher=self.teacher.info.id,
                sampling=self.sampling,
                sample_index=sample_index,
            )
            for sample_index in range(self.samples_per_prompt)
        ]


class Asking:
    """One teacher's share of a collection, asked through the ledger.

    Its methods are called by one thread, the ledger's.

    Args:
        share: What is asked of whom.
        source: The prompts.
        survey: Of the prompts.
        ledger: Where every request and answer goes.
        run_key: Names this share in the ledger, for later attempts at it.
        max_tries: Times that a request is sent at most.
        reserves_cost: Whether the ledger is told what each call can cost.

    Attributes:
        share: As given.
        tally: What this attempt's answers came to.
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
        *,
        run_key: str,
        max_tries: int,
        reserves_cost: bool,
    ) -> None:
        self.share = share
        self.tally = Tally()
        self.failures: dict[str, ItemError] = {}
        self.num_requests = survey.num_asked(share.name) * share.samples_per_prompt
        self._source = source
        self._survey = survey
        self._ledger = ledger
        self._run_key = run_key
        self._max_tries = max_tries
        self._reserves_cost = reserves_cost
        self._again: deque[Request] = deque()
        self._open: dict[str, Request] = {}
        self._tries: dict[str, int] = {}
        self._held: dict[str, Request] = {}
        position, num_left = self._resume()
        self._read_to = self._noted = position
        self._fresh = self._requests(position)
        self.num_settled = survey.num_asked_before(position) * share.samples_per_prompt - num_left

    @property
    def has_more(self) -> bool:
        """Whether something can be asked at once: tries are left, or others gave it up."""
        return bool(self._again)

    @property
    def is_held_up(self) -> bool:
        """Whether another process is asking what is left."""
        return bool(self._held)

    @property
    def num_left(self) -> int:
        """Requests that are neither answered nor given up."""
        return self.num_requests - self.num_settled

    def next_requests(self, num_wanted: int) -> list[Request]:
        """Up to so many requests, written to the ledger as about to be sent; none when all are."""
        while True:
            group = self._read(min(num_wanted, _READ_AT_ONCE))
            if not group:
                self._note_read()
                return []
            claimed = self._claim(group)
            if self._read_to.num_rows - self._noted.num_rows >= _NOTE_EVERY_ROWS:
                self._note_read()
            if claimed:
                return claimed

    def settle(self, answers: Sequence[Answer]) -> None:
        """Write down what came back, and count it."""
        self._ledger.record_answers(answers)
        for answer in answers:
            request = self._open.pop(answer.request_id)
            if answer.error is None:
                self.tally.add(self.share.teacher.info.id, answer)
                self._tries.pop(answer.request_id, None)
                self.num_settled += 1
            else:
                self._take_error(request, answer.error)

    def look_again(self) -> None:
        """Count what other processes have answered; the rest of theirs can be tried again."""
        known = self._ledger.answered_ids(self._held)
        self.num_settled += len(known)
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

    def _claim(self, group: list[Request]) -> list[Request]:
        reserves = None
        if self._reserves_cost:
            reserves = [self.share.teacher.worst_cost_usd(request) or 0.0 for request in group]
        claimed = self._ledger.claim(group, reserved_usd=reserves, run_key=self._run_key)
        self._open.update((request.id, request) for request in claimed)
        if len(claimed) < len(group):
            mine = {request.id for request in claimed}
            others = [request for request in group if request.id not in mine]
            known = self._ledger.answered_ids(request.id for request in others)
            self.num_settled += len(known)
            self._held.update((one.id, one) for one in others if one.id not in known)
        return claimed

    def _take_error(self, request: Request, error: ItemError) -> None:
        tries = self._tries.get(request.id, 0) + 1
        if error.retryable and tries < self._max_tries:
            self._tries[request.id] = tries
            self._again.append(request)
        else:
            self._tries.pop(request.id, None)
            self.failures[request.id] = error
            self.num_settled += 1

    def _read(self, num_wanted: int) -> list[Request]:
        group = [self._again.popleft() for _ in range(min(num_wanted, len(self._again)))]
        group += islice(self._left_behind, num_wanted - len(group))
        for before, request in islice(self._fresh, num_wanted - len(group)):
            self._read_to = before  # the row itself may have requests that are not read yet
            group.append(request)
        return group

    def _requests(self, after: ReadPosition) -> Iterator[tuple[ReadPosition, Request]]:
        """Requests from a position on, each with the position before its row."""
        for prompt, end in self._source.iterate(self._survey, after):
            for request in self.share.requests_for(prompt):
                yield after, request
            after = end

    def _note_read(self) -> None:
        if self._read_to.num_rows > self._noted.num_rows:
            self._noted = self._read_to
            self._ledger.note_read(self._run_key, self._read_to)
