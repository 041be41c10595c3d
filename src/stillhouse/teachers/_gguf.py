"""A GGUF model in this process: llama.cpp's own server on a loopback port, asked over HTTP."""

import hashlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from stillhouse.artifacts import file_sha256
from stillhouse.errors import (
    ConfigError,
    IntegrityError,
    TeacherUnavailableError,
)
from stillhouse.models import (
    GgufHeader,
    LlamaServing,
    check_llama_server,
    embedded_gguf,
    read_gguf_header,
    start_llama_server,
)
from stillhouse.runlog import Answer
from stillhouse.teachers._access import Access
from stillhouse.teachers._api import ApiTeacher
from stillhouse.teachers._base import Pull, Teacher, TeacherInfo
from stillhouse.teachers._caller import Caller
from stillhouse.teachers._dialects import DIALECTS
from stillhouse.teachers._endpoint import Endpoint
from stillhouse.teachers._open_api import api_teacher
from stillhouse.teachers._options import Options, split_options
from stillhouse.teachers._providers import PROVIDERS
from stillhouse.teachers._transport import Timeouts

_TOTAL_TIMEOUT_S = 3600.0  # a long completion on two busy cores is slow, not lost
_QUIRKS = PROVIDERS["llamacpp"].quirks  # the same server, within this process


class GgufOptions(Options):
    """Options of `gguf:`."""

    slots: int = Field(default=16, ge=1, le=256)
    """Completions generated together."""
    context: int = Field(default=1024, ge=64)
    """Tokens of prompt and completion that one slot holds; cut to what the model was trained on."""
    threads: int = Field(default=0, ge=0)
    """0 takes one fewer than there are cores: with all of them llama.cpp's spinning threads
    collapse as soon as anything else runs."""


class GgufTeacher(Teacher):
    """Starts the server with the first request and stops it in `close`.

    The same request may be answered differently beside other requests: llama.cpp batches them,
    and rounding depends on the batch.

    Raises:
        TeacherUnavailableError: the file is missing, damaged or truncated.
        MissingDependencyError: xllamacpp is not installed.
    """

    def __init__(self, path: Path, options: GgufOptions | None = None) -> None:
        check_llama_server("A gguf: teacher")
        self._path = path
        self._options = options or GgufOptions()
        self._header = _read_header(path)
        revision = file_sha256(path)
        template = self._header.metadata.get("tokenizer.chat_template")
        self._info = TeacherInfo(
            id=f"gguf:{self._header.name}@{revision[:12]}",
            provider="gguf",
            revision=revision,
            max_top_logprobs=_QUIRKS.max_top_logprobs,
            chat_template_sha256=hashlib.sha256(template.encode()).hexdigest()
            if isinstance(template, str)
            else None,
        )
        self._server: Any = None
        self._http: ApiTeacher | None = None

    @property
    def info(self) -> TeacherInfo:
        """What answers; the revision is the file's SHA-256."""
        return self._info

    def stream(self, pull: Pull) -> Iterator[list[Answer]]:
        """Answer everything that `pull` hands out."""
        if self._http is None:
            self._http = self._start()
        yield from self._http.stream(pull)

    @property
    def caller(self) -> Caller:
        """Who answers single requests; the server is started for it."""
        if self._http is None:
            self._http = self._start()
        return self._http.caller

    def close(self) -> None:
        """Stop the server and free the weights."""
        if self._http is not None:
            self._http.close()
        self._http = self._server = None

    def _start(self) -> ApiTeacher:
        key = secrets.token_hex(16)  # other users of this machine reach loopback ports too
        self._server = _start_server(self._path, self._options, self._header, key=key)
        endpoint = Endpoint(
            provider="gguf",
            base_url=f"{self._server.listening_address}/v1",
            model=self._header.name,
            dialect=DIALECTS["openai_chat"],
            api_key=key,
            quirks=_QUIRKS,
            timeouts=Timeouts(total_s=_TOTAL_TIMEOUT_S),
        )
        slots = self._options.slots
        return api_teacher(endpoint, self._info, Access(), concurrency=slots, is_free=True)


def open_gguf_teacher(rest: str) -> GgufTeacher:
    """The teacher of `gguf:[PATH][?options]`; without a path, the embedded SmolLM2.

    Raises:
        ConfigError: an option is wrong.
        TeacherUnavailableError: the file is missing, damaged or truncated.
        MissingDependencyError: xllamacpp or the embedded model is not installed.
    """
    path, options = split_options(rest, GgufOptions, scheme="gguf")
    return GgufTeacher(Path(path) if path else embedded_gguf(), options)


def _read_header(path: Path) -> GgufHeader:
    try:
        return read_gguf_header(path)  # before llama.cpp sees the file: it may abort on a bad one
    except (ConfigError, IntegrityError) as err:
        raise TeacherUnavailableError(str(err)) from err


def _start_server(path: Path, options: GgufOptions, header: GgufHeader, *, key: str) -> Any:
    config = LlamaServing(
        name=header.name,
        key=key,
        slots=options.slots,
        context=min(options.context, header.context_length or options.context),
        threads=options.threads,
    )
    try:
        return start_llama_server(path, config)
    except IntegrityError as err:
        raise TeacherUnavailableError(str(err)) from err
