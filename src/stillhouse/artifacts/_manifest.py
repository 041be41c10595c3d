"""The manifest: one JSON document that says what an artefact is and where it came from."""

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stillhouse.artifacts._paths import check_relative_name
from stillhouse.errors import IntegrityError
from stillhouse.records import Sampling, Usage

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
WORK_NAME = ".work"

Kind = Literal["completions", "dataset", "signal", "student", "evaluation"]

_SHA256 = r"^[0-9a-f]{64}$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class FileEntry(_Part):
    """One data file."""

    name: str
    sha256: str = Field(pattern=_SHA256)
    bytes: int = Field(ge=0)
    rows: int | None = Field(ge=0)


class ParentRef(_Part):
    """An artefact this one was made from."""

    path: str
    sha256: str = Field(pattern=_SHA256)


class CodeInfo(_Part):
    """Which stillhouse wrote the artefact."""

    version: str
    commit: str | None
    dirty: bool | None


class Counts(_Part):
    """Rows in, kept and dropped by reason; `num_in` is written as `in`."""

    num_in: int = Field(ge=0, alias="in")
    kept: int = Field(ge=0)
    dropped: dict[str, int] = {}


class TermsRef(_Part):
    """The terms that the teacher's outputs come under, as the terms gate saw them."""

    verdict: str
    clause: str
    date: str
    text_sha256: str | None


class TeacherRef(_Part):
    """Which teacher answered."""

    id: str
    provider: str
    revision: str | None
    terms: TermsRef | None = None


class StudentInfo(_Part):
    """Which model a student started from."""

    base: str
    revision: str | None


class TokenizerInfo(_Part):
    """Fingerprint of the id-to-bytes map."""

    sha256: str = Field(pattern=_SHA256)


class WatermarkRef(_Part):
    """The watermark profile that marked the outputs."""

    scheme: str
    profile_id: str


class EnvironmentInfo(_Part):
    """Where a stage ran."""

    python: str
    platform: str
    torch: str | None = None
    device: str | None = None
    packages: dict[str, str] = {}


class Manifest(_Part):
    """The whole record of an artefact (docs/format.md, section 2)."""

    schema_version: Literal[1]
    kind: Kind
    stage: str
    created_utc: datetime
    code: CodeInfo
    config: dict[str, Any]
    config_given: dict[str, Any]
    parents: tuple[ParentRef, ...]
    files: tuple[FileEntry, ...]
    rows_root: str | None = Field(pattern=_SHA256)
    counts: Counts
    teacher: TeacherRef | None
    student: StudentInfo | None
    tokenizer: TokenizerInfo | None
    chat_template_sha256: str | None
    sampling: Sampling | None
    watermark: WatermarkRef | None
    seeds: dict[str, int]
    environment: EnvironmentInfo
    usage: Usage
    results: dict[str, Any]

    def to_bytes(self) -> bytes:
        """The bytes of `manifest.json`."""
        data = self.model_dump(mode="json", by_alias=True)
        options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        return orjson.dumps(data, option=options)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of `folder`, with every name in it checked.

    Raises:
        IntegrityError: there is none, or it is damaged, of another version, or names paths that
            leave the folder.
    """
    path = folder / MANIFEST_NAME
    if folder.is_symlink() or path.is_symlink():
        raise IntegrityError(f"{path} is reached by a symbolic link; give the real folder.")
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as err:
        raise IntegrityError(_why_no_manifest(folder)) from err
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as err:
        raise IntegrityError(
            f"{path} is damaged: not a whole JSON document ({err}). Run its stage again."
        ) from err
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise IntegrityError(
            f"{path} has schema_version {version!r}; this stillhouse reads {SCHEMA_VERSION}. "
            "Use the version that wrote it, or run its stage again."
        )
    try:
        # JSON mode: strict about types, yet RFC 3339 text is a datetime and a list a tuple.
        manifest = Manifest.model_validate_json(raw, strict=True)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(f"{path} is damaged: {place}: {first['msg']}.") from err
    seen: set[str] = set()
    for entry in manifest.files:
        check_relative_name(entry.name, may_leave_folder=False, where=str(path))
        if entry.name in seen or entry.name.split("/")[0] in (MANIFEST_NAME, WORK_NAME):
            raise IntegrityError(f"{path} is damaged: files: {entry.name!r} may not be listed.")
        seen.add(entry.name)
    for parent in manifest.parents:
        check_relative_name(parent.path, may_leave_folder=True, where=str(path))
    return manifest


def _why_no_manifest(folder: Path) -> str:
    if not folder.exists():
        return f"{folder} does not exist. Give the folder of an artefact."
    if not folder.is_dir():
        return f"{folder} is a file. Give the folder of an artefact."
    if (folder / WORK_NAME).is_dir():
        return f"{folder} is unfinished: its stage was stopped. Run the same command to resume it."
    return f"{folder} is not an artefact: it has no {MANIFEST_NAME}."
