"""The settings of a whole run, as written in YAML."""

import json
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from stillhouse.collect import CaptureConfig, CollectConfig
from stillhouse.curate import CurateConfig
from stillhouse.evaluate import EvaluateConfig
from stillhouse.settings import check_settings, read_yaml
from stillhouse.train import TrainConfig

SCHEMA_FILE = "stillhouse.schema.json"
MODELINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"

_STUDENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED_NAMES = ("teacher", "untrained")


def _check_student_name(name: str) -> str:
    # The name becomes a folder, and a column beside the teacher's and the untrained student's.
    if not _STUDENT_NAME.fullmatch(name):
        raise ValueError("a student's name is made of letters, digits, '.', '_' and '-'")
    if name in _RESERVED_NAMES:
        raise ValueError(f"{' and '.join(_RESERVED_NAMES)} name other columns of the report")
    return name


StudentName = Annotated[str, AfterValidator(_check_student_name)]


class RunConfig(BaseModel):
    """From prompts to a report: every stage of one run."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    title: str = Field(min_length=1)
    """What the report is called."""
    teacher: str = "local:"
    """Who answers: `local:` is the embedded SmolLM2-135M-Instruct, `local:PATH` a model folder or
    a GGUF file. A run compares whole distributions, so it needs a teacher with weights here."""
    prompts: str = Field(min_length=1)
    """File of prompts (JSONL, CSV, Parquet or a YAML recipe), relative to this config."""
    terms: str | None = Field(default=None, exclude=True)
    """File that declares what the students are for (docs/terms.md), relative to this config; null
    takes the one that the environment variable STILLHOUSE_TERMS names."""
    max_train_prompts: int | None = Field(default=None, ge=1)
    """Use only the first so many training prompts; all when left out."""
    max_held_out_prompts: int | None = Field(default=None, ge=1)
    """Use only the first so many held-out prompts; all when left out."""
    collect: CollectConfig = CollectConfig()
    """How the teacher is asked."""
    curate: CurateConfig = CurateConfig()
    """Which completions become examples."""
    capture: CaptureConfig = CaptureConfig()
    """How the teacher's distributions are kept. Skipped where no student learns from them."""
    students: dict[StudentName, TrainConfig] = Field(min_length=1)
    """Students by name. The first is the one that the report is about, the others are there to
    compare it with."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How teacher and students are measured."""


def read_config(path: Path) -> RunConfig:
    """The run in a YAML file.

    Raises:
        ConfigError: the file is missing or not YAML, or a setting in it is unknown, missing or
            wrong; one line that names the file and the setting.
    """
    hint = "Give the path of a config file, or make one with: stillhouse init"
    return check_settings(RunConfig, read_yaml(path, hint=hint), where=str(path))


def config_schema() -> dict[str, Any]:
    """The JSON Schema of a config file, for editors."""
    schema = RunConfig.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def schema_text() -> str:
    """`config_schema` as the text of a file."""
    return json.dumps(config_schema(), indent=2) + "\n"
