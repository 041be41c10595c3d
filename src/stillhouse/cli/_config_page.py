"""docs/config.md, made from the settings' own descriptions."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_HEAD = """# Settings

Made from the settings' own descriptions by `python -m stillhouse.cli._docs --write`; a test
compares the two. First come those of a run, then those of [commands](#settings-of-commands) that
are no stage of one. `stillhouse init` writes a config to start from and the JSON Schema that lets
an editor complete and check it; `stillhouse run --schema` prints that schema. A setting that does
not exist is an error that names the nearest one. Paths in `prompts` are relative to the config
file, paths in model and teacher specs to the folder that the command is started in.

Single stages take the same settings: `stillhouse collect PROMPTS --set sampling.top_p=0.9`.
"""
_COMMANDS_HEAD = """
# Settings of commands

Given one by one, as in `stillhouse fit DATASET --set noise.method=off`. Where settings are those of
another section, the default names it, with what is different here.
"""


@dataclass(frozen=True)
class _Section:
    """One table.

    Attributes:
        title: Its heading.
        place: In front of the names of its settings.
        name: The class of the settings.
        schema: JSON Schema of that class.
        definitions: Schemas of the classes inside it.
    """

    title: str
    place: str
    name: str
    schema: Mapping[str, Any]
    definitions: Mapping[str, Any]

    def inside(self, title: str, name: str, field: Mapping[str, Any]) -> "_Section":
        """The table of settings inside one of these."""
        model = _model(field)
        place = f"{self.place}{name}."
        return _Section(title, place, model, self.definitions[model], self.definitions)


def config_text() -> str:
    """The text of docs/config.md."""
    of_run, of_commands = list(_run_sections()), list(_command_sections())
    titles = _titles([*of_run, *of_commands])
    parts = [_HEAD, *(_table(section, {}) for section in of_run)]
    parts += [_COMMANDS_HEAD, *(_table(section, titles) for section in of_commands)]
    return "\n".join(parts) + "\n"


def described_settings() -> dict[str, str]:
    """By class of settings, the heading under which it is described first."""
    return _titles([*_run_sections(), *_command_sections()])


def _titles(sections: Iterable[_Section]) -> dict[str, str]:
    titles: dict[str, str] = {}
    for section in sections:
        titles.setdefault(section.name, section.title)
    return titles


def _run_sections() -> Iterator[_Section]:
    """In the order of the config."""
    from stillhouse.pipeline import config_schema

    schema = config_schema()
    run = _Section("The run", "", "RunConfig", schema, schema["$defs"])
    yield run
    for name, field in schema["properties"].items():
        is_mapping = "additionalProperties" in field
        target = field["additionalProperties"] if is_mapping else field
        if "$ref" in target:
            yield from _nested_sections(run, f"{name}.NAME" if is_mapping else name, target)


def _nested_sections(outer: _Section, name: str, field: Mapping[str, Any]) -> Iterator[_Section]:
    section = outer.inside(f"`{outer.place}{name}`", name, field)
    yield section
    for inner, settings in section.schema["properties"].items():
        for option in _references(settings):
            yield from _nested_sections(section, inner, option)


def _command_sections() -> Iterator[_Section]:
    """Commands' own settings, and those inside them that no other section describes."""
    commands = [
        _Section(title, "", settings.__name__, schema, schema.get("$defs", {}))
        for title, settings in _commands()
        for schema in [_schema(settings)]
    ]
    known = {section.name for section in (*_run_sections(), *commands)}
    for section in commands:
        yield section
        yield from _inner_sections(section, section.title, known)


def _inner_sections(outer: _Section, command: str, known: set[str]) -> Iterator[_Section]:
    for name, field in outer.schema["properties"].items():
        by_name = field.get("additionalProperties")
        if isinstance(by_name, Mapping):
            name, field = f"{name}.NAME", by_name
        for option in _references(field):
            if _model(option) in known:
                continue
            section = outer.inside(f"`{outer.place}{name}` of {command}", name, option)
            known.add(section.name)
            yield section
            yield from _inner_sections(section, command, known)


def _commands() -> list[tuple[str, type]]:
    """The settings that commands take, in the order of the commands."""
    from stillhouse.cascade import WatchConfig
    from stillhouse.certify import CertifyConfig
    from stillhouse.collect import ImportConfig, ProxyConfig
    from stillhouse.evaluate import ArenaConfig, BenchmarksConfig, TaskEvaluateConfig
    from stillhouse.export import ExportConfig
    from stillhouse.fit import FitConfig
    from stillhouse.pipeline import BakeoffConfig, RangeConfig, RoundConfig, ScanConfig, YieldConfig
    from stillhouse.protect import AttributionConfig, RadioactivityConfig
    from stillhouse.serve import ServeConfig, TeacherConfig
    from stillhouse.traffic import TrafficConfig

    return [
        ("the next round (`run --from-serve-log`)", RoundConfig),
        ("`stillhouse scan`", ScanConfig),
        ("`stillhouse bakeoff`", BakeoffConfig),
        ("`stillhouse proxy` (flags)", ProxyConfig),
        ("`stillhouse import`", ImportConfig),
        ("`stillhouse fit`", FitConfig),
        ("`stillhouse evaluate` of a task", TaskEvaluateConfig),
        ("`stillhouse certify`", CertifyConfig),
        ("a cascade in service (`Cascade.watch`)", WatchConfig),
        ("`stillhouse export`", ExportConfig),
        ("`stillhouse yield`", YieldConfig),
        ("`stillhouse arena`", ArenaConfig),
        ("`stillhouse benchmarks`", BenchmarksConfig),
        ("`stillhouse serve` (flags)", ServeConfig),
        ("The teacher of a cascade (flags)", TeacherConfig),
        ("`stillhouse watch`", TrafficConfig),
        ("`stillhouse radioactivity`", RadioactivityConfig),
        ("`stillhouse attribute`", AttributionConfig),
        ("`stillhouse range`", RangeConfig),
    ]


def _schema(settings: type) -> dict[str, Any]:
    from pydantic import TypeAdapter

    schema = TypeAdapter(settings).json_schema()
    for name, meaning in _attributes(settings).items():
        if name in schema["properties"]:
            schema["properties"][name].setdefault("description", meaning)
    return schema


def _attributes(settings: type) -> dict[str, str]:
    """What the docstring says of each attribute, as that of a dataclass does."""
    _, _, text = (inspect.getdoc(settings) or "").partition("\nAttributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", text, re.MULTILINE)
    return dict(entries)


def _table(section: _Section, titles: Mapping[str, str]) -> str:
    schema = section.schema
    lines = [
        f"\n## {section.title}\n\n{_first_paragraph(schema)}\n",
        "| setting | type | default | meaning |\n|---|---|---|---|",
    ]
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        default = "required" if name in required else _default(name, field, section, titles)
        meaning = _cell(field.get("description", ""))
        lines.append(f"| `{section.place}{name}` | {_type(field)} | {default} | {meaning} |")
    return "\n".join(lines)


def _references(field: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [option for option in (field, *field.get("anyOf", ())) if "$ref" in option]


def _model(field: Mapping[str, Any]) -> str:
    return str(field["$ref"]).rsplit("/")[-1]


def _type(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return "settings"
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    names = {"array": "list", "object": "settings by name", "null": "nothing"}
    name = str(field.get("type", "any"))
    return names.get(name, name) + _bounds(field)


def _bounds(field: Mapping[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {field[name]:g}" for name, sign in signs.items() if name in field]
    return f" {', '.join(bounds)}" if bounds else ""


def _default(
    name: str, field: Mapping[str, Any], section: _Section, titles: Mapping[str, str]
) -> str:
    value = field.get("default")
    if value in (None, "", {}) and "$ref" not in field:
        return ""
    for option in _references(field):
        title = titles.get(_model(option))
        if title is not None and not title.startswith(f"`{section.place}{name}` of "):
            return f"as {title}{''.join(_changes(value or {}, option, section.definitions))}"
    return "see below" if isinstance(value, dict) or "$ref" in field else f"`{_plain(value)}`"


def _changes(
    given: Mapping[str, Any], field: Mapping[str, Any], definitions: Mapping[str, Any], at: str = ""
) -> Iterator[str]:
    """Values that are not those of the class."""
    usual = definitions[_model(field)]["properties"]
    for name, value in given.items():
        options = _references(usual[name])
        if options and isinstance(value, dict):
            yield from _changes(value, options[0], definitions, f"{at}{name}.")
        elif value != usual[name].get("default", {}):
            yield f", with `{at}{name}` `{_plain(value)}`"


def _plain(value: Any) -> Any:
    return str(value).lower() if value in (True, False) else value


def _first_paragraph(model: Mapping[str, Any]) -> str:
    return str(model.get("description", "")).split("\n\n")[0]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
