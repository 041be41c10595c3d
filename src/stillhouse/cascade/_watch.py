"""A cascade in service: what it sees, and when it stops trusting the student.

Two detectors watch it, each with a promised rarity of false alarms. Drift: confidences and
novelties of requests cease to be like those of the calibration rows. Breach: a random slice of
requests is audited, which means that the teacher answers too, and their mean loss is above what was
certified. After a breach everything goes to the teacher until an operator resets the watch.
"""

import hashlib
from typing import Literal

import numpy.typing as npt
from pydantic import ConfigDict, Field

from stillhouse.cascade._rule import CascadeRule, Decision, Route
from stillhouse.errors import ConfigError, DataError
from stillhouse.records import Record, content_hash
from stillhouse.statistics import BreachDetector, BreachState, DriftDetector, DriftState

State = Literal["serving", "alarm", "fallen_back"]
Cause = Literal["drift", "breach"]

_RANGE = 2**64


class WatchConfig(Record):
    """How a cascade is watched."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    audit_fraction: float = Field(default=0.02, gt=0.0, le=1.0)
    """Of all requests, by the hash of their id: the teacher answers these too."""
    alarm_audit_fraction: float = Field(default=0.2, gt=0.0, le=1.0)
    """The same while there is an alarm, so that a breach shows sooner."""
    on_drift: Literal["fall_back", "alarm"] = "fall_back"
    """What drift does: everything goes to the teacher, or only an alarm is raised."""
    drift_run_length: float = Field(default=100_000.0, gt=1.0)
    """Requests to a false alarm of drift, at least, in the mean."""
    breach_run_length: float = Field(default=5_000.0, gt=1.0)
    """Audits to a false alarm of a breach, at least, in the mean."""
    seed: int = 0
    """Of the audited slice and of how ties are broken."""


class WatchCounts(Record):
    """What was seen since the watch began or was last reset."""

    requests: int = Field(default=0, ge=0)
    by_student: int = Field(default=0, ge=0)
    audits: int = Field(default=0, ge=0)
    loss: float = Field(default=0.0, ge=0.0)
    """Total loss of the audits."""


class WatchSnapshot(Record):
    """Everything that a watch has to remember over a restart."""

    schema_version: Literal[1] = 1
    made_for: str
    """Hash of the rule and the settings."""
    state: State
    cause: Cause | None
    counts: WatchCounts
    drift: DriftState
    breach: BreachState


class WatchStatus(Record):
    """A watch for people and dashboards."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    state: State
    cause: Cause | None
    """Why it is not serving."""
    counts: WatchCounts
    escalation: float | None
    """Share of requests that went to the teacher; None before the first."""
    audited_loss: float | None
    """Mean loss of the audits; None before the first."""
    tolerated_loss: float
    """What the mean loss may be by the certificate."""
    drift_evidence: float
    """0 to 1: how much of the evidence for an alarm there is, in nats over nats."""
    breach_evidence: float


