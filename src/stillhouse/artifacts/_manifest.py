"""The manifest: one JSON document that says what an artefact is and where it came from."""

from pathlib import Path
from typing import Any, Literal, Self

import orjson
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    ValidationError,
    model_validator,
)

from stillhouse.artifacts._paths import check_relative_name
from stillhouse.errors import IntegrityError
from stillhouse.records import Sampling, Usage, canonical_json, content_hash

SCHEMA_VERSION = 1
MANIFEST_NAME = "manifest.json"
ATTESTATIONS_NAME = "attestations.jsonl"
WORK_NAME = ".work"
LOCK_NAME = f"{WORK_NAME}/lock"
NAMES_NAME = f"{WORK_NAME}/names"
STAGED_ATTESTATIONS_NAME = f"{WORK_NAME}/{ATTESTATIONS_NAME}"

Kind = Literal[
    "completions",
    "dataset",
    "signal",
    "student",
    "classifier",
    "evaluation",
    "export",
    "cascade",
    "evidence",
]

_SHA256 = r"^[0-9a-f]{64}$"
_SELF = "self_sha256"
_LAYOUT = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


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
    dropped: dict[str, NonNegativeInt] = {}

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        dropped = sum(self.dropped.values())
        if self.num_in != self.kept + dropped:
            raise ValueError(f"in {self.num_in} is not kept {self.kept} + dropped {dropped}")
        return self


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
    created_utc: AwareDatetime
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
        """The bytes of `manifest.json`, its own checksum included."""
        # Twice through JSON: what it cannot hold (infinities) is null in checksum and file alike.
        data = orjson.loads(canonical_json(self.model_dump(mode="json", by_alias=True)))
        return orjson.dumps({**data, _SELF: content_hash(data)}, option=_LAYOUT)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of `folder`, with every name in it checked.

    Raises:
        IntegrityError: there is none, or it is damaged, of another version, names paths that
            leave the folder, or is not what stillhouse wrote.
    """
    path = folder / MANIFEST_NAME
    raw = _manifest_bytes(folder)
    data = _parse_document(path, raw)
    manifest = _validated(path, data)
    _check_names(path, manifest)
    _check_as_written(path, manifest, raw=raw, data=data)
    return manifest


def _manifest_bytes(folder: Path) -> bytes:
    path = folder / MANIFEST_NAME
    if folder.is_symlink() or path.is_symlink():
        raise IntegrityError(f"{path} is reached by a symbolic link; give the real folder.")
    if not path.is_file():
        raise IntegrityError(_why_no_manifest(folder))
    try:
        return path.read_bytes()
    except OSError as err:
        raise IntegrityError(f"{path} cannot be read ({err.strerror}). Check its rights.") from err


def _parse_document(path: Path, raw: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(raw)
    except orjson.JSONDecodeError as err:
        raise IntegrityError(
            f"{path} is damaged: not a whole JSON document ({err}). Run its stage again."
        ) from err
    version = data.get("schema_version") if isinstance(data, dict) else None
    # `type`, since True and 1.0 equal 1 yet were written by something else.
    if type(version) is not int or version != SCHEMA_VERSION:
        raise IntegrityError(
            f"{path} has schema_version {version!r:.40}; this stillhouse reads "
            f"{SCHEMA_VERSION}. Use the version that wrote it, or run its stage again."
        )
    return data  # type: ignore[no-any-return]


def _validated(path: Path, data: dict[str, Any]) -> Manifest:
    fields = {name: value for name, value in data.items() if name != _SELF}
    try:
        # JSON mode: strict about types, yet RFC 3339 text is a datetime and a list a tuple.
        return Manifest.model_validate_json(orjson.dumps(fields), strict=True)
    except orjson.JSONEncodeError as err:
        raise IntegrityError(f"{path} is damaged: {err}. Run its stage again.") from err
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(f"{path} is damaged: {place}: {first['msg']}.") from err


def _check_names(path: Path, manifest: Manifest) -> None:
    names = [entry.name for entry in manifest.files]
    for name in names:
        check_relative_name(name, may_leave_folder=False, where=str(path))
        if name.split("/")[0] in (MANIFEST_NAME, ATTESTATIONS_NAME, WORK_NAME):
            raise IntegrityError(f"{path} is damaged: files: {name!r} may not be listed.")
    if names != sorted(set(names)):
        raise IntegrityError(f"{path} is damaged: files: not in order, or listed twice.")
    for parent in manifest.parents:
        check_relative_name(parent.path, may_leave_folder=True, where=str(path))


def _check_as_written(path: Path, manifest: Manifest, *, raw: bytes, data: dict[str, Any]) -> None:
    """Refuse a manifest that differs from what its content is written as, by even one byte."""
    written = manifest.to_bytes()
    if written == raw:
        return
    expected = orjson.loads(written)
    absent = object()
    different = [
        name
        for name in sorted(expected.keys() | data.keys(), key=lambda name: (name == _SELF, name))
        if expected.get(name, absent) != data.get(name, absent)
    ]
    where = different[0] if different else "its layout"
    raise IntegrityError(
        f"{path} has changed since it was written: {where} is not as stillhouse wrote it. "
        "Restore it or run its stage again."
    )


def _why_no_manifest(folder: Path) -> str:
    if not folder.exists():
        return f"{folder} does not exist. Give the folder of an artefact."
    if not folder.is_dir():
        return f"{folder} is a file. Give the folder of an artefact."
    if (folder / MANIFEST_NAME).exists():
        return f"{folder / MANIFEST_NAME} is damaged: it is not a regular file."
    if (folder / WORK_NAME).is_dir():
        return f"{folder} is unfinished: its stage was stopped. Run the same command to resume it."
    return f"{folder} is not an artefact: it has no {MANIFEST_NAME}."
