"""schemathesis asks everything that the OpenAPI document allows, and much that it does not.

It fails where an answer is a 500, where one does not come in time, or is none that the document
has; where what the document forbids is not refused; and where a key is not asked for.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import label_students
import pytest
import small_models
from fit_cases import a_task
from serve_cases import RunningServer

from stillhouse.serve._labels import LabelEngine
from stillhouse.serve._local import LocalEngine

pytest.importorskip("schemathesis")

_KEY = "a-key-for-the-fuzzer"
# What a field may hold depends on others in places: a call that has to be made needs tools.
_LEFT_OUT = "positive_data_acceptance"


@pytest.fixture(scope="module")
def text_server(tiny_folder: Path) -> Iterator[RunningServer]:
    config = small_models.llama(max_position_embeddings=1024)
    engine = LocalEngine(small_models.make(config, tiny_folder), slots=4, max_tokens=3)
    with RunningServer(engine) as server:
        yield server


@pytest.fixture(scope="module")
def label_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    classifier = label_students.an_embedding(tmp_path_factory.mktemp("embedding"))
    engine = LabelEngine(classifier, a_task(), name="student")
    with RunningServer(engine, keys=(_KEY,)) as server:
        yield server


def fuzzed(server: RunningServer, folder: Path, *options: str) -> str:
    """What schemathesis tells, which has to have found nothing."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"]
    command += ["--exclude-checks", _LEFT_OUT, "--header", f"Authorization: Bearer {_KEY}"]
    command += ["--seed", "1", "--request-timeout", "20", "--no-color", *options]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    assert "No issues found" in done.stdout or " warning in " in done.stdout
    assert server.send("/health")[0] == 200
    page = server.send("/metrics", headers={"x-api-key": _KEY})[2].decode()
    assert 'status="500"' not in page
    assert "stillhouse_answers_running 0" in page
    return done.stdout


@pytest.mark.parametrize(
    ("kind", "paths"),
    [
        ("text", ()),
        pytest.param(
            "label",
            ("/v1/decisions", "/v1/embeddings", "/v1/messages/count_tokens"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_edges_of_the_document_break_nothing(
    kind: str, paths: tuple[str, ...], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    only = [f"--include-path={path}" for path in paths]
    told = fuzzed(server, tmp_path, "--phases", "coverage", *only)
    assert " generated" in told


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "label"])
def test_hundreds_of_requests_to_each_path_break_nothing(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    fuzzed(server, tmp_path, "--max-examples", "200")
