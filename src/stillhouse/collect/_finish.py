"""From the ledger to the artefact: the answers of a collection, in the order of its prompts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from stillhouse.artifacts import Artifact, ArtifactWriter, Counts, TeacherRef
from stillhouse.collect._config import CollectConfig
from stillhouse.collect._shares import Share
from stillhouse.collect._source import PromptSource
from stillhouse.collect._survey import Survey
from stillhouse.collect._tally import Tally
from stillhouse.provenance import teacher_terms, terms_result
from stillhouse.records import Completion, ItemError, Prompt, Request
from stillhouse.runlog import Ledger, OpenCall
from stillhouse.teachers import MalformedAnswerError, TeacherInfo, read_answer
from stillhouse.terms import TermsRecord

_REPEATED = "duplicate_prompt"
_UNREADABLE = "unreadable_answer"
_ERASED = "erased"  # from the ledger, by who asked for it: `stillhouse forget --erase`
_READ_AT_ONCE = 256
T = TypeVar("T")

_OWN = frozenset({"fake", "replay", "local", "gguf"})


class Harvest:
    """What a collection asked, and where its answers are.

    Args:
        shares: What was asked of whom.
        source: The prompts.
        survey: Of the prompts.
        ledger: The answers.
        failures: Why requests have none, by id.
        terms: The verdict over the teachers.

    Attributes:
        tally: Sums over the completions that were read so far.
        dropped: Requests without a completion, by reason.
    """

    def __init__(
        self,
        shares: Sequence[Share],
        source: PromptSource,
        survey: Survey,
        ledger: Ledger,
        failures: Mapping[str, ItemError],
        terms: TermsRecord,
    ) -> None:
        self._shares = shares
        self._source = source
        self._survey = survey
        self._ledger = ledger
        self._failures = failures
        self._terms = terms
        self.tally = Tally()
        self.dropped: Counter[str] = Counter()

    def write(self, writer: ArtifactWriter, config: CollectConfig, seconds: float) -> Artifact:
        """Write completions, prompts and manifest.

        Args:
            writer: Of the artefact.
            config: How it was collected.
            seconds: Spent on asking.

        Raises:
            DataError: the file of prompts is not the one that was asked.
        """
        self._source.check_unchanged()
        num_kept = writer.write_rows("completions", self._completions(), Completion)
        prompts = (row.prompt for row in self._source.iterate(self._survey))
        writer.write_rows("prompts", prompts, Prompt)
        if self._survey.repeats:
            num_repeated = self._survey.num_repeated(len(self._shares))
            self.dropped[_REPEATED] += num_repeated * config.samples_per_prompt
        infos = [share.teacher.info for share in self._shares]
        return writer.finish(
            counts=Counts.model_validate(
                {
                    "in": num_kept + sum(self.dropped.values()),
                    "kept": num_kept,
                    "dropped": dict(sorted(self.dropped.items())),
                }
            ),
            usage=self.tally.total(seconds),
            teacher=_teacher_ref(infos, self.tally.models, self._terms),
            tokenizer_sha256=_only(info.tokenizer_sha256 for info in infos),
            chat_template_sha256=_only(info.chat_template_sha256 for info in infos),
            sampling=config.sampling,
            watermark=_only({info.watermark for info in infos} - {None}),
            seeds={"sampling": config.sampling.seed},
            results={
                **terms_result(self._terms),
                "by_teacher": [row.model_dump(mode="json") for row in self.tally.outcomes()],
                "calls_maybe_paid": _listed(self._ledger.lost_calls()),
            },
        )

    def _completions(self) -> Iterator[Completion]:
        requests = self._requests()
        while group := list(islice(requests, _READ_AT_ONCE)):
            answers = {
                answer.request_id: answer
                for answer in self._ledger.answered(request.id for request in group)
            }
            for request in group:
                answer = answers.get(request.id)
                if answer is None:
                    error = self._failures.get(request.id)
                    self.dropped[error.type if error else "no_answer"] += 1
                    continue
                if not answer.body:
                    self.dropped[_ERASED] += 1
                    continue
                try:
                    completion = read_answer(answer, request)
                except MalformedAnswerError:
                    self.dropped[_UNREADABLE] += 1
                    continue
                self.tally.add(request.teacher, answer)
                yield completion

    def _requests(self) -> Iterator[Request]:
        """Every request, prompt by prompt."""
        for prompt, _ in self._source.iterate(self._survey):
            for share in self._shares:
                yield from share.requests_for(prompt)


def _listed(calls: Sequence[OpenCall]) -> list[dict[str, str]]:
    """Calls that nobody heard of again, so that their bill can be looked up."""
    return [
        {
            "request_id": call.request_id,
            "prompt_id": call.prompt_id,
            "teacher": call.teacher,
            "sent_utc": call.sent_utc.isoformat(),
        }
        for call in calls
    ]


def _teacher_ref(infos: Sequence[TeacherInfo], models: set[str], terms: TermsRecord) -> TeacherRef:
    if len(infos) > 1:
        return TeacherRef(
            id=" + ".join(info.id for info in infos), provider="several", revision=None
        )
    (info,) = infos
    revision = info.revision
    if revision is None and info.provider not in _OWN and len(models) == 1:
        revision = next(iter(models))  # an API's revision is the dated model that answered
    return TeacherRef(
        id=info.id, provider=info.provider, revision=revision, terms=teacher_terms(terms)
    )


def _only(values: Iterable[T | None]) -> T | None:
    """What all agree on, else None."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None
