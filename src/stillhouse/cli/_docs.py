"""docs/cli.md and docs/config.md, made from the code: `python -m stillhouse.cli._docs --write`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.cli._app import build_app

_WIDTH = 100
_CLI_HEAD = """# Commands

Made from `--help` by `python -m stillhouse.cli._docs --write`; a test compares the two.

Exit codes: 0 done; 1 a bug of ours; 2 something that you can fix; 3 more items failed than
allowed; 130 interrupted (143 on SIGTERM, 141 when the reader of stdout went away). With `--json`
stdout carries exactly one JSON document, and an error is `{"error": {"type", "message"}}` on
stderr. Progress and messages always go to stderr.
"""
_CONFIG_HEAD = """# The config of a run

Made from the settings' own descriptions by `python -m stillhouse.cli._docs --write`; a test
compares the two. `stillhouse init` writes a config to start from and the JSON Schema that lets an
editor complete and check it; `stillhouse run --schema` prints that schema. A setting that does not
exist is an error that names the nearest one. Paths in `prompts` are relative to the config file,
paths in model and teacher specs to the folder that the command is started in.

Single stages take the same settings: `stillhouse collect PROMPTS --set sampling.top_p=0.9`.
"""


def cli_text() -> str:
    """The text of docs/cli.md."""
    app = build_app()
    parts = [_CLI_HEAD, _help_block("stillhouse", app, [])]
    for name, command in app.commands.items():
        parts.append(f"\n## stillhouse {name}\n")
        parts.append(_help_block(f"stillhouse {name}", command, [name]))
    return "\n".join(parts)


def options_text() -> str:
    """Every command with its arguments and options, one a line: what must not change unseen."""
    app = build_app()
    lines = [f"stillhouse {option}" for option in _parameters(app)]
    for name, command in app.commands.items():
        lines += [f"stillhouse {name} {parameter}" for parameter in _parameters(command)]
    return "\n".join(lines) + "\n"


def config_text() -> str:
    """The text of docs/config.md."""
    from stillhouse.pipeline import config_schema

    schema = config_schema()
    parts = [_CONFIG_HEAD]
    for title, place, model in _sections(schema):
        parts.append(f"\n## {title}\n\n{_first_paragraph(model)}\n")
        parts.append("| setting | type | default | meaning |\n|---|---|---|---|")
        required = model.get("required", [])
        for name, field in model["properties"].items():
            default = "required" if name in required else _default(field)
            meaning = _cell(field.get("description", ""))
            parts.append(f"| `{place}{name}` | {_type(field)} | {default} | {meaning} |")
    return "\n".join(parts) + "\n"


def _help_block(prog: str, command: Any, path: list[str]) -> str:
    context = command.context_class(
        command, info_name=prog, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    return f"```\n{command.get_help(context)}\n```"


def _parameters(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            yield parameter.metavar or parameter.name
        else:
            yield "/".join([*parameter.opts, *parameter.secondary_opts])


def _sections(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Title, prefix of the settings and schema of each model, in the order of the config."""
    yield "The run", "", schema
    definitions = schema["$defs"]
    for name, field in schema["properties"].items():
        is_mapping = "additionalProperties" in field
        target = field["additionalProperties"] if is_mapping else field
        if "$ref" in target:
            place = f"{name}.NAME." if is_mapping else f"{name}."
            yield from _nested_sections(place, definitions, target)


def _nested_sections(
    place: str, definitions: dict[str, Any], field: dict[str, Any]
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    model = definitions[field["$ref"].rsplit("/")[-1]]
    yield f"`{place.rstrip('.')}`", place, model
    for name, inner in model["properties"].items():
        for option in (inner, *inner.get("anyOf", ())):
            if "$ref" in option:
                yield from _nested_sections(f"{place}{name}.", definitions, option)


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return "settings"
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    names = {"array": "list", "object": "settings by name", "null": "nothing"}
    name = str(field.get("type", "any"))
    return names.get(name, name) + _bounds(field)


def _bounds(field: dict[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {field[name]:g}" for name, sign in signs.items() if name in field]
    return f" {', '.join(bounds)}" if bounds else ""


def _default(field: dict[str, Any]) -> str:
    if "$ref" in field or isinstance(field.get("default"), dict):
        return "see below"
    value = field.get("default")
    return "" if value is None else f"`{str(value).lower() if value in (True, False) else value}`"


def _first_paragraph(model: dict[str, Any]) -> str:
    return str(model.get("description", "")).split("\n\n")[0]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _write(folder: Path) -> None:
    (folder / "docs" / "cli.md").write_text(cli_text(), encoding="utf-8")
    (folder / "docs" / "config.md").write_text(config_text(), encoding="utf-8")
    golden = folder / "tests" / "golden" / "cli_options.txt"
    golden.parent.mkdir(parents=True, exist_ok=True)
    golden.write_text(options_text(), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit("Run in the repository: python -m stillhouse.cli._docs --write")
    _write(Path.cwd())
