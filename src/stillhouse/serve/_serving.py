"""A student behind HTTP, as a command: open it, and listen until told to stop."""

import asyncio
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.artifacts import Artifact, check_files, file_sha256, open_artifact
from stillhouse.errors import ConfigError
from stillhouse.serve._ask import Engine
from stillhouse.serve._config import ServeConfig
from stillhouse.serve._marked import open_mark
from stillhouse.watermark import SCHEMES, Scheme

if TYPE_CHECKING:
    from stillhouse.serve._server import Server

_GGUF_CONTEXT = 2048  # tokens of a slot, at most; not tuned
_UPSTREAM_KEY = "STILLHOUSE_API_KEY"  # as for teachers that are given by their address


def open_engine(
    student: str,
    config: ServeConfig,
    *,
    teacher: str | None = None,
    memory: Path | None = None,
    schemes: Mapping[str, Scheme] = SCHEMES,
) -> Engine:
    """What answers for a student.

    An artefact's files are held to their hashes first, so that what is served is what was made.

    Args:
        student: Folder that train or fit wrote, a model folder, a `.gguf` file (run by llama.cpp),
            the address `http(s)://host/v1#model` of a server that runs it, or `""` for the embedded
            SmolLM2-135M-Instruct.
        config: How it is served.
        teacher: Of a cascade: the address `http(s)://host/v1#model` that answers what the student
            may not.
        memory: Of a cascade: where its watch is kept; None for a file beside its folder.
        schemes: What can mark answers, where the config has a watermark.

    Raises:
        ConfigError: nothing is there that can be served, a cascade and its teacher do not come
            together, or answers are to be marked and cannot be.
        IntegrityError: the files are damaged.
        MissingDependencyError: torch or an encoder's packages are not installed.
    """
    watermark = None
    if config.watermark is not None:
        watermark = open_mark(student, config.watermark, schemes)
    folder = Path(student)
    artifact = None
    if student and (folder / "manifest.json").is_file():
        artifact = open_artifact(folder)
    if artifact is not None and artifact.manifest.kind == "cascade":
        return _cascade(folder, config, teacher, memory)
    if teacher is not None:
        raise ConfigError(
            f"{student} is no cascade, so that nothing says when the teacher answers. Run "
            "stillhouse certify first and serve what it writes, or leave --teacher out."
        )
    if artifact is not None:
        check_files(artifact)
        if artifact.manifest.kind == "classifier":
            return _labels(artifact)
        if artifact.manifest.kind != "student":
            raise ConfigError(
                f"{folder} holds a {artifact.manifest.kind}, not a student. Give the folder that "
                "train, fit or certify wrote."
            )
    if student.startswith(("http://", "https://")):
        return _remote(student, config)
    if folder.suffix == ".gguf":
        return _llamacpp(folder, config)
    from stillhouse.models import load_model
    from stillhouse.serve._local import LocalEngine

    model = load_model(student)
    engine = LocalEngine(
        model, slots=config.slots, max_tokens=config.max_tokens, watermark=watermark
    )
    if artifact is not None:
        engine.version = _version(artifact.manifest_sha256)
    elif model.revision is not None:
        engine.version = _version(model.revision)
    return engine


def _version(sha256: str) -> str:
    return sha256[:12]


def _labels(artifact: Artifact) -> Engine:
    from stillhouse.classifiers import load_classifier
    from stillhouse.serve._labels import LabelEngine
    from stillhouse.tasks import task_of

    task = task_of(artifact.manifest.results)
    name = artifact.path.resolve().name
    engine = LabelEngine(load_classifier(artifact.path), task, name=name)
    engine.version = _version(artifact.manifest_sha256)
    return engine


def _cascade(folder: Path, config: ServeConfig, teacher: str | None, memory: Path | None) -> Engine:
    from stillhouse.cascade import open_cascade
    from stillhouse.classifiers import load_classifier
    from stillhouse.serve._cascade import CascadeEngine
    from stillhouse.serve._labels import LabelEngine

    if teacher is None or not teacher.startswith(("http://", "https://")):
        raise ConfigError(
            f"{folder} is a cascade, and its teacher is {teacher}. Give --teacher "
            "http(s)://HOST/v1#MODEL; for a provider, the address that stillhouse proxy prints."
        )
    cascade = open_cascade(folder)
    if cascade.student.manifest.kind != "classifier":
        raise ConfigError(
            f"The student of {folder} writes text; cascades are served for students that fit made. "
            "Route with stillhouse.cascade in your own program."
        )
    labels = LabelEngine(
        load_classifier(cascade.student.path),
        cascade.task,
        name=cascade.student.path.resolve().name,
        novelty=cascade.novelty,
    )
    kept = memory or folder.with_name(f"{folder.resolve().name}.watch.json")
    return CascadeEngine(cascade, labels, _remote(teacher, config), memory=kept)


def _llamacpp(path: Path, config: ServeConfig) -> Engine:
    from stillhouse.models import (
        LlamaServing,
        check_llama_server,
        read_gguf_header,
        start_llama_server,
    )
    from stillhouse.serve._upstream import UpstreamEngine

    check_llama_server(f"{path}")
    if not path.is_file():
        raise ConfigError(f"{path} does not exist. Give a GGUF file or a student's folder.")
    header = read_gguf_header(path)
    key = secrets.token_hex(16)
    context = min(header.context_length or _GGUF_CONTEXT, _GGUF_CONTEXT)
    serving = LlamaServing(name=header.name, key=key, slots=config.slots, context=context)
    running = [start_llama_server(path, serving)]
    engine = UpstreamEngine(
        f"{running[0].listening_address}/v1",
        header.name,
        key=key,
        max_tokens=config.max_tokens,
        release=running.clear,  # it stops when it is forgotten
    )
    engine.version = _version(file_sha256(path))
    return engine


def _remote(given: str, config: ServeConfig) -> Engine:
    from stillhouse.serve._upstream import UpstreamEngine

    base_url, _, model = given.partition("#")
    if not model:
        raise ConfigError(f"{given} names no model. Give http(s)://HOST/v1#MODEL.")
    key = os.environ.get(_UPSTREAM_KEY)
    return UpstreamEngine(base_url, model, key=key, max_tokens=config.max_tokens)


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
    from stillhouse.listening import until_signalled
    from stillhouse.serve._server import Server

    async with Server(engine, config) as server:
        await until_signalled(
            on_ready=lambda: on_ready(server), on_second=server.hurry, close=server.close
        )
