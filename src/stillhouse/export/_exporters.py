"""Which formats each kind of student has, and what makes them."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from stillhouse.export._config import FormatName
from stillhouse.export._report import FormatReport

Exporter = Callable[[Any, Path, FormatName], FormatReport]
"""Writes one format of a source into an empty folder, and says what was measured of it."""


def _later(module: str, function: str) -> Exporter:
    """A function whose module, and the packages that it needs, load when it is first called."""

    def call(source: Any, folder: Path, name: FormatName) -> FormatReport:
        found = getattr(import_module(f"stillhouse.export.{module}"), function)
        report: FormatReport = found(source, folder, name)
        return report

    return call


_GGUF = _later("_gguf", "export_gguf")

EXPORTERS: Mapping[str, Mapping[FormatName, Exporter]] = {
    "student": {
        "gguf-f16": _GGUF,
        "gguf-q8_0": _GGUF,
        "gguf-q4_k": _GGUF,
        "safetensors": _later("_folders", "export_safetensors"),
        "adapter": _later("_folders", "export_adapter"),
        "container": _later("_container._language", "export_language_container"),
    },
    "classifier": {
        "wheel": _later("_wheel", "export_wheel"),
        "onnx": _later("_onnx", "export_onnx"),
        "openvino": _later("_openvino", "export_openvino"),
        "container": _later("_container._wheel", "export_wheel_container"),
    },
}
