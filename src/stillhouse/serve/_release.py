"""From a deployment's folder to what answers: the version in service, and those after it."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from stillhouse.artifacts import open_artifact
from stillhouse.cascade import WatchStatus
from stillhouse.errors import ConfigError, StillhouseError
from stillhouse.releases import Deployment, Version
from stillhouse.serve._ask import Engine
from stillhouse.serve._config import ServeConfig
from stillhouse.serve._files import LoadedFiles
from stillhouse.serve._labels import label_engine
from stillhouse.serve._opening import Placed, open_cascade_engine
from stillhouse.serve._switching import SwitchingEngine
from stillhouse.serve._teacher import TeacherSource, open_source
from stillhouse.serve._teacher_config import CascadeConfig, OnBreach

logger = logging.getLogger(__name__)

_WATCHES, _LEDGER = "watches", "ledger.sqlite"
_WHO = "stillhouse serve"


def open_deployment(
    folder: Path, config: ServeConfig, how: CascadeConfig | None, on_breach: OnBreach
) -> SwitchingEngine:
    """What answers for a deployment.

    Each version of a cascade has a watch of its own, in the deployment's folder; all share the
    teacher and its ledger.

    Raises:
        ConfigError: no version is in service, or a cascade has no teacher.
        IntegrityError: the version in service is damaged.
    """
    deployment = Deployment(folder)
    current = deployment.current()
    source: TeacherSource | None = None
    if how is not None and not how.teacher.is_direct:
        source = open_source(how.teacher, ledger=folder / _LEDGER, deadline_s=config.deadline_s)
    opener = _Opener(deployment, config, how, source, on_breach)
    return SwitchingEngine(
        current.id,
        opener.engine(current),
        current=deployment.current_id,
        open_version=lambda version: opener.engine(deployment.version(version)),
        source=source,
    )


class _Opener:
    """Makes an engine of each version in the same way."""

    def __init__(
        self,
        deployment: Deployment,
        config: ServeConfig,
        how: CascadeConfig | None,
        source: TeacherSource | None,
        on_breach: OnBreach,
    ) -> None:
        self._deployment = deployment
        self._config = config
        self._how = how
        self._source = source
        self._on_breach = on_breach

    def engine(self, version: Version) -> Engine:
        """What answers for a version."""
        name = self._deployment.folder.resolve().name
        if version.kind == "classifier":
            return label_engine(open_artifact(version.folder), name)
        if version.kind == "student":
            return self._language_model(version)
        if self._how is None:
            raise ConfigError(
                f"Version {version.id[:12]} of {self._deployment.folder} is a cascade. Give "
                "--teacher."
            )
        watches = self._deployment.folder / _WATCHES
        watches.mkdir(exist_ok=True)
        memory = watches / f"{version.id}.json"
        placed = Placed(
            name=name,
            student=version.student,
            on_fallen=self._falling(version.id),
            source=self._source,
        )
        how = replace(self._how, memory=memory)
        return open_cascade_engine(version.folder, self._config, how, placed)

    def _language_model(self, version: Version) -> Engine:
        from stillhouse.models import load_owned_model
        from stillhouse.serve._local import LocalEngine

        config = self._config
        files = LoadedFiles.of(version.folder)
        engine = LocalEngine(
            load_owned_model(version.folder), slots=config.slots, max_tokens=config.max_tokens
        )
        engine.files = files
        engine.version = version.id[:12]
        return engine

    def _falling(self, version: str) -> Callable[[WatchStatus], None]:
        """Takes a version back that breached its target, where that is asked for."""

        def on_fallen(status: WatchStatus) -> None:
            if self._on_breach != "rollback" or status.cause != "breach":
                return
            try:
                if self._deployment.current_id() != version:
                    return  # another is in service by now
                loss = status.audited_loss
                why = f"breach: mean loss {loss:.4f} of {status.counts.audits} audits"
                self._deployment.rollback(why=why, who=_WHO)
            except StillhouseError as err:
                logger.error("version %s is not rolled back: %s", version[:12], err)

        return on_fallen
