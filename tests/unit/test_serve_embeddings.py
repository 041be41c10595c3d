"""Embeddings of students that read with an encoder, and of servers behind."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import label_students
import numpy as np
import pytest
from fit_cases import a_task
from serve_cases import RunningServer
from test_serve_limits import EchoEngine
from test_serve_upstream import scripted

from stillhouse.classifiers import SentenceClassifier
from stillhouse.serve._labels import LabelEngine
from stillhouse.serve._upstream import UpstreamEngine
from stillhouse.servicelog import LogConfig

PATH = "/v1/embeddings"
TEXTS = ["my card was stolen", "what is the exchange rate", "the sky is blue"]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> SentenceClassifier:
    classifier = label_students.an_embedding(tmp_path_factory.mktemp("embedding"))
    assert isinstance(classifier, SentenceClassifier)
    return classifier


@pytest.fixture(scope="module")
def server(classifier: SentenceClassifier) -> Iterator[RunningServer]:
    with RunningServer(LabelEngine(classifier, a_task(), name="student")) as server:
        yield server


@pytest.fixture(scope="module")
def before(server: RunningServer) -> Iterator[RunningServer]:
    """A server whose student is run by `server`."""
    engine = UpstreamEngine(f"{server.url}/v1", "student", key=None, max_tokens=9)
    with RunningServer(engine) as before:
        yield before


def rows(document: Any) -> np.ndarray:
    assert [item["index"] for item in document["data"]] == list(range(len(document["data"])))
    return np.array([item["embedding"] for item in document["data"]], dtype=np.float32)


def test_embeddings_are_the_unit_states_of_the_encoder(
    server: RunningServer, classifier: SentenceClassifier
) -> None:
    asked = [TEXTS[place % 3] for place in range(40)]  # more than one part of the work
    document = server.ask(PATH, input=asked, model="any")
    states_ND = classifier.encoder.states(asked)
    np.testing.assert_allclose(
        rows(document), states_ND / np.linalg.norm(states_ND, axis=1, keepdims=True), rtol=1e-5
    )
    num_tokens = sum(len(ids) for ids in classifier.encoder.reader.ids(asked))
    assert document["usage"] == {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    assert (document["object"], document["model"]) == ("list", "any")


def test_all_forms_of_an_input_say_the_same(
    server: RunningServer, classifier: SentenceClassifier
) -> None:
    ids = classifier.encoder.reader.ids(TEXTS)
    expected = rows(server.ask(PATH, input=TEXTS))
    for place, text in enumerate(TEXTS):
        for form in (text, [text], ids[place], [ids[place]]):
            np.testing.assert_array_equal(rows(server.ask(PATH, input=form))[0], expected[place])
    document = server.ask(PATH, input=TEXTS, encoding_format="base64")
    raw = [base64.b64decode(item["embedding"]) for item in document["data"]]
    np.testing.assert_array_equal([np.frombuffer(one, dtype="<f4") for one in raw], expected)


def test_a_server_behind_gives_the_same(server: RunningServer, before: RunningServer) -> None:
    for form in ({}, {"encoding_format": "base64"}, {"dimensions": 32}):
        told = before.ask(PATH, input=TEXTS, model="m", **form)
        assert told == server.ask(PATH, input=TEXTS, model="m", **form)
    status, _, body = before.send(PATH, {"input": "card " * 50})
    assert (status, b"more than the 16 tokens" in body) == (400, True)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "'input' is absent"),
        ({"input": ""}, "'input' is ''"),
        ({"input": []}, "'input' is []"),
        ({"input": [""]}, "a list of up to 2048"),
        ({"input": [[]]}, "a list of up to 2048"),
        ({"input": ["a", 1]}, "a list of up to 2048"),
        ({"input": [True, False]}, "a list of up to 2048"),
        ({"input": ["a"] * 2049}, "a list of up to 2048"),
        ({"input": [2, -1, 3]}, "a list of up to 2048"),
        ({"input": [2, 10**30, 3]}, "a list of up to 2048"),
        ({"input": [2, 99_999, 3]}, "not of this student's tokenizer"),
        ({"input": [5, 6]}, "begins and ends a text with [2, 3]"),
        ({"input": "a", "encoding_format": "int8"}, "float or base64"),
        ({"input": "a", "encoding_format": ["float"]}, "float or base64"),
        ({"input": "a", "dimensions": 0}, "a whole number from 1"),
        ({"input": "a", "dimensions": 8}, "embeddings have 32"),
        ({"input": ["a", "card " * 50]}, "more than the 16 tokens"),
        ({"input": [2, *[5] * 50, 3]}, "more than the 16 tokens"),
    ],
)
def test_what_cannot_be_read_is_refused(
    server: RunningServer, fields: dict[str, Any], told: str
) -> None:
    status, _, body = server.send(PATH, fields)
    error = json.loads(body)["error"]
    assert status == 400
    assert told in error["message"]
    assert error["param"] in ("input", "dimensions", "encoding_format")


def test_a_text_that_just_fits_is_read(server: RunningServer) -> None:
    assert server.ask(PATH, input="card " * 14)["usage"]["prompt_tokens"] == 16
    assert server.send(PATH, {"input": "card " * 15})[0] == 400


def test_students_without_embeddings_say_who_has_them() -> None:
    ngram = LabelEngine(label_students.an_ngram(), a_task(), name="ngram")
    for engine in (EchoEngine(), ngram):
        with RunningServer(engine) as server:
            status, _, body = server.send(PATH, {"input": "a"})
            error = json.loads(body)["error"]
            assert (status, error["code"]) == (404, "no_embeddings")
            assert "sentence encoder" in error["message"]


VECTOR = {"object": "embedding", "index": 0, "embedding": [0.6, 0.8]}


@pytest.mark.parametrize(
    ("status", "document", "expected"),
    [
        (404, {}, 404),
        (501, {"error": {"message": "start me with --embeddings"}}, 404),
        (400, {"error": {"message": "too long"}}, 400),
        (500, {}, 502),
        (200, [], 502),
        (200, {"data": []}, 502),
        (200, {"data": [{**VECTOR, "index": 1}], "usage": {"prompt_tokens": 1}}, 502),
        (200, {"data": [{**VECTOR, "embedding": ["x"]}], "usage": {"prompt_tokens": 1}}, 502),
        (200, {"data": [{**VECTOR, "embedding": 3}], "usage": {"prompt_tokens": 1}}, 502),
        (200, {"data": [VECTOR, VECTOR], "usage": {"prompt_tokens": 1}}, 200),
        (200, {"data": [VECTOR], "usage": {"prompt_tokens": 1}}, 200),
    ],
)
def test_a_server_behind_that_fails_is_told_apart(
    status: int, document: Any, expected: int
) -> None:
    with scripted(status, json.dumps(document).encode()) as url:
        engine = UpstreamEngine(url, "m", key=None, max_tokens=9)
        with RunningServer(engine) as server:
            got, _, body = server.send(PATH, {"input": "a"})
            assert got == expected
            if got == 200:
                assert rows(json.loads(body))[0] == pytest.approx([0.6, 0.8])


def test_embeddings_are_the_students_and_no_rows_of_a_log(
    classifier: SentenceClassifier, tmp_path: Path
) -> None:
    engine = LabelEngine(classifier, a_task(), name="student")
    with RunningServer(engine, log=LogConfig(folder=tmp_path)) as server:
        status, headers, _ = server.send(PATH, {"input": TEXTS})
        assert (status, headers["x-stillhouse-route"]) == (200, "student")
        server.ask("/v1/messages/count_tokens", messages=[{"role": "user", "content": TEXTS[0]}])
        server.ask("/v1/decisions", input=TEXTS[0])
    lines = [line for file in tmp_path.glob("*.jsonl") for line in file.read_bytes().splitlines()]
    assert [json.loads(line)["protocol"] for line in lines] == ["/v1/decisions"]
