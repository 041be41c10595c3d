"""What the figures rest on beside the records: each with unit, default and source."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_SCENARIO = "scenario"
_SETTINGS = ConfigDict(
    extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
)


def _given(default: Any, unit: str, source: str, **bounds: Any) -> Any:
    """A field that says its unit and where its default is from."""
    return Field(default=default, json_schema_extra={"unit": unit, "source": source}, **bounds)


class CopyScenario(BaseModel):
    """Answers that somebody takes from a model, and what training such a model costs."""

    model_config = _SETTINGS

    exchanges: float = Field(ge=0.0)
    """Requests that are answered."""
    output_tokens: float = Field(ge=0.0)
    """Tokens of an answer."""
    usd_per_million: float = Field(ge=0.0)
    """Price of a million tokens of output."""
    training_usd_low: float = Field(gt=0.0)
    """What training the model costs at least."""
    training_usd_high: float = Field(gt=0.0)
    """And at most."""

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        if self.training_usd_low > self.training_usd_high:
            raise ValueError("training_usd_low is more than training_usd_high")
        return self


_SCENARIOS = {
    "thirteen million exchanges": CopyScenario(
        exchanges=13e6,
        output_tokens=2_000,
        usd_per_million=15.0,
        training_usd_low=1e7,
        training_usd_high=1e9,
    ),
    "twenty-nine million exchanges": CopyScenario(
        exchanges=28.8e6,
        output_tokens=3_000,
        usd_per_million=15.0,
        training_usd_low=1e7,
        training_usd_high=1e9,
    ),
}


class Assumptions(BaseModel):
    """What economics takes for granted. Null means as measured, or unknown where nothing was."""

    model_config = _SETTINGS

    usd_per_core_hour: float = _given(
        0.05,
        "USD per core and hour",
        "of the order of what clouds ask on demand; the default of stillhouse evaluate",
        ge=0.0,
    )
    """Price of one core for one hour, of which everything is made that runs on your own machines.
    """
    cores: int | None = _given(
        None, "cores", "manifests do not record them; null takes those of this machine", ge=1
    )
    """Cores that a stage has to itself while it runs."""
    teacher_usd_per_request: float | None = _given(
        None, "USD per request", "null takes the mean of the logged calls", ge=0.0
    )
    """Price of one answer of the teacher."""
    student_usd_per_request: float | None = _given(
        None, "USD per request", "null takes its seconds x its cores x their price", ge=0.0
    )
    """Price of one answer of the student, where somebody else runs it."""
    student_seconds_per_request: float | None = _given(
        None, "seconds", "null takes the mean of the evaluation, or of the log of a server", ge=0.0
    )
    """Time that one answer of the student takes."""
    student_cores: int | None = _given(
        None, "cores", "null takes those of the evaluation, or else `cores`", ge=1
    )
    """Cores that the student uses for one answer."""
    teacher_share: float | None = _given(
        None,
        "share of requests",
        "null takes the log of a server, or else the cascade's certificate; 0 for a student alone",
        ge=0.0,
        le=1.0,
    )
    """Requests for which the teacher is asked too, audits included."""
    refresh_share: float = _given(
        1.0, "share", f"{_SCENARIO}: all that was spent at first is spent again", ge=0.0
    )
    """How much of what was spent before the first request each refresh of the student costs."""
    requests_per_refresh: float | None = _given(
        None, "requests", "null never refreshes the student", gt=0.0
    )
    """Requests between one refresh and the next."""
    requests: float = _given(
        1_000_000.0, "requests", "a round number to draw up the accounts for; --volume", gt=0.0
    )
    """Requests that the accounts are drawn up for."""
    curation_hours: float = _given(
        0.0, "hours", "people's time is in no record; 0 leaves it out", ge=0.0
    )
    """Hours that people spent on choosing and correcting rows."""
    governance_hours: float = _given(
        0.0, "hours", "people's time is in no record; 0 leaves it out", ge=0.0
    )
    """Hours that people spent on terms, documents and approvals."""
    usd_per_person_hour: float | None = _given(
        None, "USD per hour", "in no record; null leaves hours above 0 without a price", ge=0.0
    )
    """Price of an hour of a person's work."""
    teacher_training_usd: float | None = _given(
        None, "USD", "in no record of this chain; null is unknown", gt=0.0
    )
    """What the teacher's owner spent on research and training."""
    teacher_requests: float | None = _given(
        None, "requests", "in no record of this chain; null is unknown", gt=0.0
    )
    """Requests over which the owner has to earn that."""
    teacher_margin: float | None = _given(
        None, "share of price", "in no record of this chain; null is unknown", ge=0.0, le=1.0
    )
    """What is left to the owner of an answer's price after computing it."""
    protection_usd: float | None = _given(
        None, "USD", "in no record of this chain; null is unknown", ge=0.0
    )
    """What watching traffic, testing suspects and disputes cost the owner."""
    slowdown_share: float = _given(
        0.0064,
        "share of time",
        "vLLM RFC 53916: 0.64 % fewer tokens a second with a Gumbel watermark",
        ge=0.0,
    )
    """How much longer a marked answer takes."""
    refused_share: float = _given(
        0.0004,
        "share of requests",
        "unmimic 0.1.0, its authors' own test: 0.04 % of benign requests blocked",
        ge=0.0,
        le=1.0,
    )
    """Honest requests that protection refuses by mistake."""
    usd_per_user_hour: float | None = _given(
        None, "USD per hour", "in no record; null leaves users' waiting without a price", ge=0.0
    )
    """Price of an hour that a user waits."""
    detection_probability: float = _given(
        0.85,
        "probability",
        f"{_SCENARIO}: middle of the 80 to 90 % recall of Model Provenance Testing (NeurIPS 2025), "
        "which looks for copied weights",
        ge=0.0,
        le=1.0,
    )
    """Chance that a student which was made without a licence is found out."""
    penalty_usd: float | None = _given(
        None,
        "USD",
        f"{_SCENARIO}: null takes the price of the calls once more; no court has set a figure",
        ge=0.0,
    )
    """What is due then."""
    evasion_usd: float = _given(0.0, "USD", f"{_SCENARIO}: nothing is spent on hiding", ge=0.0)
    """What hiding costs: paraphrasing, accounts, routers."""
    discount_rate_per_year: float = _given(
        0.07, "share per year", "US OMB Circular A-94 of 29 October 1992: 7 % a year, real", ge=0.0
    )
    """How much less a dollar is worth that is due a year later."""
    years_to_penalty: float = _given(2.0, "years", f"{_SCENARIO}: two years", ge=0.0)
    """Time until the penalty is due."""
    copying: dict[str, CopyScenario] = Field(
        default=_SCENARIOS,
        json_schema_extra={
            "unit": "scenarios by name",
            "source": f"{_SCENARIO}s: exchanges as a provider reported of two campaigns in 2026 "
            "(secondary sources); tokens and price are assumed; training from 10 million USD to "
            "the billion that arXiv:2405.21015 foresees for 2027",
        },
    )
    """Harvests to hold beside the cost of training."""


def unit_of(name: str) -> str:
    """The unit of an assumption."""
    return _said(name, "unit")


def source_of(name: str) -> str:
    """Where the default of an assumption is from."""
    return _said(name, "source")


def _said(name: str, what: str) -> str:
    extra = Assumptions.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)  # every field has it
    return str(extra[what])
