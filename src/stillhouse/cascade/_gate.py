"""How unlike the training texts a text is, and from where on that is too much.

A text's novelty is half of 1 minus the cosine of its state with the nearest centre of the training
texts' states. Centres, and not single texts: 3,000 of them tell strange texts as well as all 15,000
rows of CLINC150 do and better than a sample (docs/log.md), in 1 MB.

Letters: N texts, D width of a state, C centres.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field, ValidationError

from stillhouse.cascade._text_states import DIMENSIONS, text_states
from stillhouse.errors import DataError, IntegrityError, ShapeError
from stillhouse.records import Record, canonical_json

HEADER_NAME = "gate.json"
CENTRES_NAME = "gate.safetensors"

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]
Reads = Literal["states", "texts"]

_STEPS = 2  # of Lloyd's rule; more of them change nothing that was measured
_PART = 1_000  # rows whose cosines are held at once


class GateConfig(Record):
    """How strict the gate is, and how large."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    refused_fraction: float = Field(default=0.01, gt=0.0, lt=0.5)
    """Share of requests like the training texts that are taken for strange."""
    max_centres: int = Field(default=3_000, ge=1)
    """Most centres; fewer training texts are all kept."""
    seed: int = 0


class GateHeader(Record):
    """What a gate is, beside its centres."""

    schema_version: Literal[1] = 1
    reads: Reads
    """`states`: those of the student's own encoder. `texts`: hashed n-grams."""
    threshold: float = Field(ge=0.0, le=1.0)
    """Novelty above which a text is strange."""
    refused_fraction: float
    num_training: int = Field(ge=1)
    """Texts behind the centres."""
    num_calibration: int = Field(ge=1)
    """Other texts of the same kind, behind the threshold."""


@dataclass(frozen=True)
class Gate:
    """Tells texts that are unlike the training texts.

    Attributes:
        header: What it is.
        codes_CD: (C, D) centres as bytes.
        scales_C: (C,) what a code of 1 is worth.
    """

    header: GateHeader
    codes_CD: Codes
    scales_C: Floats32

    @cached_property
    def centres_CD(self) -> Floats32:
        """(C, D) centres, each of length 1 or 0."""
        return _unit(self.codes_CD.astype(np.float32) * self.scales_C[:, None])

    @property
    def threshold(self) -> float:
        """Novelty above which a text is strange."""
        return self.header.threshold

    @property
    def needs_states(self) -> bool:
        """Whether it has to be given the states of the student's encoder."""
        return self.header.reads == "states"

    def novelty(self, texts: Sequence[str], states_ND: npt.ArrayLike | None = None) -> Floats:
        """(N,) novelties in [0, 1]; 0 for a text that was learnt, one half for one without words.

        Args:
            texts: N texts.
            states_ND: The student's own states of them (`Classifier.states`), where the gate
                `needs_states`.

        Raises:
            ShapeError: states are missing or of another shape.
        """
        if not self.needs_states:
            states = text_states(texts)
        elif states_ND is None:
            raise ShapeError(
                "This gate reads the states of the student's encoder. Give those of the texts, as "
                "Classifier.states does."
            )
        else:
            states = _unit(states_ND)
        if states.shape != (len(texts), self.centres_CD.shape[1]):
            raise ShapeError(
                f"states have the shape {states.shape} for {len(texts)} texts and centres of width "
                f"{self.centres_CD.shape[1]}. Give one state a text, of the student's encoder."
            )
        return _novelty(states, self.centres_CD)


def fit_gate(
    training_ND: npt.ArrayLike,
    calibration_ND: npt.ArrayLike,
    *,
    reads: Reads,
    config: GateConfig | None = None,
) -> Gate:
    """A gate that refuses what is unlike the training texts.

    Its threshold is a conformal quantile: of new texts like the calibration ones, it refuses
    `refused_fraction` at most on average, or one in so many as there are calibration texts.

    Args:
        training_ND: (N, D) states of the texts that the student learnt.
        calibration_ND: (M, D) states of texts of the same kind that it did not learn.
        reads: Whose states they are; those of `texts` come from `text_states`.
        config: How strict; None takes the defaults.

    Raises:
        DataError: there are no states, or they are not finite.
        ShapeError: they are of different widths.
    """
    config = config or GateConfig()
    training, calibration = _unit(training_ND), _unit(calibration_ND)
    if not len(training) or not len(calibration):
        raise DataError(
            f"{len(training)} training and {len(calibration)} calibration texts make no gate. "
            "Give some of each."
        )
    if training.shape[1] != calibration.shape[1]:
        raise ShapeError(
            f"The states are {training.shape[1]} and {calibration.shape[1]} wide. Give those of "
            "one encoder."
        )
    header = GateHeader(
        reads=reads,
        threshold=1.0,
        refused_fraction=config.refused_fraction,
        num_training=len(training),
        num_calibration=len(calibration),
    )
    gate = Gate(header, *_narrowed(_centres(training, config)))
    novelty_M = np.sort(_novelty(calibration, gate.centres_CD))
    rank = int(np.ceil((len(novelty_M) + 1) * (1 - config.refused_fraction)))
    threshold = float(novelty_M[min(rank, len(novelty_M)) - 1])
    return replace(gate, header=header.model_copy(update={"threshold": threshold}))


