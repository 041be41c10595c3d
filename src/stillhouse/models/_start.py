"""Where a student's weights begin: what it keeps of its base, or a seed."""

from pathlib import Path

from pydantic import ValidationError

from stillhouse.errors import IntegrityError
from stillhouse.records import Record

START_NAME = "start.json"
"""The file of a student's folder that says it, so that the untrained student can be made again."""


class StudentStart(Record):
    """What a student keeps of its base, as ascending indices; None keeps all.

    Heads go by the group that shares one head of keys and values, since neither is of use without
    the other. Groups and neurons are listed for each kept layer, channels are those of all layers.
    """

    layers: tuple[int, ...] | None = None
    groups: tuple[tuple[int, ...], ...] | None = None
    neurons: tuple[tuple[int, ...], ...] | None = None
    channels: tuple[int, ...] | None = None
    random_seed: int | None = None
    """Draw all weights anew from this seed: of the base only the shape is kept."""

    @property
    def is_narrower(self) -> bool:
        """Whether anything but whole layers is left out."""
        return (self.groups, self.neurons, self.channels) != (None, None, None)

    def write(self, path: Path) -> None:
        """Save it as JSON."""
        path.write_text(self.model_dump_json(), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "StudentStart":
        """What a student's folder says.

        Raises:
            IntegrityError: it says nothing, or nothing that can be understood.
        """
        path = folder / START_NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as err:
            reason = str(err).strip().split("\n")[0]
            raise IntegrityError(
                f"{path} does not say how the student began ({reason}). Train the student again."
            ) from err
