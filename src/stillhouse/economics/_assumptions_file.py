"""The assumptions as a YAML file that a person edits, with a schema for the editor."""

import json
import textwrap
from pathlib import Path
from typing import Any

import yaml

from stillhouse.artifacts import atomic_write_bytes
from stillhouse.economics._assumptions import Assumptions, source_of, unit_of
from stillhouse.errors import ConfigError
from stillhouse.settings import check_settings, read_yaml

SCHEMA_FILE = "economics.schema.json"

_HINT = "Write one to edit with: stillhouse economics --write-assumptions FILE"
_HEAD = f"""\
# yaml-language-server: $schema={SCHEMA_FILE}
# What `stillhouse economics DIR --assumptions FILE` takes for granted. All lines may be left out;
# what is left out is as here. Null means as measured, or unknown where nothing was.
"""
_WIDTH = 98


def read_assumptions(path: Path) -> Assumptions:
    """The assumptions in a YAML file.

    Raises:
        ConfigError: the file cannot be read, or a line in it is unknown or wrong.
    """
    return check_settings(Assumptions, read_yaml(path, hint=_HINT), where=str(path))


def write_assumptions(path: Path) -> tuple[Path, Path]:
    """Write the defaults, with unit and source of each, and the schema beside them.

    Returns:
        The file and its schema.

    Raises:
        ConfigError: the file is there already, or its folder cannot be written; nothing is.
    """
    schema = path.parent / SCHEMA_FILE
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} exists, and is not overwritten. Give another name.")
    if path.name == SCHEMA_FILE:
        raise ConfigError(f"{path.name} is the name of the schema. Give another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(schema, (json.dumps(assumptions_schema(), indent=2) + "\n").encode())
        atomic_write_bytes(path, assumptions_text().encode())
    except OSError as err:
        raise ConfigError(
            f"{path} cannot be written ({err.strerror}). Give a folder that can."
        ) from err
    return path, schema


def assumptions_schema() -> dict[str, Any]:
    """The JSON Schema of such a file."""
    schema = Assumptions.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def assumptions_text() -> str:
    """The text of the file with all defaults."""
    parts = [_HEAD]
    for name, value in Assumptions().model_dump().items():
        meaning = " ".join((Assumptions.model_fields[name].description or "").split())
        about = f"{meaning} Unit: {unit_of(name)}. Source: {source_of(name)}."
        comment = textwrap.fill(
            about, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
        )
        line = yaml.safe_dump({name: value}, sort_keys=False, default_flow_style=False)
        parts.append(f"{comment}\n{line}")
    return "\n".join(parts)
