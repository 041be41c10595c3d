"""Teachers that are asked in every step: settings that load without torch."""

from typing import Self

from pydantic import ConfigDict, Field, model_validator

from stillhouse.records import Record


class LiveConfig(Record):
    """Local teachers that are loaded beside the student, instead of a captured signal."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    teachers: dict[str, str] = Field(default={"teacher": "local:"}, min_length=1)
    """By a name of your choice: `local:` is the embedded teacher, `local:FOLDER` any model. All
    must share the student's tokenizer and chat template, but for the objective `uld`."""
    weights: dict[str, float] = Field(default_factory=dict)
    """Of each teacher in the mean of their probabilities; none for equal ones."""
    routes: dict[str, str] = Field(default_factory=dict)
    """Group of an example to the one teacher that guides it; instead of the mean."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for setting, names in (("weights", self.weights), ("routes", self.routes.values())):
            if unknown := sorted(set(names) - set(self.teachers)):
                raise ValueError(
                    f"{setting} names {unknown[0]!r}; the teachers are {', '.join(self.teachers)}"
                )
        if self.weights and self.routes:
            raise ValueError("weights and routes are both given; average teachers or route to them")
        if self.weights and set(self.weights) != set(self.teachers):
            raise ValueError("weights must be given for all teachers, or for none")
        if any(not 0 < weight < float("inf") for weight in self.weights.values()):
            raise ValueError("weights must be positive numbers; leave out what shall not count")
        for spec in self.teachers.values():
            if not spec.startswith("local:"):
                raise ValueError(
                    f"{spec!r} cannot be asked in every step: only local: teachers can. "
                    "Capture its signal, or train on its text"
                )
        return self
