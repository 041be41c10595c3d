"""The task: a YAML file, read and checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.records import Record, canonical_json
from stillhouse.settings import check_settings, read_yaml
from stillhouse.tasks._labels import LABEL_SEPARATOR, check_labels
from stillhouse.tasks._template import slots_of

TaskKind = Literal["classification", "extraction", "text"]
GraderName = Literal[
    "label",
    "label_jaccard",
    "fields",
    "document",
    "text",
    "tokens",
    "edit",
    "exact",
    "numeric",
    "code",
    "judge",
]

GRADERS_BY_KIND: dict[TaskKind, tuple[GraderName, ...]] = {
    "classification": ("label", "label_jaccard"),
    "extraction": ("fields", "document"),
    "text": ("text", "tokens", "edit", "exact", "numeric", "code", "judge"),
}
"""The graders that can grade answers of a kind; the first is the default."""

_FIXED_SLOTS = ("labels", "schema")
_ROW_NAMES = ("id", "split", "group")
_OF_LABELS = ("labels", "aliases", "out_of_scope", "multiple")
_HINT = "A task has 'name', 'kind' and what goes with the kind (docs/tasks.md)."


class Task(Record):
    """What a student is to do. `docs/tasks.md` shows one as YAML."""

    model_config = ConfigDict(use_attribute_docstrings=True, populate_by_name=True)

    name: str = Field(min_length=1)
    """What reports call it."""
    kind: TaskKind
    """`classification` (labels), `extraction` (JSON that follows a schema) or `text`."""
    system: str | None = None
    """Template of the system message. `{labels}` is the list of labels, one a line, `{schema}` the
    schema; the inputs can be used as well."""
    prompt: str = Field(default="{text}", min_length=1)
    """Template of the user message, with the same slots."""
    inputs: tuple[str, ...] = Field(default=("text",), min_length=1)
    """The columns that the templates use."""
    reference: str | None = None
    """The column with the right answer, where somebody has written it down. It is never sent."""
    labels: tuple[str, ...] = ()
    """Of a classification: all labels."""
    labels_file: str | None = None
    """A file beside the YAML in place of `labels`: one label a line, or a JSON list."""
    multiple: bool = False
    """Whether a text has any number of labels."""
    aliases: dict[str, str] = Field(default_factory=dict)
    """Other spellings of labels."""
    out_of_scope: str | None = None
    """The label that stands for "none of these"."""
    output_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    """Of an extraction: the JSON Schema of an answer, as a mapping or as JSON text."""
    grader: GraderName | None = None
    """How an answer is compared with the expected one; by default `label`, `fields` or `text`."""
    margin: float = Field(default=0.02, gt=0.0, le=0.5, allow_inf_nan=False)
    """How much worse a student may be and still count as good enough, in units of the score."""

    @field_validator("output_schema", mode="before")
    @classmethod
    def _schema_may_be_text(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        try:
            return json.loads(given)
        except (ValueError, RecursionError) as err:
            raise ValueError(f"it is no JSON ({err})") from err

    @field_serializer("output_schema", when_used="json")
    def _schema_as_text(self, schema: dict[str, Any] | None) -> str | None:
        # As text, since manifests sort keys and teachers write fields in the order of the schema.
        return None if schema is None else json.dumps(schema, ensure_ascii=False)

    @field_validator("output_schema")
    @classmethod
    def _schema_is_plain_json(cls, schema: dict[str, Any] | None) -> Any:
        try:  # YAML also has dates, infinities and keys that are numbers
            return schema and json.loads(json.dumps(schema, allow_nan=False))
        except (TypeError, ValueError, RecursionError) as err:
            raise ValueError(f"it cannot be written as JSON ({err})") from err

    @model_validator(mode="after")
    def _is_utf8(self) -> Self:
        canonical_json(self)  # refuses what no manifest could hold
        return self

    @model_validator(mode="after")
    def _kind_has_what_it_needs(self) -> Self:
        if self.kind == "classification":
            self._check_labels()
        else:
            self._refuse(_OF_LABELS, "classification")
        if self.kind != "extraction":
            self._refuse(("output_schema",), "extraction")
        elif self.output_schema is None:
            raise ValueError("schema is missing: an extraction needs the JSON Schema of its answer")
        else:
            # Validation against schemas takes 60 ms to import, which other kinds do without.
            from stillhouse.tasks._json import check_schema

            check_schema(self.output_schema)
        allowed = GRADERS_BY_KIND[self.kind]
        if self.grader is not None and self.grader not in allowed:
            raise ValueError(
                f"the grader {self.grader!r} is not for kind {self.kind!r}. Take one of "
                f"{', '.join(allowed)}"
            )
        return self

    @model_validator(mode="after")
    def _templates_use_the_inputs(self) -> Self:
        for name in self.inputs:
            if not name.isidentifier() or not name.isascii():
                raise ValueError(
                    f"the input {name!r} cannot stand in a template: use letters, digits and '_', "
                    "no digit first. Rename the column"
                )
            if name in _FIXED_SLOTS or name in _ROW_NAMES or name == self.reference:
                raise ValueError(f"the input {name!r} means something else. Rename the column")
        if len(set(self.inputs)) < len(self.inputs):
            raise ValueError("inputs names a column twice")
        used = {*slots_of(self.prompt), *slots_of(self.system or "")}
        available = (*self.inputs, *self._fixed_slots())
        for slot in sorted(used - set(available)):
            raise ValueError(
                f"a template uses {{{slot}}}, which is none of {', '.join(available)}. Add it to "
                f"inputs, or write {{{{{slot}}}}} for the text itself"
            )
        for name in self.inputs:
            if name not in used:
                raise ValueError(f"no template uses the input {name!r}. Use it, or remove it")
        return self

    @property
    def grader_name(self) -> GraderName:
        """The grader that is used, the kind's own where none is given."""
        return self.grader or GRADERS_BY_KIND[self.kind][0]

    @property
    def schema_text(self) -> str:
        """The schema as JSON text; empty where the task has none."""
        return "" if self.output_schema is None else json.dumps(self.output_schema)

    def _fixed_slots(self) -> tuple[str, ...]:
        return {"classification": ("labels",), "extraction": ("schema",), "text": ()}[self.kind]

    def _check_labels(self) -> None:
        if self.labels_file is not None:
            raise ValueError("labels_file is read beside a task's YAML only: give labels")
        if len(self.labels) < 2:
            given = f"only {self.labels[0]!r} is given" if self.labels else "labels is missing"
            raise ValueError(f"a classification needs two labels or more, and {given}")
        check_labels(self.labels, self.aliases)
        if self.out_of_scope is not None and self.out_of_scope not in self.labels:
            raise ValueError(f"out_of_scope is {self.out_of_scope!r}, which is none of the labels")
        for label in self.labels if self.multiple else ():
            if LABEL_SEPARATOR.strip() in label or ";" in label:
                raise ValueError(
                    f"the label {label!r} holds a comma or semicolon, which part the labels of an "
                    "answer with several. Rename it"
                )

    def _refuse(self, names: tuple[str, ...], kind: TaskKind) -> None:
        for name in names:
            if getattr(self, name):
                shown = type(self).model_fields[name].alias or name
                raise ValueError(f"{shown} is for kind {kind!r}, and this is {self.kind!r}")
        if kind == "classification" and self.labels_file is not None:
            raise ValueError(f"labels_file is for kind {kind!r}, and this is {self.kind!r}")


