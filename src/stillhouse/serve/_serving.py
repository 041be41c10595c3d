"""A student behind HTTP, as a command: open it, and listen until told to stop."""

import asyncio
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.artifacts import check_files, file_sha256, open_artifact
from stillhouse.errors import ConfigError
from stillhouse.provenance import asking_terms, terms_given
from stillhouse.releases import is_deployment
from stillhouse.serve._ask import Engine
from stillhouse.serve._config import ServeConfig
from stillhouse.serve._detection import open_detector
from stillhouse.serve._files import LoadedFiles
from stillhouse.serve._marked import open_mark
from stillhouse.serve._teacher_config import CascadeConfig, OnBreach, TeacherConfig

if TYPE_CHECKING:
    from stillhouse.serve._server import Server

_GGUF_CONTEXT = 2048  # tokens of a slot, at most; not tuned
# Threads of students and ledgers give way to the event loop this often, as in `proxy`.
_SWITCH_INTERVAL_S = 0.0005


def open_engine(
    student: str,
    config: ServeConfig,
    *,
    teacher: str | TeacherConfig | None = None,
    memory: Path | None = None,
    shadow: Path | None = None,
    stands_in: bool = False,
    on_breach: OnBreach = "teacher",
) -> Engine:
    """What answers for a student.

    An artefact's files are held to their hashes first, so that what is served is what was made.

    Args:
        student: Folder that train, fit or certify wrote, a deployment (`stillhouse.releases`), a
            model folder, a `.gguf` file (run by llama.cpp), the address `http(s)://host/v1#model`
            of a server that runs it, or `""` for the embedded SmolLM2-135M-Instruct.
        config: How it is served.
        teacher: Of a cascade: who answers what the student may not, as `teachers` names it.
        memory: Of a cascade: where its watch is kept; None for a file beside its folder.
        shadow: Of a cascade: folder of another student or cascade that reads along.
        stands_in: Of a cascade: whether the student answers where the teacher cannot, which no
            certificate covers.
        on_breach: Of a deployment: whether a breach also takes the version back.

    Raises:
        ConfigError: nothing is there that can be served, a cascade and its teacher do not come
            together, or answers are to be marked and cannot be.
        TermsError: the terms of the teacher are not known to allow it.
        IntegrityError: the files are damaged.
        SignatureError: the profile of the marks was changed, or its signature does not count.
        MissingDependencyError: torch or an encoder's packages are not installed.
    """
    watermark = None
    if config.watermark is not None:
        watermark = open_mark(student, config.watermark, config.watermark_key, config.trust)
        if config.responses is not None:
            watermark.check_customers()
    folder = Path(student)
    how = None
    if teacher is not None:
        asked = TeacherConfig(spec=teacher) if isinstance(teacher, str) else teacher
        asking_terms([asked.spec], terms_given(asked.terms))  # its answers make the next student
        how = CascadeConfig(teacher=asked, memory=memory, shadow=shadow, stands_in=stands_in)
    if student and is_deployment(folder):
        if memory is not None:
            raise ConfigError(
                f"{student} is a deployment, which keeps a watch for each of its versions. Leave "
                "--memory out."
            )
        from stillhouse.serve._release import open_deployment

        return open_deployment(folder, config, how, on_breach)
    if on_breach != "teacher":
        raise ConfigError(
            f"{student} is no deployment, so that there is no version to roll back to. Make one "
            "with stillhouse release, or leave --on-breach out."
        )
    artifact = None
    if student and (folder / "manifest.json").is_file():
        artifact = open_artifact(folder)
    if artifact is not None and artifact.manifest.kind == "cascade":
        if how is None:
            raise ConfigError(
                f"{folder} is a cascade, and no teacher is given. Give --teacher SPEC, such as "
                "openai:MODEL or http(s)://HOST/v1#MODEL."
            )
        from stillhouse.serve._opening import open_cascade_engine

        return open_cascade_engine(folder, config, how)
    if how is not None or shadow is not None:
        raise ConfigError(
            f"{student or 'local:'} is no cascade, so that nothing says when the teacher answers. "
            "Run stillhouse certify first and serve what it writes, or leave --teacher out."
        )
    if artifact is not None:
        if artifact.manifest.kind == "classifier":
            from stillhouse.serve._labels import label_engine

            return label_engine(artifact)
        check_files(artifact)
        if artifact.manifest.kind != "student":
            raise ConfigError(
                f"{folder} holds a {artifact.manifest.kind}, not a student. Give the folder that "
                "train, fit or certify wrote."
            )
    if student.startswith(("http://", "https://")):
        from stillhouse.serve._upstream import upstream_at

        return upstream_at(student, config)
    if folder.suffix == ".gguf":
        return _llamacpp(folder, config)
    from stillhouse.models import load_owned_model, locate_model
    from stillhouse.serve._local import LocalEngine

    files = LoadedFiles.of(folder) if student else None  # before anything is read
    model = load_owned_model(student)
    if watermark is not None:
        watermark.check_tokenizer(model.chat.vocabulary_sha256)
    engine = LocalEngine(
        model, slots=config.slots, max_tokens=config.max_tokens, watermark=watermark
    )
    engine.files = files
    if watermark is not None and config.detections_per_minute is not None:
        engine.detector = open_detector(
            watermark,
            Path(locate_model(student).path),
            per_minute=config.detections_per_minute,
        )
    if artifact is not None:
        engine.version = _version(artifact.manifest_sha256)
    elif model.revision is not None:
        engine.version = _version(model.revision)
    return engine


def _version(sha256: str) -> str:
    return sha256[:12]


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
    files = LoadedFiles.of(path)
    header = read_gguf_header(path)
    key = secrets.token_hex(16)
    context = min(header.context_length or _GGUF_CONTEXT, _GGUF_CONTEXT)
    serving = LlamaServing(
        name=header.name, key=key, slots=config.slots, context=context, is_mapped=False
    )
    running = [start_llama_server(path, serving)]
    engine = UpstreamEngine(
        f"{running[0].listening_address}/v1",
        header.name,
        key=key,
        max_tokens=config.max_tokens,
        release=running.clear,  # it stops when it is forgotten
        has_embeddings=False,  # it was started to write
    )
    engine.files = files
    engine.version = _version(file_sha256(path))
    return engine


def check_listening(config: ServeConfig) -> None:
    """See that one could listen, and knows whom to answer how, before a student is loaded.

    Raises:
        ConfigError: the address is taken, or the responses or their key cannot be read.
        DataError: the file of responses is damaged.
    """
    from stillhouse.listening import check_address
    from stillhouse.serve._responder import open_responses

    check_address("The server", config.host, config.port)
    if config.responses is not None:
        open_responses(config.responses)


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
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        asyncio.run(_serve(engine, config, on_ready))
    finally:
        sys.setswitchinterval(before_s)


async def _serve(engine: Engine, config: ServeConfig, on_ready: "Callable[[Server], None]") -> None:
    from stillhouse.listening import allow_many_connections, until_signalled
    from stillhouse.serve._server import Server
    from stillhouse.serve._switching import SwitchingEngine

    allow_many_connections()
    async with Server(engine, config) as server:
        on_hangup = None
        if isinstance(engine, SwitchingEngine):
            engine.begin()
            on_hangup = engine.look_now
        await until_signalled(
            on_ready=lambda: on_ready(server),
            on_second=server.hurry,
            close=server.close,
            on_hangup=on_hangup,
        )
