"""A student that reads with an encoder as one ONNX graph, from token ids to probabilities.

Letters: T tokens, S labels that can be learnt, L labels.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.classifiers import SentenceClassifier
from stillhouse.errors import ConfigError
from stillhouse.export._answers import (
    ClassifierSource,
    answer_figures,
    answer_metric,
    answers_of,
)
from stillhouse.export._config import FormatName
from stillhouse.export._report import FormatReport

MODEL, TOKENIZER, LABELS = "model.onnx", "tokenizer.json", "labels.json"
OUTPUT = "probabilities"

_STATE = "state"
_NOTE = (
    "The graph takes `ids` (1, tokens) from tokenizer.json and gives `probabilities` (1, labels) "
    "in the order of labels.json; to a text of white space alone the student answers `blank` from "
    "there. Some operators are onnxruntime's own (com.microsoft)."
)

Run = Callable[[list[int]], npt.NDArray[np.float32]]
"""(L,) probabilities of the text with these token ids."""


def export_onnx(source: ClassifierSource, folder: Path, name: FormatName) -> FormatReport:
    """Write the graph with its tokenizer and labels, and run it in onnxruntime.

    Raises:
        ConfigError: the student is no encoder, or not an encoder alone.
        ExportRefusedError: it does not answer as the student does.
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    import onnxruntime

    write_graph(source, folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        folder / MODEL, options, providers=["CPUExecutionProvider"]
    )
    return graph_report(
        source,
        folder,
        name,
        run=lambda ids: session.run(None, {"ids": np.array([ids], dtype=np.int64)})[0][0],
        notes=(_NOTE,),
    )


def graph_report(
    source: ClassifierSource, folder: Path, name: FormatName, *, run: Run, notes: tuple[str, ...]
) -> FormatReport:
    """What a graph says of the texts, with the tokenizer and labels beside it.

    Raises:
        ExportRefusedError: other answers than the student's.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    blank = json.loads((folder / LABELS).read_bytes())["blank"]
    given_NL = np.array(
        [
            run(tokenizer.encode(text.encode("utf-8", "replace").decode()).ids)
            if text.strip()
            else blank
            for text in source.texts
        ],
        dtype=np.float64,
    )
    answers = answers_of(source.classifier, given_NL)
    return FormatReport(
        format=name,
        figures=answer_figures(source, answers, given_NL),
        metric=answer_metric(source, answers),
        notes=notes,
    )


def write_graph(source: ClassifierSource, folder: Path) -> None:
    """Write graph, tokenizer and labels.

    Raises:
        ConfigError: the student has no graph that says all of it.
    """
    classifier = source.classifier
    if not isinstance(classifier, SentenceClassifier) or classifier.companion is not None:
        what = "has n-grams" if isinstance(classifier, SentenceClassifier) else "is made of n-grams"
        raise ConfigError(
            f"{source.artifact.path} {what}, which an ONNX graph cannot cut out of text. Export a "
            "wheel, or fit an embedding or encoder with ngrams=null."
        )
    (folder / MODEL).write_bytes(_whole_graph(classifier))
    definition = classifier.encoder.reader.definition
    (folder / TOKENIZER).write_text(definition, encoding="utf-8")
    space = classifier.common.space
    labels = {
        "labels": list(space.names),
        "is_multiple": space.is_multiple,
        "blank": space.prior_L.tolist(),
    }
    (folder / LABELS).write_text(json.dumps(labels, ensure_ascii=False) + "\n", encoding="utf-8")


def _whole_graph(classifier: SentenceClassifier) -> bytes:
    """The encoder's graph with head, calibration and the labels that could not be learnt."""
    import onnx

    model = onnx.load_from_string(classifier.encoder.graph())
    tail = _Tail(onnx, model.graph)
    head = classifier.head
    logits = tail.add(
        "Add",
        tail.add("MatMul", _STATE, tail.constant(head.weights_FL)),
        tail.constant(head.bias_L),
    )
    calibration = classifier.calibration
    if calibration.slopes:
        scaled = tail.add("Mul", logits, tail.constant(np.array(calibration.slopes)))
        logits = tail.add("Add", scaled, tail.constant(np.array(calibration.offsets)))
    else:
        logits = tail.add("Div", logits, tail.constant(np.array([calibration.temperature])))
    learnt = tail.add("Sigmoid", logits) if classifier.is_multiple else tail.add("Softmax", logits)
    places_SL, rest_L = _placed(classifier)
    spread = tail.add("MatMul", learnt, tail.constant(places_SL))
    tail.add("Add", spread, tail.constant(rest_L), output=OUTPUT)
    num_labels = len(classifier.labels)
    kinds = onnx.TensorProto
    del model.graph.output[:]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(OUTPUT, kinds.FLOAT, [1, num_labels])
    )
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def _placed(classifier: SentenceClassifier) -> tuple[Any, Any]:
    """Where learnt labels go and what is left to them, (S, L), and what the others have, (L,)."""
    space = classifier.common.space
    learnt_S = np.flatnonzero(space.is_learnt_L)
    rest_L = np.where(space.is_learnt_L, 0.0, space.prior_L)
    places_SL = np.zeros((len(learnt_S), len(space.names)))
    places_SL[np.arange(len(learnt_S)), learnt_S] = 1.0 if space.is_multiple else 1 - rest_L.sum()
    return places_SL, rest_L


class _Tail:
    """Adds operators behind a graph; each gives the name of its output."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        self._onnx = onnx
        self._graph = graph
        self._number = 0

    def constant(self, array: Any) -> str:
        name = self._name()
        tensor = self._onnx.numpy_helper.from_array(np.asarray(array, dtype=np.float32), name)
        self._graph.initializer.append(tensor)
        return name

    def add(self, operator: str, *inputs: str, output: str = "") -> str:
        output = output or self._name()
        self._graph.node.append(self._onnx.helper.make_node(operator, list(inputs), [output]))
        return output

    def _name(self) -> str:
        self._number += 1
        return f"tail.{self._number}"
