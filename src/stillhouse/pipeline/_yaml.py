"""Read YAML that a person wrote: a mistake is named with its line and column."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from stillhouse.errors import ConfigError

_MERGE_TAG = "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        ConfigError: the file cannot be read, is not YAML, gives a key twice, or holds something
            else than a mapping.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as err:
        raise ConfigError(
            f"{path} cannot be read ({err.strerror}). Give the path of a config file, or make one "
            "with: stillhouse init"
        ) from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path} is not UTF-8 (byte {err.start}). Save it as UTF-8.") from err
    value = parse_yaml(text, where=str(path))
    if not isinstance(value, dict):
        what = "empty" if value is None else f"a {type(value).__name__}"
        raise ConfigError(f"{path} is {what}; it must hold settings as 'name: value' lines.")
    return value


def parse_yaml(text: str, *, where: str) -> Any:
    """The value of one YAML document.

    Raises:
        ConfigError: it is not YAML, or gives a key twice.
    """
    try:
        # _Loader is a SafeLoader: it makes plain data only.
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as err:
        raise ConfigError(f"{where}{_place(err)}: {_problem(err)}. Correct the YAML.") from err
    except yaml.YAMLError as err:
        raise ConfigError(f"{where} is not YAML ({err}). Correct it.") from err
    except RecursionError as err:
        raise ConfigError(f"{where} is nested too deeply. Settings are two levels deep.") from err
    except ValueError as err:  # PyYAML lets impossible dates and endless numbers through
        raise ConfigError(
            f"{where} holds a value that YAML cannot read ({err}). Quote it."
        ) from err


class _Loader(yaml.SafeLoader):
    """The safe loader, which would silently take the last of two equal keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE_TAG:
                continue
            key = self.construct_object(key_node)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _place(err: yaml.MarkedYAMLError) -> str:
    mark = err.problem_mark or err.context_mark
    return f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""


def _problem(err: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (err.context, err.problem) if part]
    return ", ".join(parts) or "not YAML"
