"""The settings of a next round, as written in YAML."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from stillhouse.collect import ImportConfig
from stillhouse.curate import CurateConfig
from stillhouse.evaluate import TaskEvaluateConfig
from stillhouse.fit import FitConfig
from stillhouse.settings import check_settings, read_yaml
from stillhouse.train import TrainConfig


class RoundConfig(BaseModel):
    """From the log of a server to the next student of the same task."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    title: str = Field(default="The next round", min_length=1)
    """What the report is called."""
    served: str = Field(min_length=1)
    """The folder that was served, which fit, train or certify wrote, relative to this config. Its
    task is that of the next student."""
    joins_earlier: bool = True
    """Whether the answers that the served student was made from are learnt from again, beside those
    of the log. A log alone holds what the student found hard, and little else."""
    import_: ImportConfig = Field(default=ImportConfig(format="serve-log"), alias="import")
    """How the log is read."""
    curate: CurateConfig = CurateConfig(contamination="remove")
    """Which answers count. Training rows that are near to audited ones are taken out."""
    fit: FitConfig | None = None
    """How a student with labels is made; null makes it as the served one was."""
    train: TrainConfig | None = None
    """How a language model is made, from texts alone; null makes it as the served one was."""
    evaluate: TaskEvaluateConfig = TaskEvaluateConfig()
    """How the student is judged."""


def read_round(path: Path) -> RoundConfig:
    """The round in a YAML file.

    Raises:
        ConfigError: the file is missing or not YAML, or a setting in it is unknown, missing or
            wrong; one line that names the file and the setting.
    """
    hint = "A round has 'served', the folder that was served (docs/serve.md)."
    return check_settings(RoundConfig, read_yaml(path, hint=hint), where=str(path))
