"""Collect: prompts and a teacher in, a completions artefact out."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from stillhouse.artifacts import Artifact, begin_artifact, is_up_to_date, open_artifact
from stillhouse.collect._config import STAGE, CollectConfig
from stillhouse.collect._prompts import check_prompts, read_prompts
from stillhouse.collect._run import Run
from stillhouse.records import Prompt, Request, canonical_json
from stillhouse.runlog import Ledger, Listener, ignore_progress
from stillhouse.teachers import (
    ReplayTeacher,
    Teacher,
    TeacherInfo,
    check_top_logprobs,
    open_teacher,
)


def collect(
    prompts: Path | Sequence[Prompt],
    out: Path,
    *,
    teacher: str | Teacher,
    config: CollectConfig,
    ledger: Path | None = None,
    config_given: dict[str, Any] | None = None,
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Artifact:
    """Ask `teacher` every prompt and keep the completions in `out`.

    What the ledger already has an answer to is not asked again, so a stopped run goes on where
    it was; failed requests are asked again. Prompts with the same messages are asked once, and
    the later ones dropped as `duplicate_prompt`.

    Args:
        prompts: The prompts, or a file that `read_prompts` reads.
        out: Folder of the artefact; one that the same inputs made is returned as it is.
        teacher: A spec, or an open teacher, which stays open.
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
        TeacherError: the teacher cannot answer any further request.
        LogprobsUnavailableError: it cannot give `sampling.top_logprobs`.
        DataError: the prompts are wrong.
        ConfigError: a path or a spec is wrong.
    """
    if isinstance(prompts, Path):
        given = read_prompts(prompts)
    else:
        given = list(prompts)
        check_prompts(given, where="The list of prompts")
    with open_teacher(teacher) if isinstance(teacher, str) else nullcontext(teacher) as source:
        check_top_logprobs(source.info, config.sampling)
        resolved = _resolved_config(given, source.info, config)
        # A replayed recording is where the rows come from, so the lineage goes through it.
        parents = [source.artifact] if isinstance(source, ReplayTeacher) else []
        if is_up_to_date(out, stage=STAGE, config=resolved, parents=parents):
            return open_artifact(out)
        writer = begin_artifact(
            out,
            kind="completions",
            stage=STAGE,
            config=resolved,
            config_given=config_given,
            parents=parents,
            replace=replace,
        )
        try:
            with Ledger(ledger or out.parent / "ledger.sqlite") as book:
                run = Run(_requests(given, source.info, config), source, book, writer, config)
                run.ask(on_progress)
                return run.finish(given)
        finally:
            writer.release()


def _requests(prompts: Iterable[Prompt], info: TeacherInfo, config: CollectConfig) -> list[Request]:
    """One request per prompt and sample index, each content once."""
    distinct: dict[str, Request] = {}
    for prompt in prompts:
        for sample_index in range(config.samples_per_prompt):
            request = Request.of(
                prompt, teacher=info.id, sampling=config.sampling, sample_index=sample_index
            )
            distinct.setdefault(request.id, request)
    return list(distinct.values())


def _resolved_config(
    prompts: Iterable[Prompt], info: TeacherInfo, config: CollectConfig
) -> dict[str, Any]:
    """The settings and the content, never the path, of what goes in."""
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(canonical_json(prompt) + b"\n")
    return {
        "prompts_sha256": digest.hexdigest(),
        "teacher": info.id,
        "teacher_revision": info.revision,
        **config.model_dump(mode="json"),
    }
