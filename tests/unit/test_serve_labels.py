"""A student that answers with labels behind HTTP."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_cases import LABELS, a_dataset, a_text, rows_of
from serve_cases import RunningServer

from stillhouse.classifiers import NgramConfig, load_classifier, probabilities
from stillhouse.errors import ConfigError, IntegrityError
from stillhouse.fit import FitConfig, fit
from stillhouse.records import Message, Prompt, Request, Sampling
from stillhouse.serve import ServeConfig, open_engine
from stillhouse.teachers import open_teacher, read_answer


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    dataset = a_dataset(folder / "dataset", rows_of(240)[0])
    config = FitConfig(ngram=NgramConfig(max_features=400, l2=1.0))
    return fit(dataset.path, folder / "student", config=config).path


@pytest.fixture(scope="module")
def server(student: Path) -> Iterator[RunningServer]:
    with RunningServer(open_engine(str(student), ServeConfig())) as server:
        yield server


def texts(number: int) -> list[str]:
    draws = np.random.default_rng(5)
    return [a_text(LABELS[place % 4], draws) for place in range(number)]


def test_decisions_are_those_of_the_student(server: RunningServer, student: Path) -> None:
    asked = texts(20)
    expected_NL = probabilities(load_classifier(student), asked)
    labels = load_classifier(student).labels
    for text, row_L in zip(asked, expected_NL, strict=True):
        status, headers, body = server.send("/v1/decisions", {"input": text})
        told = json.loads(body)
        assert status == 200
        assert told["choice"] == labels[int(row_L.argmax())]
        assert [told["probabilities"][label] for label in labels] == pytest.approx(row_L)
        assert float(headers["x-stillhouse-confidence"]) == pytest.approx(row_L.max(), abs=1e-4)


def test_a_chat_client_gets_the_label_as_text(server: RunningServer) -> None:
    text = texts(1)[0]
    choice = server.ask("/v1/decisions", input={"messages": [{"role": "user", "content": text}]})
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    document = server.ask("/v1/chat/completions", **asked)
    assert document["choices"][0]["message"]["content"] == choice["choice"]
    chunks = server.events("/v1/chat/completions", **asked)
    said = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1])
    assert said == choice["choice"]


def test_options_are_weighed_among_themselves(server: RunningServer) -> None:
    text = texts(1)[0]
    whole = server.ask("/v1/decisions", input=text)["probabilities"]
    some = server.ask("/v1/decisions", input=text, options=["cash", "loan"])
    assert some["probabilities"].keys() == {"cash", "loan"}
    assert sum(some["probabilities"].values()) == pytest.approx(1)
    assert some["probabilities"]["cash"] == pytest.approx(
        whole["cash"] / (whole["cash"] + whole["loan"])
    )
    status, _, body = server.send("/v1/decisions", {"input": text, "options": ["horse"]})
    assert status == 400
    assert "'horse'" in json.loads(body)["error"]["message"]


def test_requests_at_once_get_each_their_own_answer(server: RunningServer) -> None:
    asked = texts(40)
    expected = [server.ask("/v1/decisions", input=text)["probabilities"] for text in asked]
    got: dict[int, Any] = {}

    def ask(place: int) -> None:
        got[place] = server.ask("/v1/decisions", input=asked[place])["probabilities"]

    threads = [threading.Thread(target=ask, args=(place,)) for place in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[place] for place in range(len(asked))] == expected


@pytest.mark.parametrize(
    "text", ["", " ", "x" * 100_000, "\U0001f600"], ids=["empty", "blank", "long", "emoji"]
)
def test_any_text_gets_a_decision(server: RunningServer, text: str) -> None:
    assert server.ask("/v1/decisions", input=text)["choice"] in LABELS


def test_what_is_no_student_is_not_served(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No model at"):
        open_engine(str(tmp_path / "nothing"), ServeConfig())
    dataset = a_dataset(tmp_path / "dataset", rows_of(8)[0])
    with pytest.raises(ConfigError, match="holds a dataset, not a student"):
        open_engine(str(dataset.path), ServeConfig())


def test_a_student_that_was_changed_is_not_served(student: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(student, copy)
    weights = next(copy.glob("*.safetensors"))
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(IntegrityError):
        open_engine(str(copy), ServeConfig())


def test_the_command_serves_until_it_is_told_to_stop_and_loads_no_torch(
    student: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "stillhouse", "serve", str(student)]
    told_path = tmp_path / "stderr.txt"  # a pipe that nobody reads would be full of import times
    with told_path.open("w") as told_file:
        process = subprocess.Popen(
            [*command, "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=told_file,
            text=True,
        )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        while lines[-1].rstrip() != "}":
            assert lines[-1], told_path.read_text()
            lines.append(process.stdout.readline())
        url = json.loads("".join(lines))["url"]
        import urllib.request

        request = urllib.request.Request(
            f"{url}/v1/decisions",
            json.dumps({"input": "my visa card"}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            assert json.loads(response.read())["choice"] == "card"
        process.terminate()
        process.communicate(timeout=30)
    finally:
        process.kill()
    told = told_path.read_text()
    assert process.returncode == 0
    assert " torch" not in told


def test_a_teacher_of_decisions_asks_it(server: RunningServer) -> None:
    text = texts(1)[0]
    told = server.ask("/v1/decisions", input=text)
    prompt = Prompt(id="one", messages=(Message(role="user", content=text),), labels=LABELS)
    with open_teacher(f"decisions:{server.url}/v1#student") as teacher:
        request = Request.of(prompt, teacher=teacher.info.id, sampling=Sampling())
        asked = [request]
        ((answer,),) = teacher.stream(lambda limit: [asked.pop()] if asked else [])
    completion = read_answer(answer, request)
    assert completion.text == told["choice"]
    assert completion.label_probabilities == pytest.approx(told["probabilities"])
