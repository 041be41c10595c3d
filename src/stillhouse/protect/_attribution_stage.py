"""The stage of `stillhouse attribute`: from models and texts to an evidence artefact."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.errors import ConfigError
from stillhouse.protect._attribution import (
    AttributionConfig,
    attribute,
    check_sizes,
)
from stillhouse.protect._attribution_evidence import attribution_evidence
from stillhouse.protect._evidence import Evidence, write_evidence
from stillhouse.protect._texts import open_texts
from stillhouse.runlog import Listener, ignore_progress

if TYPE_CHECKING:
    from stillhouse.models import LanguageModel


@dataclass(frozen=True)
class Lineup:
    """Whose child, of whom, and among which others.

    Attributes:
        suspect: The model whose teacher is sought.
        teachers: Candidates by name.
        controls: Models of the suspect's base that learnt from none of them.
        texts: A dataset or completions that all models read; better not written by a candidate.
    """

    suspect: str
    teachers: Mapping[str, str]
    controls: Sequence[str]
    texts: Path


def attribution(
    lineup: Lineup,
    out: Path,
    *,
    config: AttributionConfig,
    command: str = "",
    replace: bool = False,
    on_progress: Listener = ignore_progress,
) -> Evidence:
    """Find the teacher of a suspect, or that none can be named, and write the evidence.

    Args:
        lineup: The models and texts.
        out: Folder to write.
        config: Sizes and level.
        command: That makes the evidence again.
        replace: Whether a finished artefact in the way is removed.
        on_progress: Told as models are compared.

    Raises:
        ConfigError: there are too few teachers, controls or texts; a model is there twice; or
            `out` holds something else.
        DataError: models have no token or position in common, or controls are one model.
        IntegrityError: a model or artefact is damaged.
    """
    from stillhouse.models import load_model
    from stillhouse.protect._agreement import agreements, first_positions

    started_s = time.monotonic()
    check_sizes(len(lineup.teachers), len(lineup.controls))
    artifact, texts = open_texts(lineup.texts)
    suspect = load_model(lineup.suspect)
    teachers = [load_model(source) for source in lineup.teachers.values()]
    known = {f"weights of the suspect {suspect.name}": suspect}
    known |= {
        f"weights of {name}": model for name, model in zip(lineup.teachers, teachers, strict=True)
    }
    fingerprints = {name: model.revision for name, model in known.items() if model.revision}

    def controls() -> "Iterator[LanguageModel]":
        for source in lineup.controls:
            model = load_model(source)
            _remember(fingerprints, f"weights of the control {source}", model)
            yield model

    _refuse_twins(fingerprints)
    found = attribute(
        agreements(
            suspect,
            teachers,
            controls(),
            first_positions(
                texts, suspect.chat, max_texts=config.max_texts, max_tokens=config.max_tokens
            ),
            num_models=1 + len(teachers) + len(lineup.controls),
            on_progress=on_progress,
        ),
        list(lineup.teachers),
        level=config.level,
    )
    seconds = round(time.monotonic() - started_s, 3)
    evidence = attribution_evidence(
        found,
        suspect=suspect.name,
        inputs={**fingerprints, f"manifest of {artifact.path.name}": artifact.manifest_sha256},
        command=command,
        created_utc=datetime.now(UTC),
    )
    write_evidence(
        evidence,
        out,
        stage="attribute",
        config={
            **config.model_dump(mode="json"),
            "suspect": lineup.suspect,
            "teachers": dict(lineup.teachers),
            "controls": list(lineup.controls),
        },
        parents=(artifact,),
        seconds=seconds,
        replace=replace,
    )
    return evidence


def _remember(fingerprints: dict[str, str], name: str, model: "LanguageModel") -> None:
    if model.revision is not None:
        fingerprints[name] = model.revision
        _refuse_twins(fingerprints)


def _refuse_twins(fingerprints: Mapping[str, str]) -> None:
    """The same weights under two names would be compared with themselves."""
    names: dict[str, str] = {}
    for name, revision in fingerprints.items():
        if revision in names:
            raise ConfigError(
                f"The {names[revision]} are the {name}: one model was given twice. A suspect, its "
                "possible teachers and the controls must be different models."
            )
        names[revision] = name
