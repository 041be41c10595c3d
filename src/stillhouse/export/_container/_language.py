"""A container around a GGUF file: llama.cpp's server, by xllamacpp."""

import importlib.util
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path

from stillhouse.errors import ExportRefusedError, MissingDependencyError
from stillhouse.export._config import FormatName
from stillhouse.export._container._dockerfile import dockerfile, pinned
from stillhouse.export._gguf import LlamaClient, engine_distance, write_gguf
from stillhouse.export._language import distance_figures, text_metric, token_identity
from stillhouse.export._report import FormatReport
from stillhouse.export._source import LanguageSource

SERVE = "serve.py"
PACKAGE = "xllamacpp"

_NOTE = (
    "The image was not built here. What it runs was: serve.py answered in a process that sees "
    "xllamacpp alone. Run: docker run --rm -e API_KEY=... -p 8080:8080 IMAGE"
)


def export_language_container(
    source: LanguageSource, folder: Path, name: FormatName
) -> FormatReport:
    """Write a GGUF file in eight bits with a server and a Dockerfile, and measure what it serves.

    Raises:
        ConfigError: the model is of a kind that GGUF files are not written of.
        ExportRefusedError: the server does not start, or does not behave as the student does.
        MissingDependencyError: xllamacpp is not installed.
    """
    path = folder / f"{source.config.name}.gguf"
    write_gguf(source.model, path, recipe="gguf-q8_0")
    program = resources.files("stillhouse.export._container") / "_serve.py"
    (folder / SERVE).write_bytes(program.read_bytes())
    text = dockerfile(
        installs=pinned([PACKAGE]), copies=[path.name, SERVE], command=["python", SERVE]
    )
    (folder / "Dockerfile").write_text(text, encoding="utf-8")
    with _serving(folder, context=source.longest) as client:
        identity = token_identity(source, lambda asked: client.tokens(client.rendered(asked)))
        distance = engine_distance(source, client)
    return FormatReport(
        format=name,
        verdict="not_built",
        figures=(identity, *distance_figures(distance, source.config.q8_0)),
        metric=text_metric(source, distance),
        notes=(_NOTE,),
    )


@contextmanager
def _serving(folder: Path, *, context: int) -> Iterator[LlamaClient]:
    """The server in a process without site-packages, asked over HTTP."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingDependencyError(
            "Verifying a container needs xllamacpp. Run: pip install 'stillhouse[local]'"
        )
    key = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / PACKAGE).symlink_to(Path(spec.origin).parent, target_is_directory=True)
        start = f"import runpy, sys; sys.path[:0] = [{scratch!r}]; "
        start += f"runpy.run_path({str(folder / SERVE)!r}, run_name='__main__')"
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", start],
            env={**os.environ, "HOST": "127.0.0.1", "PORT": "0", "API_KEY": key}
            | {"SLOTS": "1", "CONTEXT": str(context)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            with closing(LlamaClient(_address(process), key)) as client:
                yield client
        finally:
            process.kill()
            process.communicate()


def _address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    if not address.startswith("http://"):
        _, errors = process.communicate()
        reason = (errors.strip().splitlines() or ["no message"])[-1]
        raise ExportRefusedError(
            f"The server of the container does not start where only {PACKAGE} is installed "
            f"({reason[:300]}). Nothing was exported. Report this."
        )
    return address
