"""Students of a few thousand weights, as artefacts, and what an export is asked for."""

from pathlib import Path
from typing import Any

from small_models import make

from stillhouse.artifacts import Counts, begin_artifact
from stillhouse.export import ExportConfig, Limits
from stillhouse.models import LanguageModel, load_model, save_model

LOOSE = Limits(max_mean_kl=10.0, min_top1=0.0)  # random weights bear no quantisation


def write_student(folder: Path, model: LanguageModel) -> Path:
    """The artefact that `train` would make of a model."""
    writer = begin_artifact(folder, kind="student", stage="train", config={"name": model.name})
    staging = writer.work_dir / "model"
    for name in save_model(model, staging):
        (staging / name).replace(writer.new_file(name))
    writer.finish(
        counts=Counts.model_validate({"in": 1, "kept": 1}),
        tokenizer_sha256=model.chat.vocabulary_sha256,
        chat_template_sha256=model.chat.template_sha256,
    )
    return folder


def small_student(folder: Path, tiny_folder: Path, config: Any = None) -> Path:
    """A student of `config` with the tiny model's tokenizer; the tiny model itself without one."""
    model = load_model(tiny_folder) if config is None else make(config, tiny_folder)
    return write_student(folder, model)


def asked(*formats: str, **changes: Any) -> ExportConfig:
    """Settings of a quick export."""
    # One position of 64 is more than the usual limit leaves, and random weights tie often.
    f16 = {"max_mean_kl": 0.005, "min_top1": 0.9}
    given = {"formats": formats, "positions": 64, "f16": f16, **changes}
    return ExportConfig.model_validate(given)
