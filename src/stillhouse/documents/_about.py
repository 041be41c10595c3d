"""What only a person can say about a student: a small YAML file, `--about FILE`."""

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from stillhouse.documents._views import View
from stillhouse.errors import ConfigError
from stillhouse.records import Record
from stillhouse.settings import check_settings, read_yaml

# Ids of licences joined by AND, OR and WITH, in brackets or not (SPDX 3.0.1, annex B).
_LICENSE = r"^\(*[A-Za-z0-9.+:-]+\)*( (AND|OR|WITH) \(*[A-Za-z0-9.+:-]+\)*)*$"
_URL = r"^https?://[^\s<>\"{}|\\^`]+$"
_DATE = r"^\d{4}-\d{2}-\d{2}$"
_HINT = "Give the YAML of --about; `stillhouse documents --schema` prints what it may hold."


class _Part(Record):
    model_config = ConfigDict(use_attribute_docstrings=True)


class Provider(_Part):
    """Who answers for the model."""

    name: str | None = None
    """Legal name."""
    contact: str | None = None
    """Address, e-mail or web page."""
    representative: str | None = None
    """Authorised representative in the Union, where the provider is outside of it."""


class DataSource(_Part):
    """One kind of training data that the law asks about."""

    used: bool
    """Whether data of this kind was used."""
    description: str | None = None
    """What it was: names, links, periods, owners."""


class TrainingData(_Part):
    """Where the prompts and everything that no teacher wrote came from."""

    owners: str | None = None
    """The sources or owners of the data."""
    content: str | None = None
    """Types of content: news, letters, code ..."""
    purpose: str | None = None
    """How the data furthers what the model is for."""
    public_datasets: DataSource | None = None
    """Datasets that anybody can get."""
    licensed_datasets: DataSource | None = None
    """Datasets under a commercial licence of their rightsholders."""
    private_datasets: DataSource | None = None
    """Datasets from other third parties."""
    crawled: DataSource | None = None
    """Data that was crawled or scraped by the provider or for it."""
    user_interactions: DataSource | None = None
    """What users wrote to the model."""
    user_services: DataSource | None = None
    """What users wrote to other services of the provider."""
    other: DataSource | None = None
    """Anything else."""
    protected_by_rights: str | None = None
    """Whether it holds data under copyright, trademark or patent, or is in the public domain."""
    purchased_or_licensed: str | None = None
    """Whether it was bought or licensed."""
    personal_information: str | None = None
    """Whether it holds personal information."""
    has_personal_information: Literal["yes", "no"] | None = None
    """The same in one word, for the fields that take no more."""
    consumer_information: str | None = None
    """Whether it holds aggregate consumer information."""
    is_collection_ongoing: bool | None = None
    """Whether data is still collected."""
    biases: str | None = None
    """Biases that are known."""
    opt_outs: str | None = None
    """How reservations of rights (text and data mining) were respected."""
    is_code_signatory: bool | None = None
    """Whether the provider signed the Code of Practice for general-purpose AI models."""
    illegal_content: str | None = None
    """What was done to avoid or remove illegal content."""


class About(_Part):
    """What a person declares about the model; what is left out is said not to be recorded."""

    name: str | None = None
    """Name of the model; the student's folder where it is left out."""
    version: str | None = None
    """Version of the model; the first characters of its manifest's hash where it is left out."""
    dataset_name: str | None = None
    """Name of the dataset; its folder where it is left out."""
    provider: Provider = Provider()
    """Who answers for the model."""
    license: str | None = Field(default=None, pattern=_LICENSE)
    """Licence of the student, as an SPDX expression: `Apache-2.0`, `LicenseRef-Ours`."""
    dataset_license: str | None = Field(default=None, pattern=_LICENSE)
    """Licence of the dataset, as an SPDX expression."""
    languages: tuple[str, ...] = ()
    """Languages of the data, as ISO 639 codes: `en`."""
    homepage: str | None = Field(default=None, pattern=_URL)
    """Web page of the model."""
    download: str | None = Field(default=None, pattern=_URL)
    """Where the model can be got."""
    dataset_download: str | None = Field(default=None, pattern=_URL)
    """Where the dataset can be got."""
    released: str | None = Field(default=None, pattern=_DATE)
    """Day of the release, in quotes: `"2026-12-01"`."""
    union_market: str | None = Field(default=None, pattern=_DATE)
    """Day on which the model was placed on the market of the European Union, in quotes."""
    intended_use: str | None = None
    """What the model is for."""
    out_of_scope: str | None = None
    """What it is not for."""
    users: str | None = None
    """Who is meant to use it."""
    limitations: str | None = None
    """What it is known to do badly."""
    citation: str | None = None
    """How to cite it."""
    data: TrainingData = TrainingData()
    """Where the prompts and everything that no teacher wrote came from."""

    @field_validator("languages")
    @classmethod
    def _are_codes(cls, languages: tuple[str, ...]) -> tuple[str, ...]:
        for code in languages:
            if not (code.isascii() and code.isalpha() and code.islower() and len(code) in (2, 3)):
                raise ValueError(f"{code!r} is no ISO 639 code such as en or deu")
        return languages


def read_about(path: Path | None) -> View:
    """The user's file as a view, checked; an empty one where there is none.

    Raises:
        ConfigError: the file is not YAML, or holds something else than `About` describes.
    """
    if path is None:
        return View(kind="about", record="--about", file="--about", sha256=None, data={})
    data: dict[str, Any] = read_yaml(path, hint=_HINT)
    about = check_settings(About, data, where=str(path))
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as err:
        raise ConfigError(f"{path} cannot be read ({err.strerror}). {_HINT}") from err
    return View(
        kind="about",
        record=path.name,
        file=path.name,
        sha256=digest,
        data=about.model_dump(mode="json"),
    )
