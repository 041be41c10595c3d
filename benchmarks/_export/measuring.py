"""Export SmolLM2-135M-Instruct itself, as a student that was not trained."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from benchmarks._export.options import ExportOptions

from stillhouse.artifacts import Counts, begin_artifact
from stillhouse.export import REPORT_NAME, ExportConfig, ExportReport, Limits, export
from stillhouse.models import load_model, save_model

# What is refused would not be published: the goals judge, not the stage.
_NO_LIMIT = Limits(max_mean_kl=1e9, min_top1=0.0)


def measured(name: str, options: ExportOptions) -> dict[str, Any]:
    """The figures of one format, with what it took."""
    torch.set_num_threads(1)
    config = ExportConfig.model_validate(
        {
            "formats": (name,),
            "positions": options.positions,
            **dict.fromkeys(("f16", "q8_0", "q4_k"), _NO_LIMIT),
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        student = _whole_model(Path(scratch) / "student")
        begun = time.perf_counter()
        out = export(student, Path(scratch) / "out", config=config).path
        seconds = time.perf_counter() - begun
        (made,) = ExportReport.model_validate_json((out / REPORT_NAME).read_bytes()).formats
    return {
        "bytes": max(file.bytes for file in made.files),
        "seconds": round(seconds, 1),
        **{
            figure.name: {"value": figure.value, "low": figure.low, "high": figure.high}
            | {"n": figure.n, "texts": figure.num_clusters}
            for figure in made.figures
        },
    }


def _whole_model(folder: Path) -> Path:
    writer = begin_artifact(folder, kind="student", stage="train", config={})
    staging = writer.work_dir / "model"
    for name in save_model(load_model(""), staging):
        (staging / name).replace(writer.new_file(name))
    writer.finish(counts=Counts.model_validate({"in": 0, "kept": 0}))
    return folder
