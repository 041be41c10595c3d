"""A student behind HTTP, as a command: open it, and listen until told to stop."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.artifacts import check_files, open_artifact
from stillhouse.errors import ConfigError
from stillhouse.serve._ask import Engine
from stillhouse.serve._config import ServeConfig

if TYPE_CHECKING:
    from stillhouse.serve._server import Server

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def open_engine(student: str, config: ServeConfig) -> Engine:
    """What answers for a student.

    An artefact's files are held to their hashes first, so that what is served is what was made.

    Args:
        student: Folder that train or fit wrote, a model folder, a `.gguf` file, or `""` for the
            embedded SmolLM2-135M-Instruct.
        config: How it is served.

    Raises:
        ConfigError: nothing is there that can be served.
        IntegrityError: the files are damaged.
        MissingDependencyError: torch or an encoder's packages are not installed.
    """
    folder = Path(student)
    if student and (folder / "manifest.json").is_file():
        artifact = open_artifact(folder)
        check_files(artifact)
        if artifact.manifest.kind == "classifier":
            from stillhouse.classifiers import load_classifier
            from stillhouse.serve._labels import LabelEngine
            from stillhouse.tasks import task_of

            task = task_of(artifact.manifest.results)
            return LabelEngine(load_classifier(folder), task, name=folder.resolve().name)
        if artifact.manifest.kind != "student":
            raise ConfigError(
                f"{folder} holds a {artifact.manifest.kind}, not a student. Give the folder that "
                "train or fit wrote."
            )
    from stillhouse.models import load_model
    from stillhouse.serve._local import LocalEngine

    model = load_model(student)
    return LocalEngine(model, slots=config.slots, max_tokens=config.max_tokens)


def serve(engine: Engine, config: ServeConfig, *, on_ready: "Callable[[Server], None]") -> None:
    """Serve until SIGINT or SIGTERM; then let requests under way end.

    A second signal ends it at once. To be called from the main thread.

    Args:
        engine: What answers; closed at the end.
        config: How.
        on_ready: Told once it listens.

    Raises:
        ConfigError: the address is taken.
    """
    asyncio.run(_serve(engine, config, on_ready))


async def _serve(engine: Engine, config: ServeConfig, on_ready: "Callable[[Server], None]") -> None:
    from stillhouse.serve._server import Server

    stop = asyncio.Event()
    async with Server(engine, config) as server:

        def on_signal() -> None:
            if stop.is_set():
                server.hurry()
            stop.set()

        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, on_signal)
        try:
            on_ready(server)
            await stop.wait()
            await server.close()
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
