"""How a student is served."""

from dataclasses import dataclass, field
from pathlib import Path

from stillhouse.errors import ConfigError
from stillhouse.servicelog import LogConfig
from stillhouse.traffic import AccessLogConfig, ResponsesConfig

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Names of this machine that no other one reaches it by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """How to serve a student.

    Attributes:
        host: The address to listen at.
        port: The port to listen at; 0 takes a free one.
        keys: Keys of which callers must show one; needed where other machines reach `host`.
        slots: Answers that are generated together; others wait.
        max_tokens: The most that one answer may have.
        max_waiting: Requests under way and waiting; more are told to come again.
        max_body_bytes: The largest request.
        deadline_s: The longest that a request may take.
        read_s: The longest that sending a request may take.
        idle_s: How long a connection may wait for the head of its next request, or send it.
        grace_s: How long requests under way may go on after the server was told to stop.
        log: Where and how requests are logged; None for not at all.
        spans: Whether OpenTelemetry spans are made of requests.
        span_content: Whether they hold what was asked and answered.
        access_log: Where it is logged who asked what sort of thing, hashed; None for not at all.
        responses: How accounts that stand out are answered; None answers all alike.
        detections_per_minute: Texts that one key may have tested for the mark in a minute; None
            tests none.
        watermark: File of the signed profile that marks what is generated.
        watermark_key: File of its key; None looks for it in the folder of keys.
        trust: File that says by whom the profile must be signed; None for anybody.
        hides_logprobs: Whether requests for log-probabilities are refused. They are the model's own
            also under a watermark, so that who learns from them learns no mark.

    Raises:
        ConfigError: a value is out of its range, or others could reach the server without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8470
    keys: tuple[str, ...] = field(default=(), repr=False)
    slots: int = 16
    max_tokens: int = 1024
    max_waiting: int = 256
    max_body_bytes: int = 4 << 20
    deadline_s: float = 300.0
    read_s: float = 30.0
    idle_s: float = 75.0
    grace_s: float = 30.0
    log: LogConfig | None = None
    spans: bool = False
    span_content: bool = False
    access_log: AccessLogConfig | None = None
    responses: ResponsesConfig | None = None
    detections_per_minute: int | None = None
    watermark: Path | None = None
    watermark_key: Path | None = None
    trust: Path | None = None
    hides_logprobs: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"--port is {self.port}; give 0 to 65535.")
        for name in ("slots", "max_tokens", "max_waiting", "max_body_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least 1.")
        for name in ("deadline_s", "read_s", "idle_s", "grace_s"):
            seconds = getattr(self, name)
            if not 0 <= seconds <= 86_400 or (seconds == 0 and name != "grace_s"):
                raise ConfigError(f"{name} is {seconds:g}; give seconds, 86400 at most.")
        if self.span_content and not self.spans:
            raise ConfigError("Spans are to hold content, and none are made. Ask for both.")
        if self.watermark_key is not None and self.watermark is None:
            raise ConfigError(
                "--watermark-key is of a profile, and none is given. Give --watermark PROFILE, or "
                "leave it out."
            )
        if self.trust is not None and self.watermark is None:
            raise ConfigError(
                "--trust says who may sign a profile, and none is given. Give --watermark PROFILE, "
                "or leave it out."
            )
        if self.responses is not None:
            _check_responses(self.responses, self.access_log, has_keys=bool(self.keys))
        if self.detections_per_minute is not None:
            if self.detections_per_minute < 1:
                raise ConfigError(
                    f"--detect is {self.detections_per_minute} texts a minute; give at least 1."
                )
            if self.watermark is None:
                raise ConfigError("--detect tests texts for a mark. Give --watermark PROFILE too.")
        if any(not key.strip() for key in self.keys):
            raise ConfigError("A key is empty. Give keys of at least one character.")
        if not (self.keys or self.host in LOOPBACK):
            raise ConfigError(
                f"--host {self.host} is reached by other machines, and no key is set. Set "
                "STILLHOUSE_SERVE_KEYS to one or more keys, or leave --host out."
            )


def _check_responses(
    responses: ResponsesConfig, access_log: AccessLogConfig | None, *, has_keys: bool
) -> None:
    if not has_keys:
        raise ConfigError(
            "--responses tells accounts apart by their keys, and no key is set. Set "
            "STILLHOUSE_SERVE_KEYS, or leave it out."
        )
    is_watched = access_log is not None and access_log.reference is not None
    if responses.live_step != "log" and not is_watched:
        raise ConfigError(
            f"--live-step {responses.live_step} is for accounts that the server itself finds, and "
            "it looks for none. Give --access-log DIR and --access-reference FILE too."
        )
