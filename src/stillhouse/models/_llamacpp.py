"""llama.cpp's own server in this process, on a loopback port."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import IntegrityError, MissingDependencyError


@dataclass(frozen=True)
class LlamaServing:
    """How llama.cpp serves a file.

    Attributes:
        name: What answers call the model; else they name the path on this machine.
        key: What requests must show: other users of this machine reach loopback ports too.
        slots: Completions generated together.
        context: Tokens of prompt and completion that one slot holds.
        threads: 0 takes one fewer than there are cores: with all of them llama.cpp's spinning
            threads collapse as soon as anything else runs.
        is_mapped: Whether weights stay in the file, as pages that come when they are read. The
            process dies when such a file is cut, and reads what is written into it.
    """

    name: str
    key: str
    slots: int
    context: int
    threads: int = 0
    is_mapped: bool = True


def check_llama_server(what: str) -> None:
    """See that llama.cpp is there for `what`, such as "A gguf: teacher".

    Raises:
        MissingDependencyError: it is not.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise MissingDependencyError(
            f"{what} needs xllamacpp. Run: pip install 'stillhouse[local]'"
        )


def start_llama_server(path: Path, config: LlamaServing) -> Any:
    """A running server; `listening_address` says where, and it stops when it is forgotten.

    Args:
        path: A GGUF file that `read_gguf_header` took: llama.cpp may abort on a damaged one.
        config: How it serves.

    Raises:
        IntegrityError: llama.cpp cannot load the file.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {config.name}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config.key]
    params.n_parallel = config.slots
    params.n_ctx = config.slots * config.context
    threads = config.threads or max((os.cpu_count() or 2) - 1, 1)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = 0  # its 8 GB cache of idle prompts is of no use to a stream
    if not config.is_mapped:
        params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.ui = params.warmup = False
    params.verbosity = -1
    try:
        return xllamacpp.Server(params)
    except RuntimeError as err:
        raise IntegrityError(
            f"llama.cpp cannot load {path} ({' '.join(str(err).split())}). "
            "The file may be of a kind that it does not know; try another quantization."
        ) from err
