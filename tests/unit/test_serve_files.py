"""A student whose files are changed while it is served: it goes on as it was, and says so."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import label_students
import pytest
from fit_cases import a_task
from serve_cases import RunningServer
from tiny_model import make_tiny_model

from stillhouse.classifiers import load_classifier
from stillhouse.models import embedded_gguf
from stillhouse.serve import Engine, ServeConfig, open_engine
from stillhouse.serve._files import LoadedFiles
from stillhouse.serve._labels import LabelEngine

CHAT = "/v1/chat/completions"


def cut(file: Path) -> None:
    os.truncate(file, 16)


def written(file: Path) -> None:
    size = file.stat().st_size
    with file.open("r+b") as writing:
        writing.seek(size // 2)
        writing.write(b"\1" * (size // 2))


def replaced(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"\1" * file.stat().st_size)
    other.replace(file)


CHANGES = pytest.mark.parametrize("change", [cut, written, replaced, Path.unlink])


def told(server: RunningServer) -> str:
    asked = [{"role": "user", "content": "what is my card"}]
    document = server.ask(CHAT, messages=asked, max_tokens=12, temperature=0)
    return str(document["choices"][0]["message"]["content"])


def health(server: RunningServer) -> Any:
    status, _, body = server.send("/health")
    assert status == 200
    return json.loads(body)


def check_that_it_goes_on(engine: Engine, file: Path, change: Callable[[Path], None]) -> None:
    with RunningServer(engine) as server:
        before = told(server)
        assert health(server) == {"status": "ok", "files": "as loaded"}
        change(file)
        assert told(server) == before
        assert health(server) == {"status": "ok", "files": "changed"}


@CHANGES
def test_a_language_model_goes_on(tmp_path: Path, change: Callable[[Path], None]) -> None:
    folder = make_tiny_model(tmp_path / "student")
    engine = open_engine(str(folder), ServeConfig(slots=1))
    check_that_it_goes_on(engine, folder / "model.safetensors", change)


@CHANGES
def test_a_classifier_goes_on(tmp_path: Path, change: Callable[[Path], None]) -> None:
    folder = label_students.write_classifier(tmp_path / "student", label_students.an_ngram())
    files = LoadedFiles.of(folder)
    engine = LabelEngine(load_classifier(folder), a_task(), name="student")
    engine.files = files
    check_that_it_goes_on(engine, folder / "classifier.safetensors", change)


@pytest.mark.weights
def test_a_gguf_file_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "student.gguf"
    file.write_bytes(embedded_gguf().read_bytes())
    check_that_it_goes_on(open_engine(str(file), ServeConfig(slots=1)), file, cut)


def test_files_that_are_read_or_come_beside_are_no_change(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "one").write_text("a")
    files = LoadedFiles.of(tmp_path)
    assert files is not None
    (tmp_path / "two").write_text("b")
    assert (tmp_path / "inner" / "one").read_text() == "a"
    assert not files.are_changed
    (tmp_path / "inner" / "one").write_text("b")
    assert files.are_changed
    assert LoadedFiles.of(tmp_path / "absent") is None
