"""What a collection would still take, from its prompts, its teachers and what the ledger holds."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from stillhouse.collect._config import CollectConfig
from stillhouse.collect._estimate import AskedTeacher, Estimate, estimate
from stillhouse.collect._shares import Share, check_routes, open_shares
from stillhouse.collect._source import PromptSource
from stillhouse.collect._survey import Survey
from stillhouse.records import Prompt, Request, Usage
from stillhouse.runlog import Ledger

_READ_AT_ONCE = 256
_MOST_PILOT = 500  # answers to learn from; fifty are enough for 15 %


def forecast(
    prompts: Path | Sequence[Prompt],
    *,
    teacher: str | Mapping[str, str],
    config: CollectConfig,
    ledger: Path,
    expected_tokens: float | None = None,
) -> Estimate:
    """What `collect` with the same arguments would take; nothing is sent, and nothing written.

    What `ledger` has an answer to is left out, and what those answers used says what the others
    will.

    Args:
        prompts: As in `collect`.
        teacher: As in `collect`.
        config: As in `collect`.
        ledger: The collection's; it need not exist.
        expected_tokens: How long a completion will be, where no answer tells.

    Raises:
        DataError, ConfigError: as in `collect`.
    """
    source = PromptSource(prompts)
    survey = source.survey()
    with ExitStack() as stack:
        book = stack.enter_context(Ledger(ledger)) if ledger.exists() else None
        shares = stack.enter_context(open_shares(teacher, config, book))
        check_routes(survey, shares)
        return estimate(
            [_asked(share, (source, survey), book, config, expected_tokens) for share in shares]
        )


def _asked(
    share: Share,
    prompts: tuple[PromptSource, Survey],
    ledger: Ledger | None,
    config: CollectConfig,
    expected_tokens: float | None,
) -> AskedTeacher:
    teacher = share.teacher
    is_batched = config.access.prefers_batches and teacher.batch_client() is not None
    return AskedTeacher(
        name=teacher.info.id,
        requests=_unanswered(share, prompts, ledger),
        price=teacher.allowance.price,
        tier="batch" if is_batched else "standard",
        concurrency=teacher.allowance.concurrency,
        requests_per_minute=teacher.allowance.requests_per_minute,
        tokens_per_minute=teacher.allowance.tokens_per_minute,
        expected_tokens=expected_tokens,
        pilot=list(islice(_answered(share, prompts, ledger), _MOST_PILOT)),
    )


def _unanswered(
    share: Share, prompts: tuple[PromptSource, Survey], ledger: Ledger | None
) -> Iterator[Request]:
    for group in _groups(share, prompts):
        known = ledger.answered_ids(group) if ledger is not None else set()
        yield from (request for id_, request in group.items() if id_ not in known)


def _answered(
    share: Share, prompts: tuple[PromptSource, Survey], ledger: Ledger | None
) -> Iterator[tuple[Request, Usage]]:
    if ledger is None:
        return
    for group in _groups(share, prompts):
        for answer in ledger.answered(group):
            yield group[answer.request_id], answer.usage


def _groups(share: Share, prompts: tuple[PromptSource, Survey]) -> Iterator[dict[str, Request]]:
    source, survey = prompts
    requests = (
        request for prompt, _ in source.iterate(survey) for request in share.requests_for(prompt)
    )
    while group := {request.id: request for request in islice(requests, _READ_AT_ONCE)}:
        yield group
