"""What is public of a watermark: everything that a detector must know but the key."""

from typing import Annotated, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from stillhouse.records import Record, content_hash
from stillhouse.watermark._prf import MAX_CONTEXT_WIDTH, UNIFORM_BITS, PrfName

SchemeName = Literal["gumbel", "dual_gumbel", "kgw", "synthid"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

_WANTED: dict[str, dict[str, str]] = {
    "gumbel": {},
    "dual_gumbel": {"alpha": "more than 0 and at most 0.5"},
    "kgw": {"gamma": "more than 0 and below 1", "delta": "more than 0 and at most 50"},
    "synthid": {"layers": f"a whole number from 1 to {UNIFORM_BITS}"},
}
_DEFAULTS: dict[str, dict[str, float]] = {
    "gumbel": {},
    "dual_gumbel": {"alpha": 0.1},
    "kgw": {"gamma": 0.25, "delta": 2.0},
    "synthid": {"layers": 30},
}


class MarkSampling(Record):
    """How what is marked is drawn, where a deployment fixes it."""

    temperature: float = Field(ge=0.0, le=5.0)
    top_p: float = Field(gt=0.0, le=1.0)


class Profile(Record):
    """How one deployment, or one customer of it, is marked. It holds no secret."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    version: Literal[1] = 1
    """Of this record."""
    scheme: SchemeName
    """What marks; docs/watermark.md."""
    prf: str = "splitmix64-v1"
    """Which function of the key draws the numbers."""
    context_width: int = Field(default=4, ge=1, le=MAX_CONTEXT_WIDTH)
    """How many ids before a token choose its numbers."""
    parameters: dict[str, float] = Field(default_factory=dict)
    """Of the scheme; filled in with its defaults."""
    repeats: Literal["completion", "conversation"] = "completion"
    """Where a context must be new for its token to be marked: in the answer, or its prompt too."""
    tokenizer_sha256: Sha256
    """Fingerprint of the id-to-bytes map (docs/format.md)."""
    key_id: Sha256
    """Commitment to the key."""
    customer: Sha256 | None = None
    """Commitment to the customer (`WatermarkKey.customer_id`); None: the deployment itself."""
    sampling: MarkSampling | None = None
    """None: whatever a request asks for."""

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, data: object) -> object:
        if isinstance(data, dict) and data.get("scheme") in _DEFAULTS:
            given = data.get("parameters")
            if given is None or isinstance(given, dict):
                data = {**data, "parameters": _DEFAULTS[data["scheme"]] | (given or {})}
        return data

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        known = get_args(PrfName)
        if self.prf not in known:
            raise ValueError(
                f"prf {self.prf!r:.40} is not known here, but {', '.join(known)}; use a stillhouse "
                "that knows it"
            )
        if self.prf == "synthid-v1" and (self.scheme != "synthid" or self.customer is not None):
            raise ValueError("prf synthid-v1 is for the scheme synthid, without a customer")
        wanted = _WANTED[self.scheme]
        if self.parameters.keys() != wanted.keys():
            raise ValueError(
                f"parameters of {self.scheme} are {', '.join(wanted) or 'none'}, and given are "
                f"{', '.join(sorted(self.parameters)[:10]) or 'none'}"
            )
        for name, value in self.parameters.items():
            if not _is_within(name, value):
                raise ValueError(f"{name}={value}: {wanted[name]}")
        return self

    @property
    def profile_id(self) -> str:
        """What headers, logs and manifests call it: SHA-256 of its canonical JSON."""
        return content_hash(self)

    @property
    def customer_bytes(self) -> bytes:
        """What `WatermarkKey.subkeys` takes as the customer."""
        return b"" if self.customer is None else bytes.fromhex(self.customer)


def _is_within(name: str, value: float) -> bool:
    if name == "alpha":
        return 0.0 < value <= 0.5
    if name == "gamma":
        return 0.0 < value < 1.0
    if name == "delta":
        return 0.0 < value <= 50.0
    return value.is_integer() and 1 <= value <= UNIFORM_BITS