def save_gate(gate: Gate, folder: Path, new_file: Callable[[str], Path] | None = None) -> None:
    """Write a gate as JSON and safetensors.

    Args:
        gate: What to save.
        folder: Where.
        new_file: Gives the place for each file name instead, as an artefact's writer does.
    """
    from safetensors.numpy import save_file

    place = new_file or folder.joinpath
    place(HEADER_NAME).write_bytes(canonical_json(gate.header))
    save_file({"centres": gate.codes_CD, "scales": gate.scales_C}, place(CENTRES_NAME))


def load_gate(folder: Path) -> Gate:
    """The gate in a folder; its novelties are those of the one that was saved.

    Raises:
        IntegrityError: files are missing, damaged or do not fit together.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        header = GateHeader.model_validate_json((folder / HEADER_NAME).read_bytes())
        arrays = load_file(folder / CENTRES_NAME)
        codes, scales = _checked(arrays, header)
    except (OSError, KeyError, ValidationError, SafetensorError, DataError) as err:
        reason = str(err).strip().split("\n")[0]
        raise IntegrityError(
            f"{folder} does not hold a sound gate ({reason}). Certify the student again."
        ) from err
    return Gate(header, codes, scales)


def _checked(arrays: Mapping[str, Any], header: GateHeader) -> tuple[Codes, Floats32]:
    centres, scales = arrays["centres"], arrays["scales"]
    is_sound = centres.dtype == np.int8 and centres.ndim == 2 and len(centres)
    is_sound = is_sound and scales.dtype == np.float32 and scales.shape == (len(centres),)
    if not is_sound or not np.isfinite(scales).all():
        raise DataError("its centres are no rows of bytes with a scale each")
    if header.reads == "texts" and centres.shape[1] != DIMENSIONS:
        raise DataError(f"its centres are {centres.shape[1]} wide, and texts {DIMENSIONS}")
    return centres, scales


def _unit(states_ND: npt.ArrayLike) -> Floats32:
    states = np.asarray(states_ND, dtype=np.float32)
    if states.ndim != 2:
        raise ShapeError(f"states have the shape {states.shape}. Give one row a text.")
    if not np.isfinite(states).all():
        raise DataError("States are not all finite: the student is damaged. Fit it again.")
    lengths_N1 = np.linalg.norm(states, axis=1, keepdims=True)
    return np.asarray(states / np.maximum(lengths_N1, 1e-12), dtype=np.float32)


def _novelty(states_ND: Floats32, centres_CD: Floats32) -> Floats:
    nearest = [
        (states_ND[start : start + _PART] @ centres_CD.T).max(axis=1)
        for start in range(0, len(states_ND), _PART)
    ]
    cosine_N = np.concatenate(nearest) if nearest else np.zeros(0)
    return np.asarray(np.clip((1.0 - cosine_N) / 2, 0.0, 1.0), dtype=np.float64)


def _centres(states_ND: Floats32, config: GateConfig) -> Floats32:
    """All states, or the centres that Lloyd's rule on the sphere finds from a random start."""
    distinct = np.unique(states_ND, axis=0)
    if len(distinct) <= config.max_centres:
        return distinct
    rng = np.random.default_rng(config.seed)
    centres = distinct[np.sort(rng.permutation(len(distinct))[: config.max_centres])]
    for _ in range(_STEPS):
        places = [
            (states_ND[start : start + _PART] @ centres.T).argmax(axis=1)
            for start in range(0, len(states_ND), _PART)
        ]
        sums = np.zeros_like(centres)
        np.add.at(sums, np.concatenate(places), states_ND)
        has_rows = np.linalg.norm(sums, axis=1, keepdims=True) > 0
        centres = np.where(has_rows, _unit(sums), centres)
    return centres


def _narrowed(centres_CD: Floats32) -> tuple[Codes, Floats32]:
    """Rows as bytes with a scale each."""
    scales_C = np.maximum(np.abs(centres_CD).max(axis=1) / 127, 1e-12).astype(np.float32)
    return np.round(centres_CD / scales_C[:, None]).astype(np.int8), scales_C