class CascadeWatch:
    """Watches one cascade. It is not safe for several threads at once.

    Args:
        rule: Of the cascade.
        confidences: Of the calibration rows; 0 where the student had no valid answer.
        novelties: Of the same rows.
        config: How to watch; None takes the defaults.

    Raises:
        DataError: calibration rows are missing, or their values not in [0, 1].
    """

    def __init__(
        self,
        rule: CascadeRule,
        confidences: npt.ArrayLike,
        novelties: npt.ArrayLike,
        *,
        config: WatchConfig | None = None,
    ) -> None:
        self.rule = rule
        self.config = config or WatchConfig()
        self._calibration = (confidences, novelties)
        self._state: State = "serving"
        self._cause: Cause | None = None
        self._counts = WatchCounts()
        self._drift, self._breach = self._new_drift(), self._new_breach()

    @property
    def state(self) -> State:
        """`serving`, `alarm` (drift, and the student goes on) or `fallen_back`."""
        return self._state

    def decide(self, confidence: float | None, novelty: float) -> Decision:
        """Who answers: as the rule says, or the teacher while the cascade has fallen back.

        Raises:
            DataError: one of them is no number in [0, 1].
        """
        decision = self.rule.decide(confidence, novelty)
        if self._state == "fallen_back":
            return Decision(route="teacher", reason="fallen_back")
        return decision

    def is_audited(self, request_id: str) -> bool:
        """Whether the teacher answers this request in any case, so that answers can be compared.

        By the hash of the id, so that every process says the same, whatever the request says and
        whoever answers it. Ids have to be unique: those of clients that repeat them are no draw.
        """
        is_alarm = self._state == "alarm"
        fraction = self.config.alarm_audit_fraction if is_alarm else self.config.audit_fraction
        name = f"stillhouse audit:{self.config.seed}:{request_id}"
        digest = hashlib.sha256(name.encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:8], "big") < fraction * _RANGE

    def observe_request(
        self, confidence: float | None, route: Route, *, novelty: float = 0.0
    ) -> State:
        """Take in a request that was routed, and give the state after it.

        Args:
            confidence: Of the student in its answer; None where it had no valid one.
            route: Who answered.
            novelty: Of its text.

        Raises:
            DataError: a value is not in [0, 1].
        """
        self._counts = self._counts.model_copy(
            update={
                "requests": self._counts.requests + 1,
                "by_student": self._counts.by_student + (route == "student"),
            }
        )
        # After falling back the student may not be asked, so that there is nothing to watch.
        if self._state == "fallen_back":
            return self._state
        if self._drift.observe(0.0 if confidence is None else confidence, novelty):
            to: State = "fallen_back" if self.config.on_drift == "fall_back" else "alarm"
            self._move(to, "drift")
        return self._state

    def observe_audit(self, loss: float) -> State:
        """Take in an audited request, and give the state after it.

        Args:
            loss: 0 where the teacher answered. Of a student's answer 1 minus its score against
                the teacher's, which for labels is 1 where they differ.

        Raises:
            DataError: the loss is not in [0, 1].
        """
        is_breach = self._breach.observe(loss)
        self._counts = self._counts.model_copy(
            update={"audits": self._counts.audits + 1, "loss": self._counts.loss + loss}
        )
        if is_breach and self._state != "fallen_back":
            self._move("fallen_back", "breach")
        return self._state

    def reset(self) -> None:
        """Serve again, with nothing seen: what an operator does after mending the student."""
        self._state, self._cause = "serving", None
        self._counts = WatchCounts()
        self._drift, self._breach = self._new_drift(), self._new_breach()

    def status(self) -> WatchStatus:
        """How it stands."""
        counts = self._counts
        return WatchStatus(
            state=self._state,
            cause=self._cause,
            counts=counts,
            escalation=1 - counts.by_student / counts.requests if counts.requests else None,
            audited_loss=counts.loss / counts.audits if counts.audits else None,
            tolerated_loss=1 - self.rule.target,
            drift_evidence=_share(self._drift),
            breach_evidence=_share(self._breach),
        )

    def snapshot(self) -> WatchSnapshot:
        """What to keep, so that a restart forgets nothing."""
        return WatchSnapshot(
            made_for=self._made_for,
            state=self._state,
            cause=self._cause,
            counts=self._counts,
            drift=self._drift.state(),
            breach=self._breach.state(),
        )

    def restore(self, snapshot: WatchSnapshot) -> None:
        """Go on from a snapshot.

        Raises:
            ConfigError: it was made for another rule or other settings.
            DataError: it is damaged.
        """
        if snapshot.made_for != self._made_for:
            raise ConfigError(
                "The watch's snapshot belongs to another rule or other settings. Begin without "
                "it, or use those it was made with."
            )
        if (snapshot.state == "serving") != (snapshot.cause is None):
            raise DataError(
                f"The watch's snapshot is {snapshot.state!r} with the cause {snapshot.cause!r}: it "
                "is damaged. Begin without it."
            )
        self._drift.resume(snapshot.drift)
        self._breach.resume(snapshot.breach)
        self._state, self._cause = snapshot.state, snapshot.cause
        self._counts = snapshot.counts

    @property
    def _made_for(self) -> str:
        rule = self.rule.model_dump(mode="json")
        return content_hash([rule, self.config.model_dump(mode="json")])

    def _new_drift(self) -> DriftDetector:
        return DriftDetector(
            self._calibration,
            average_run_length=self.config.drift_run_length,
            seed=self.config.seed,
        )

    def _new_breach(self) -> BreachDetector:
        return BreachDetector(
            1 - self.rule.target, average_run_length=self.config.breach_run_length
        )

    def _move(self, to: State, cause: Cause) -> None:
        self._state, self._cause = to, cause


def _share(detector: DriftDetector | BreachDetector) -> float:
    return min(1.0, max(0.0, detector.log_evidence / detector.log_needed))
