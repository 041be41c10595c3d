"""Who is asked what: the teachers of a collection, each with its share of the prompts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stillhouse.collect._config import AccessConfig, CollectConfig
from stillhouse.collect._survey import Survey
from stillhouse.errors import ConfigError, RecordError
from stillhouse.records import Prompt, Request, Sampling
from stillhouse.runlog import Ledger
from stillhouse.teachers import (
    Access,
    GateOf,
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
        if prompt.labels and not self.teacher.info.reads_labels:
            prompt = prompt.model_copy(update={"labels": ()})
        return [
            Request.of(
                prompt,
                teacher=self.teacher.info.id,
                sampling=self.sampling,
                sample_index=sample_index,
            )
            for sample_index in range(self.samples_per_prompt)
        ]

    def num_requests(self, survey: Survey) -> int:
        """All that it is asked, one for each row and sample."""
        return survey.num_asked(self.name) * self.samples_per_prompt


@contextmanager
def open_shares(
    teacher: str | Teacher | Mapping[str, str],
    config: CollectConfig,
    ledger: Ledger | None,
    *,
    gate_of: GateOf | None = None,
    num_sharing: int = 1,
) -> Iterator[list[Share]]:
    """The teachers, open while the block runs; a teacher that was given open stays open.

    Args:
        teacher: As in `collect`.
        config: How they are asked.
        ledger: Where what was spent stands; None where there is none yet, or others watch it.
        gate_of: The gate of each API teacher, where others wait at it too.
        num_sharing: Processes that do.

    Raises:
        ConfigError: there is none, one is there twice, a spec or price is wrong, or there is a
            budget and a price is unknown.
        LogprobsUnavailableError: one cannot give what `config.sampling` asks for.
    """
    with ExitStack() as stack:
        teachers: dict[str, Teacher]
        if isinstance(teacher, str | Mapping):
            specs = {"": teacher} if isinstance(teacher, str) else dict(teacher)
            access = replace(_access(config.access), gate_of=gate_of, num_sharing=num_sharing)
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
        _check_budget(config.access.budget_usd, teachers.values(), ledger)
        yield [
            Share(one, name, config.sampling, config.samples_per_prompt)
            for name, one in teachers.items()
        ]


def _access(config: AccessConfig) -> Access:
    return Access(
        requests_per_minute=config.requests_per_minute,
        tokens_per_minute=config.tokens_per_minute,
        concurrency=config.concurrency,
        prices=read_prices(Path(config.prices)) if config.prices else {},
        timeout_s=config.timeout_s,
        deadline_s=config.deadline_s,
        is_streamed=config.stream,
    )


def _check_budget(
    cap_usd: float | None, teachers: Iterable[Teacher], ledger: Ledger | None
) -> None:
    """Find out before anything is sent that costs cannot be counted."""
    if cap_usd is None:
        return
    for teacher in teachers:
        if teacher.allowance.price is None:
            raise without_price(teacher.info.id)
    if ledger is not None:
        ledger.check_budget(cap_usd)


def without_price(teacher_id: str) -> ConfigError:
    """Why a teacher cannot be asked under a budget."""
    return ConfigError(
        f"A budget is set, but the price of {teacher_id} is unknown. Give its price, or run "
        "without a budget."
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
