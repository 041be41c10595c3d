"""The settings of collect."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from stillhouse.records import Record, Sampling

STAGE = "collect"
_BATCH_WINDOW_S = 86_400.0  # all three providers promise a batch within a day


class AccessConfig(Record):
    """How API teachers are asked.

    None of it changes what an answer says, so it is not part of what makes an artefact up to date.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    budget_usd: float | None = Field(default=None, ge=0.0)
    """The most that all calls in the ledger may cost; null sets no limit. It is never crossed: each
    call reserves its worst case in the ledger before it leaves, beside those of all teachers,
    batches and processes."""
    requests_per_minute: float | None = Field(default=None, gt=0.0)
    """Null takes what the provider's headers say."""
    tokens_per_minute: float | None = Field(default=None, gt=0.0)
    """Prompts and completions together; null takes what the provider's headers say."""
    concurrency: int | None = Field(default=None, ge=1)
    """Requests under way at once at each provider; null takes the provider's usual number."""
    timeout_s: float = Field(default=600.0, gt=0.0)
    """For each try of a request."""
    deadline_s: float | None = Field(default=None, gt=0.0)
    """For a request with its waits; null waits as long as the provider asks."""
    max_tries: int = Field(default=5, ge=1)
    """Times that a request is sent at most when it fails for reasons that may pass."""
    stop_after_s: float | None = Field(default=None, gt=0.0)
    """Nothing is sent after so many seconds; the same command goes on later."""
    stream: bool = False
    """Whether answers come piece by piece, which long ones need behind some proxies."""
    prices: str | None = None
    """File with prices of your own, YAML; they win over the table."""
    tier: Literal["standard", "batch", "auto"] = "standard"
    """`batch` hands requests over to the provider's batch API, for half the price within a day;
    `auto` does so where there is one and `finish_within_s` leaves it the day."""
    finish_within_s: float | None = Field(default=None, gt=0.0)
    """When the answers are needed, for the tier `auto`; null is no hurry."""
    batch_size: int | None = Field(default=None, ge=1)
    """Requests in one batch at most; null takes what the provider allows."""
    batch_wait_s: float = Field(default=30.0, gt=0.0)
    """Between two looks at running batches, at first; up to ten times as long while nothing
    changes."""
    forget_missing_batches: bool = False
    """Whether the requests of a batch that the provider no longer knows are asked, and maybe paid,
    again."""

    @property
    def prefers_batches(self) -> bool:
        """Whether requests go to a batch API where there is one."""
        if self.tier == "auto":
            return self.finish_within_s is None or self.finish_within_s > _BATCH_WINDOW_S
        return self.tier == "batch"


class RayConfig(Record):
    """How a collection is spread over a Ray cluster, with the engine `ray`."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    address: str | None = None
    """Of the cluster: `auto` takes the one of this machine, `local` starts one; null takes one that
    runs, else starts one."""
    workers: int | None = Field(default=None, ge=1)
    """Processes that ask; null starts one on each machine."""
    cpus_per_worker: float = Field(default=1.0, ge=0.0)
    """Set aside for each worker."""
    shard_size: int | None = Field(default=None, ge=1)
    """Prompts that a worker is handed at a time; null takes up to 2,000."""
    folder: str | None = None
    """Where workers keep their ledgers, each on its own machine; null is beside the ledger where
    that folder is, else in the user's cache."""
    sends_keys: bool = True
    """Whether keys that a worker lacks are sent to it; without, each machine has its own."""


class CollectConfig(Record):
    """How to collect."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    sampling: Sampling = Sampling()
    samples_per_prompt: int = Field(default=1, ge=1)
    """Completions drawn for each prompt, each with a seed of its own."""
    max_failure_fraction: float = Field(default=0.05, ge=0.0, le=1.0)
    """The stage fails when a larger part of the requests failed."""
    access: AccessConfig = AccessConfig()
    engine: Literal["local", "ray"] = "local"
    """What asks: this process, or workers on a Ray cluster; see docs/ray.md."""
    ray: RayConfig = RayConfig()
    terms: str | None = Field(default=None, exclude=True)
    """File that declares what the student is for (docs/terms.md); null takes the one that the
    environment variable STILLHOUSE_TERMS names. What it says stands in the results."""
    for_learning: bool = Field(default=True, exclude=True)
    """Whether students may learn from the answers. Without, terms are recorded and hold up nothing
    here; `train` and `fit` still refuse answers that they do not allow."""

    def identity(self) -> dict[str, Any]:
        """The settings that the answers depend on."""
        return self.model_dump(mode="json", exclude={"access", "engine", "ray"})
