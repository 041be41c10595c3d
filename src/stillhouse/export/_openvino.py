"""The ONNX graph of a student as a model of OpenVINO, for processors without onnxruntime."""

import shutil
import tempfile
from pathlib import Path

import numpy as np

from stillhouse.errors import MissingDependencyError
from stillhouse.export._answers import ClassifierSource
from stillhouse.export._config import FormatName
from stillhouse.export._onnx import LABELS, MODEL, TOKENIZER, graph_report, write_graph
from stillhouse.export._report import FormatReport

NAME = "model.xml"

_NOTE = (
    "The model takes `ids` (1, tokens) from tokenizer.json and gives `probabilities` (1, labels) "
    "in the order of labels.json; to a text of white space alone the student answers `blank` from "
    "there. Compile it with INFERENCE_PRECISION_HINT f32."
)


def export_openvino(source: ClassifierSource, folder: Path, name: FormatName) -> FormatReport:
    """Write model, tokenizer and labels, and run the model in OpenVINO.

    Raises:
        ConfigError: the student is no encoder, or not an encoder alone.
        ExportRefusedError: it does not answer as the student does.
        MissingDependencyError: openvino or onnx is not installed.
    """
    try:
        import openvino
    except ImportError as err:
        raise MissingDependencyError(
            f"The format openvino needs openvino ({err}). Run: pip install 'stillhouse[openvino]'"
        ) from err
    core = openvino.Core()
    with tempfile.TemporaryDirectory() as scratch:
        write_graph(source, Path(scratch))
        # Read by the runtime itself: the converter for models of frameworks sends telemetry.
        model = core.read_model(Path(scratch) / MODEL)
        openvino.save_model(model, folder / NAME, compress_to_fp16=False)
        for beside in (TOKENIZER, LABELS):
            shutil.copyfile(Path(scratch) / beside, folder / beside)
    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(folder / NAME), "CPU", hints)
    return graph_report(
        source,
        folder,
        name,
        run=lambda ids: compiled([np.array([ids], dtype=np.int64)])[0][0],
        notes=(_NOTE,),
    )
