"""Who is asked what: the teachers of a collection, each with its share of the prompts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from stillhouse.collect._config import AccessConfig, CollectConfig
from stillhouse.collect._source import Survey
from stillhouse.errors import ConfigError, RecordError
from stillhouse.records import Prompt, Request, Sampling
from stillhouse.runlog import Ledger
from stillhouse.teachers import (
    Access,
    Budget,
    Teacher,
    check_top_logprobs,
    open_teacher,
    read_prices,
)


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


@contextmanager
def open_shares(
    teacher: str | Teacher | Mapping[str, str], config: CollectConfig, ledger: Ledger | None
) -> Iterator[list[Share]]:
    """The teachers, open while the block runs; a teacher that was given open stays open.

    Raises:
        ConfigError: there is none, one is there twice, or a spec or price is wrong.
        LogprobsUnavailableError: one cannot give what `config.sampling` asks for.
    """
    with ExitStack() as stack:
        teachers: dict[str, Teacher]
        if isinstance(teacher, str | Mapping):
            specs = {"": teacher} if isinstance(teacher, str) else dict(teacher)
            access = _access(config.access, ledger)
            teachers = {
                name: stack.enter_context(open_teacher(spec, access))
                for name, spec in specs.items()
            }
        else:
            teachers = {"": teacher}
        ids = [one.info.id for one in teachers.values()]
        if not ids:
            raise ConfigError("There is no teacher to ask. Give at least one.")
        if len(set(ids)) < len(ids):
            raise ConfigError(f"Two teachers are {max(ids, key=ids.count)!r}. Give each once.")
        for one in teachers.values():
            check_top_logprobs(one.info, config.sampling)
        yield [
            Share(one, name, config.sampling, config.samples_per_prompt)
            for name, one in teachers.items()
        ]


def _access(config: AccessConfig, ledger: Ledger | None) -> Access:
    budget = None
    if config.budget_usd is not None and ledger is None:
        budget = Budget(config.budget_usd)
    elif config.budget_usd is not None and ledger is not None:
        totals = ledger.totals()
        if totals.cost_usd is None:
            raise ConfigError(
                f"budget_usd is {config.budget_usd:g}, but {ledger.path} holds answers whose price "
                "is not known. Collect into another ledger, or run without a budget."
            )
        budget = Budget(
            config.budget_usd, spent_usd=totals.cost_usd, unknown_usd=totals.unsettled_usd
        )
    return Access(
        requests_per_minute=config.requests_per_minute,
        tokens_per_minute=config.tokens_per_minute,
        concurrency=config.concurrency,
        budget=budget,
        prices=read_prices(Path(config.prices)) if config.prices else {},
        timeout_s=config.timeout_s,
        deadline_s=config.deadline_s,
        is_streamed=config.stream,
    )


def check_routes(survey: Survey, shares: Sequence[Share]) -> None:
    """Refuse prompts for a teacher that is not there.

    Raises:
        RecordError: its name is none of the shares'.
    """
    names = [share.name for share in shares]
    unknown = sorted(set(survey.num_routed) - set(names))
    if unknown:
        known = ", ".join(name for name in names if name) or "not named"
        raise RecordError(
            f"{survey.num_routed[unknown[0]]} prompts are for the teacher {unknown[0]!r}, but the "
            f"teachers of this run are {known}. Name it: --teacher {unknown[0]}=SPEC."
        )