def read_task(path: Path) -> Task:
    """The task that a YAML file describes.

    Raises:
        ConfigError: the file, its `labels_file` or a setting is wrong; the message says which.
    """
    data = read_yaml(path, hint=_HINT)
    if isinstance(data.get("labels_file"), str):
        if "labels" in data:
            raise ConfigError(f"{path}: give either 'labels' or 'labels_file', and not both.")
        data = {**data, "labels": _labels_of(path, data["labels_file"]), "labels_file": None}
    return check_settings(Task, data, where=str(path))


def task_of(results: Mapping[str, Any]) -> Task:
    """The task in the results of a manifest, where `curate` put it.

    Raises:
        DataError: there is none: the dataset was curated without a task.
        IntegrityError: it is none that this version knows.
    """
    if results.get("task") is None:
        raise DataError(
            "This dataset was made without a task. Curate its completions again with the task's "
            "YAML file."
        )
    try:
        return Task.model_validate(results["task"])
    except ValidationError as err:
        raise IntegrityError(
            f"The manifest's task cannot be read ({err.errors()[0]['msg']}): it was written by "
            "another version or by hand. Curate again."
        ) from err


def _labels_of(path: Path, name: str) -> list[Any]:
    folder = path.parent.resolve()
    target = (folder / name).resolve()
    if not target.is_relative_to(folder):
        raise ConfigError(
            f"{path}: labels_file {name!r} leaves the folder of the task. Put the file beside it."
        )
    try:
        text = target.read_bytes().decode("utf-8-sig")
    except OSError as err:
        raise ConfigError(
            f"{path}: labels_file {name!r} cannot be read ({err.strerror}). Check the name."
        ) from err
    except UnicodeDecodeError as err:
        raise ConfigError(
            f"{path}: labels_file {name!r} is not UTF-8 (byte {err.start}). Save it as UTF-8."
        ) from err
    if target.suffix != ".json":
        return [line.strip() for line in text.split("\n") if line.strip()]
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise ConfigError(
            f"{path}: labels_file {name!r} is not JSON ({err}). Write a list of labels."
        ) from err
    if not isinstance(labels, list):
        raise ConfigError(
            f"{path}: labels_file {name!r} holds a {type(labels).__name__}. Write a list of labels."
        )
    return labels
