"""The accounts of an artefact, with what evaluations and logs of servers say of the student."""

from pathlib import Path

from stillhouse.artifacts import Artifact, atomic_write_bytes, open_artifact
from stillhouse.economics import (
    Assumptions,
    Economics,
    Range,
    Speed,
    economics,
    exactly,
    read_service,
    render_economics,
)
from stillhouse.errors import ConfigError
from stillhouse.evaluate import read_results, read_task_results
from stillhouse.provenance import lineage
from stillhouse.settings import check_settings

ECONOMICS_NAME, ECONOMICS_PAGE = "economics.json", "economics.html"


def economics_of(
    folder: Path,
    *,
    assumptions: Assumptions | None = None,
    volume: float | None = None,
    evaluation: Path | None = None,
    log: Path | None = None,
    out: Path | None = None,
    command: str = "stillhouse economics",
) -> Economics:
    """Who pays and who earns by what is in `folder`.

    Args:
        folder: An artefact; an evaluation brings the time of an answer with it.
        assumptions: What no record says; the defaults when None.
        volume: Requests to draw up the accounts for; goes before the assumptions.
        evaluation: Where the student was timed, unless `folder` is one.
        log: Of a server, which says how long the student took and how often the teacher was asked.
        out: Gets `economics.json` and `economics.html`; nothing is written when None.
        command: What the page says reproduces it.

    Raises:
        ConfigError: the volume is no number above 0, the evaluation is not of this student, there
            is no log, or `out` cannot be written.
        IntegrityError: an artefact is damaged.
    """
    given = assumptions or Assumptions()
    if volume is not None:
        changed = {**given.model_dump(), "requests": volume}
        given = check_settings(Assumptions, changed, where="--volume")
    root = open_artifact(folder)
    timed = root if evaluation is None else open_artifact(evaluation, kind="evaluation")
    found = economics(
        folder,
        assumptions=given,
        speed=_speed(root, timed) if timed.manifest.kind == "evaluation" else None,
        service=None if log is None else read_service(log),
    )
    if out is not None:
        _write(out, found, command)
    return found


def _write(out: Path, found: Economics, command: str) -> None:
    page = render_economics(found, command=command)
    try:
        out.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(out / ECONOMICS_NAME, found.to_bytes())
        atomic_write_bytes(out / ECONOMICS_PAGE, page.encode())
    except OSError as err:
        raise ConfigError(
            f"{out} cannot be written ({err.strerror}). Give another folder with --out."
        ) from err


def _speed(root: Artifact, evaluation: Artifact) -> Speed | None:
    """How long the student takes that `root` is, or that the evaluation recommends.

    None where it was not timed.
    """
    if evaluation.manifest.stage != "evaluate":  # an arena or benchmarks time nobody
        return None
    path = evaluation.file("results.json")
    source = f"evaluation {evaluation.path.resolve().name}"
    name = _name_of(root, evaluation)
    if "recommended" not in evaluation.manifest.results:
        measured = read_results(path)
        model = next((one for one in measured.models if one.name == name), measured.student)
        if model is None or model.latency_s_per_completion is None:
            return None
        # A median of texts one at a time; no interval was recorded.
        return Speed(exactly(model.latency_s_per_completion), None, 1, source)
    results = read_task_results(path)
    latency = results.system(name or results.recommendation.student).latency
    if latency is None:
        return None
    mean = latency.mean_s
    seconds = Range(value=mean.value, low=max(mean.low, 0.0), high=mean.high)
    return Speed(seconds, latency.num_threads, mean.n, source)


def _name_of(root: Artifact, evaluation: Artifact) -> str | None:
    """What the evaluation calls the student; None where it is the evaluation itself.

    Raises:
        ConfigError: it measured other students.
    """
    if root.manifest_sha256 == evaluation.manifest_sha256:
        return None
    known = {node.manifest_sha256 for node in lineage(root.path).nodes}
    names = evaluation.manifest.config.get("students", [])
    measured = zip(names, evaluation.manifest.parents[1:], strict=False)  # the first is the dataset
    for name, parent in measured:
        if parent.sha256 in known:
            return str(name)
    raise ConfigError(
        f"{evaluation.path} measured {', '.join(map(str, names)) or 'no student'}, not what "
        f"{root.path} is. Give an evaluation of it."
    )
