"""Start a project: a config to edit, prompts and the schema that editors complete from."""

from pathlib import Path

from stillhouse.errors import ConfigError
from stillhouse.pipeline._config import MODELINE, SCHEMA_FILE, schema_text

CONFIG_FILE = "stillhouse.yaml"
PROMPTS_FILE = "prompts.yaml"

_HERE = Path(__file__).parent


def init(folder: Path) -> tuple[Path, ...]:
    """Write `stillhouse.yaml`, `prompts.yaml` and the schema into `folder`.

    Returns:
        The files, the config first.

    Raises:
        ConfigError: one of them exists already, or the folder cannot be made; nothing is written.
    """
    texts = {
        CONFIG_FILE: f"{MODELINE}\n{_template('init.yaml')}",
        PROMPTS_FILE: _template("init_prompts.yaml"),
        SCHEMA_FILE: schema_text(),
    }
    in_the_way = [name for name in texts if (folder / name).exists()]
    if in_the_way:
        raise ConfigError(
            f"{folder / in_the_way[0]} exists; init overwrites nothing. Give another folder: "
            "stillhouse init DIR"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as err:
        raise ConfigError(
            f"{folder} cannot be written ({err.strerror}). Give another folder: stillhouse init DIR"
        ) from err
    return tuple(folder / name for name in texts)


def _template(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
