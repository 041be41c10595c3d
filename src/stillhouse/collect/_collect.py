"""Collect: prompts and teachers in, a completions artefact out."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.artifacts import (
    Artifact,
    ArtifactWriter,
    begin_artifact,
    is_up_to_date,
    open_artifact,
)
from stillhouse.collect._asking import Asking
from stillhouse.collect._config import STAGE, CollectConfig
from stillhouse.collect._finish import Harvest
from stillhouse.collect._garbage import rare_garbage_passes
from stillhouse.collect._purse import Purse, purse_of
from stillhouse.collect._run import Run
from stillhouse.collect._shares import Share, check_routes, open_shares
from stillhouse.collect._source import PromptSource, asked_prompts
from stillhouse.collect._survey import Survey
from stillhouse.collect._survey_memory import SurveyMemory
from stillhouse.collect._tally import Tally
from stillhouse.errors import FolderBusyError
from stillhouse.provenance import asking_terms, named_by, recorded_asking, terms_given
from stillhouse.records import Prompt, content_hash
from stillhouse.runlog import Ledger, Listener, ignore_progress
from stillhouse.teachers import (
    ReplayTeacher,
    Teacher,
)
from stillhouse.terms import Terms, TermsRecord

if TYPE_CHECKING:
    from stillhouse.collect._ray import Spread

_LOOK_AGAIN_S = 0.5
_PROMPTS = "prompts_sha256"  # of the settings that make an artefact, the content that goes in


def collect(
    prompts: Path | Sequence[Prompt],
    out: Path,
    *,
    teacher: str | Teacher | Mapping[str, str],
    config: CollectConfig,
    ledger: Path | None = None,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Ask `teacher` every prompt and keep the completions in `out`.

    What the ledger already has an answer to is not asked again, so a stopped run goes on where
    it was; failed requests are asked again. Prompts with the same messages are asked once, and
    the later ones dropped as `duplicate_prompt`. Several processes may work on one collection:
    each asks what no other has asked, and one of them writes the artefact.

    Args:
        prompts: The prompts, or a file that `read_prompts` reads; a file is not held in memory.
            Labels of prompts are for teachers that choose among them, and kept for no other.
        out: Folder of the artefact; one that the same inputs made is returned as it is.
        teacher: A spec; an open teacher, which stays open; or specs by name: a prompt with
            `teacher: NAME` is asked of that one, the others of all.
        config: How to collect.
        ledger: `ledger.sqlite` beside `out` when None.
        config_given: What the user set, for the manifest.
        replace: Whether a finished artefact of other inputs in the way is removed.
        on_progress: Told about every group of completions once it is in the ledger.

    Returns:
        An artefact of the kind `completions`, its rows in the order of the prompts.

    Raises:
        TooManyFailuresError: more than `max_failure_fraction` of the requests failed; nothing is
            finished, and the answers stay in the ledger.
        TeacherError: a teacher cannot answer any further request.
        BudgetExceededError: the next call could cross the budget; what was answered is kept.
        LogprobsUnavailableError: a teacher cannot give `sampling.top_logprobs`.
        DataError: the prompts are wrong, or their file changes under the run.
        ConfigError: a path, a spec or a price is wrong.
        TermsError: the terms of a teacher are not known to allow it; nothing was asked.
    """
    terms = terms_given(config.terms)
    verdict = _verdict(teacher, terms, config, data=_data_of(prompts))
    specs = None
    if config.engine == "ray":
        from stillhouse.collect._ray import Spread, check_spreadable, open_cluster

        specs = check_spreadable(teacher, config)
    source = PromptSource(asked_prompts(prompts, teacher))
    path = ledger or out.parent / "ledger.sqlite"
    with rare_garbage_passes(), ExitStack() as stack:
        # A first run with a mistake in it leaves nothing behind: the ledger is made last.
        book = stack.enter_context(Ledger(path)) if path.exists() else None
        memory = SurveyMemory(source, book)
        survey = memory.survey
        shares = stack.enter_context(open_shares(teacher, config, book))
        check_routes(survey, shares)
        target = _Target(
            out,
            resolved=_resolved_config(survey, shares, config),
            given=config_given,
            # A replayed recording is where the rows come from: the lineage goes through it.
            parents=[
                one.teacher.artifact for one in shares if isinstance(one.teacher, ReplayTeacher)
            ],
            replace=replace,
            terms=named_by(verdict, _ids(teacher, shares)),
        )
        if target.is_up_to_date():
            return open_artifact(out)
        cluster = None if specs is None else stack.enter_context(open_cluster(config.ray))
        if book is None:
            out.parent.mkdir(parents=True, exist_ok=True)
            book = stack.enter_context(Ledger(path))
        memory.keep(book)
        if specs is not None and cluster is not None:
            spread = Spread(cluster, specs, shares, source, survey, book, config)
            return _ask_on_ray_and_write(target, spread, on_progress)
        return _ask_and_write(target, shares, (source, survey), book, config, on_progress)


@dataclass(frozen=True)
class _Target:
    """The artefact that a collection makes."""

    path: Path
    resolved: dict[str, Any]
    given: dict[str, Any] | None
    parents: list[Artifact]
    replace: bool
    terms: TermsRecord

    def is_up_to_date(self) -> bool:
        """Whether it is there, made of the same inputs."""
        return is_up_to_date(self.path, stage=STAGE, config=self.resolved, parents=self.parents)

    def begin(self) -> ArtifactWriter | None:
        """Its writer; None while another process writes it."""
        try:
            return begin_artifact(
                self.path,
                kind="completions",
                stage=STAGE,
                config=self.resolved,
                config_given=self.given,
                parents=self.parents,
                replace=self.replace,
            )
        except FolderBusyError:
            return None


