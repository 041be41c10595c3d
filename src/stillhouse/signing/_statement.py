"""in-toto Statement v1: what is said, about which things, and who said it when.

Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
"""

from typing import Any, Self

from pydantic import Field, ValidationError

from stillhouse.errors import SignatureError
from stillhouse.records import Record, canonical_json
from stillhouse.signing._keys import SHA256, PublicKey
from stillhouse.signing._reading import Moment, parse_json

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
# The specification wants fields that somebody adds to a predicate to carry the vendor's name.
_SIGNER = "stillhouse_signer"


class Subject(Record):
    """A thing that a statement is about: what has this SHA-256. The name is for people."""

    name: str = Field(min_length=1, max_length=1000)
    sha256: str = Field(pattern=SHA256)


class Signer(Record):
    """Who signed, and when by its own clock: part of what is signed."""

    key: PublicKey
    signed_utc: Moment


class Statement(Record):
    """A predicate about subjects.

    `signer` is None until it is signed. It is written into the predicate, so that a changed byte
    is found without any other file; whose key it is only a trust file tells.
    """

    subjects: tuple[Subject, ...] = Field(min_length=1)
    predicate_type: str = Field(min_length=1, max_length=300)
    predicate: dict[str, Any]
    signer: Signer | None = None

    def to_bytes(self) -> bytes:
        """The payload: canonical JSON.

        Raises:
            RecordError: the predicate holds what JSON cannot.
        """
        predicate = dict(self.predicate)
        if self.signer is not None:
            predicate[_SIGNER] = self.signer.model_dump(mode="json")
        return canonical_json(
            {
                "_type": STATEMENT_TYPE,
                "subject": [
                    {"name": one.name, "digest": {"sha256": one.sha256}} for one in self.subjects
                ],
                "predicateType": self.predicate_type,
                "predicate": predicate,
            }
        )

    @classmethod
    def parse(cls, raw: bytes, *, where: str) -> Self:
        """The statement in a payload.

        Raises:
            SignatureError: it is not one of stillhouse's: another type or field, no signer,
                another layout.
        """
        try:
            data: Any = parse_json(raw, where=where)
            predicate = dict(data["predicate"])
            statement = cls(
                subjects=tuple(
                    Subject(name=one["name"], sha256=one["digest"]["sha256"])
                    for one in data["subject"]
                ),
                predicate_type=data["predicateType"],
                signer=Signer.model_validate(predicate.pop(_SIGNER)),
                predicate=predicate,
            )
        except (KeyError, TypeError, ValueError) as err:
            if isinstance(err, SignatureError):
                raise
            raise SignatureError(
                f"{where} is no in-toto statement that stillhouse signed: {_reason(err)}. "
                "Restore it."
            ) from err
        if statement.to_bytes() != raw:
            raise SignatureError(
                f"{where} is no in-toto statement v1 as stillhouse writes it: it has another "
                "_type, further fields or another form of a time. Restore it."
            )
        return statement


def _reason(err: Exception) -> str:
    if isinstance(err, ValidationError):
        first = err.errors(include_url=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{err} is missing" if isinstance(err, KeyError) else "a field is of the wrong type"
