"""Read YAML that a person wrote: a mistake is named with its line and column."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from stillhouse.errors import ConfigError

_TAGS = "tag:yaml.org,2002:"
_MERGE_TAG = f"{_TAGS}merge"
_MAX_VALUE_CHARS = 60
# What PyYAML lets through on a value that is not of its tag, such as 2024-99-99 or !!int "".
_SLIPS = (ValueError, OverflowError, LookupError, AttributeError)


def read_yaml(path: Path, *, hint: str) -> dict[str, Any]:
    """The mapping in a YAML file.

    Args:
        path: The file.
        hint: Ends the message about a file that is none or holds no mapping: what to give.

    Raises:
        ConfigError: the file cannot be read, is not YAML, gives a key twice, or holds something
            else than a mapping.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as err:
        raise ConfigError(f"{path} cannot be read ({err.strerror}). {hint}") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{path} is not UTF-8 (byte {err.start}). Save it as UTF-8.") from err
    value = parse_yaml(text, where=str(path))
    if not isinstance(value, dict):
        what = "empty" if value is None else f"a {type(value).__name__}"
        raise ConfigError(f"{path} is {what}; it must hold 'name: value' lines. {hint}")
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
        raise ConfigError(f"{where} is nested too deeply. A few levels are enough.") from err
    except (ValueError, OverflowError) as err:  # an escape of no character, such as "\U00110000"
        raise ConfigError(f"{where} is not YAML ({err}). Correct it.") from err


class _Loader(yaml.SafeLoader):
    """The safe loader, which would silently take the last of two equal keys."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _SLIPS as err:
            kind = str(node.tag).removeprefix(_TAGS)
            raise yaml.constructor.ConstructorError(
                problem=f"{str(node.value)[:_MAX_VALUE_CHARS]!r} cannot be read as {kind}; if it "
                "is text, put it in quotes",
                problem_mark=node.start_mark,
            ) from err

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == _MERGE_TAG:
                continue
            key = self.construct_object(key_node)
            if not isinstance(key, Hashable):
                continue  # refused below, with its place
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