def _ask_and_write(
    target: _Target,
    shares: Sequence[Share],
    prompts: tuple[PromptSource, Survey],
    ledger: Ledger,
    config: CollectConfig,
    on_progress: Listener,
) -> Artifact:
    purse = purse_of(ledger, config.access.budget_usd)
    while True:
        writer = target.begin()
        try:
            ledger.settle_orphans()
            tally = Tally()
            askings = _askings(target, shares, prompts, ledger, tally, config, purse)
            run = Run(askings, ledger, tally, writer, config, purse)
            run.ask(on_progress)
            if writer is not None:
                harvest = Harvest(shares, *prompts, ledger, run.failures, target.terms)
                return harvest.write(writer, config, run.seconds)
        finally:
            if writer is not None:
                writer.release()
        # Another process collects the same: it was helped, and writes, unless it dies.
        time.sleep(_LOOK_AGAIN_S)
        if target.is_up_to_date():
            return open_artifact(target.path)


def _ask_on_ray_and_write(target: _Target, spread: "Spread", on_progress: Listener) -> Artifact:
    """Have workers ask, then what they left, and write."""
    from stillhouse.collect._ray import asked_on_cluster

    prompts, ledger, config = (spread.source, spread.survey), spread.ledger, spread.config
    writer = target.begin()
    if writer is None:
        raise FolderBusyError(
            f"Another process collects into {target.path}. With engine=ray one process leads: wait "
            "for it, or stop it."
        )
    try:
        ledger.settle_orphans()
        run_id = content_hash(target.resolved)[:16]
        with asked_on_cluster(spread, run_id, writer, on_progress) as rest:
            tally = Tally()
            askings = _askings(target, rest.shares, prompts, ledger, tally, config, rest.purse)
            for asking in askings:
                asking.give_up(rest.failures.get(asking.share.name, {}))
            run = Run(askings, ledger, tally, writer, config, rest.purse)
            run.stop(rest.stop_s)
            run.ask(rest.on_progress)
            harvest = Harvest(rest.shares, *prompts, ledger, run.failures, target.terms)
            return harvest.write(writer, config, run.seconds)
    finally:
        writer.release()


def _askings(
    target: _Target,
    shares: Sequence[Share],
    prompts: tuple[PromptSource, Survey],
    ledger: Ledger,
    tally: Tally,
    config: CollectConfig,
    purse: Purse,
) -> list[Asking]:
    _, survey = prompts
    for one in shares:
        earlier = [
            _run_key({**target.resolved, _PROMPTS: sha256}, one) for sha256 in survey.grown_from
        ]
        ledger.continue_run(_run_key(target.resolved, one), earlier, prefix_sha256=survey.sha256)
    return [
        Asking(
            one,
            *prompts,
            ledger,
            tally,
            run_key=_run_key(target.resolved, one),
            max_tries=config.access.max_tries,
            purse=purse,
        )
        for one in shares
    ]


def _verdict(
    teacher: str | Teacher | Mapping[str, str],
    terms: Terms,
    config: CollectConfig,
    *,
    data: str | None,
) -> TermsRecord:
    """What terms say, before anything is sent; what is compared only is recorded only."""
    if config.for_learning:
        return asking_terms(_asked(teacher), terms, data=data)
    return recorded_asking(_asked(teacher), terms, data=data, is_strict=True)


def _asked(teacher: str | Teacher | Mapping[str, str]) -> list[str]:
    """Who is asked, as specs; of an open teacher, as near to one as it tells."""
    if isinstance(teacher, str):
        return [teacher]
    if isinstance(teacher, Mapping):
        return list(teacher.values())
    if isinstance(teacher, ReplayTeacher):
        return [f"replay:{teacher.artifact.path}"]
    return ["fake:" if teacher.info.provider == "fake" else teacher.info.id]


def _ids(teacher: str | Teacher | Mapping[str, str], shares: Sequence[Share]) -> dict[str, str]:
    """What rows call each teacher that is asked."""
    ids = [share.teacher.info.id for share in shares]
    return dict(zip(_asked(teacher), ids, strict=True))


def _data_of(prompts: Path | Sequence[Prompt]) -> str | None:
    return prompts.as_posix() if isinstance(prompts, Path) else None


def _run_key(resolved: dict[str, Any], share: Share) -> str:
    return content_hash([resolved, share.name, share.teacher.info.id])


def _resolved_config(
    survey: Survey, shares: Sequence[Share], config: CollectConfig
) -> dict[str, Any]:
    """The settings and the content, never the path, of what goes in."""
    infos = [share.teacher.info for share in shares]
    if len(shares) == 1 and not shares[0].name:
        who: dict[str, Any] = {"teacher": infos[0].id, "teacher_revision": infos[0].revision}
    else:
        who = {
            "teachers": {
                share.name: {"id": info.id, "revision": info.revision}
                for share, info in zip(shares, infos, strict=True)
            }
        }
    return {_PROMPTS: survey.sha256, **who, **config.identity()}
