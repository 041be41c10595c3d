"""The `serve` command: a student behind the protocols that clients already speak."""

import os
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption, TermsOption
from stillhouse.cli._output import Output

if TYPE_CHECKING:
    from stillhouse.serve import Server
    from stillhouse.traffic import AccessLogConfig, ResponsesConfig

_KEYS = "STILLHOUSE_SERVE_KEYS"


class Content(StrEnum):
    """What a log keeps of texts."""

    none = "none"
    hash = "hash"
    full = "full"


class OnBreach(StrEnum):
    """What a breach of a deployment does."""

    teacher = "teacher"
    rollback = "rollback"


class LiveStep(StrEnum):
    """How sharply an account is answered that the server itself finds."""

    log = "log"
    customer_key = "customer_key"
    throttle = "throttle"
    verify = "verify"


def serve(
    student: Annotated[
        str,
        typer.Argument(
            metavar="STUDENT",
            help="Folder that train, fit or certify wrote, a deployment, a model folder, a .gguf "
            "file or the address http(s)://HOST/v1#MODEL; 'local:' is the embedded SmolLM2.",
        ),
    ],
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="Of a cascade: who answers the others, such as openai:MODEL or "
            "http(s)://HOST/v1#MODEL (docs/providers.md).",
        ),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of a cascade: where the teacher's calls are recorded."),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="USD", help="The most that all calls of the ledger may cost."),
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your own prices (docs/prices.md).")
    ] = None,
    terms: TermsOption = None,
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse", help="Answer what equals an earlier request at temperature 0 as then."
        ),
    ] = False,
    stand_in: Annotated[
        bool,
        typer.Option(
            "--stand-in",
            help="Let the student answer where the teacher cannot; nothing certifies that.",
        ),
    ] = False,
    shadow: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Another student or cascade that reads along."),
    ] = None,
    on_breach: Annotated[
        OnBreach,
        typer.Option(help="Of a deployment: whether a breach takes the version back."),
    ] = OnBreach.teacher,
    memory: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of a cascade: where its watch is kept."),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")] = 8470,
    slots: Annotated[int, typer.Option(help="Answers generated together; others wait.")] = 16,
    max_tokens: Annotated[int, typer.Option(help="The most that one answer may have.")] = 1024,
    deadline: Annotated[
        float, typer.Option(metavar="SECONDS", help="The longest that a request may take.")
    ] = 300.0,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", help="For requests under way when it is stopped.")
    ] = 30.0,
    log: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Log every request there, a row for each.")
    ] = None,
    log_content: Annotated[
        Content, typer.Option(help="What the log keeps of texts; only all of them can teach.")
    ] = Content.full,
    log_scrub: Annotated[
        bool,
        typer.Option(
            "--log-scrub/--no-log-scrub", help="Replace personal data and secrets in the log."
        ),
    ] = True,
    spans: Annotated[
        bool, typer.Option("--spans", help="Send OpenTelemetry spans where OTEL_* variables say.")
    ] = False,
    span_content: Annotated[
        bool, typer.Option("--span-content", help="Put what is asked and answered into spans.")
    ] = False,
    watermark: Annotated[
        Path | None,
        typer.Option(metavar="PROFILE", help="Signed profile that marks what is generated."),
    ] = None,
    watermark_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Its key.  [default: the one in the folder of keys that fits]"
        ),
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --watermark: who may sign its profile.  [default: anybody]"
        ),
    ] = None,
    hide_logprobs: Annotated[
        bool,
        typer.Option(
            "--hide-logprobs",
            help="Refuse requests for log-probabilities, from which a copier learns no mark.",
        ),
    ] = False,
    detect: Annotated[
        int | None,
        typer.Option(
            metavar="PER_MINUTE",
            help="With --watermark: test texts for the mark at /v1/watermark/detect, so many a "
            "minute for a key.",
        ),
    ] = None,
    access_log: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Log hashed features of requests for stillhouse watch."),
    ] = None,
    access_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Of --access-log and --responses: key of hashes; made if missing."
        ),
    ] = None,
    access_reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of --access-log: what is usual; watches accounts."),
    ] = None,
    responses: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What watch --responses wrote: accounts are answered as it says.",
        ),
    ] = None,
    live_step: Annotated[
        LiveStep,
        typer.Option(help="Of --responses: the sharpest one to what --access-reference finds."),
    ] = LiveStep.log,
    throttle: Annotated[
        float,
        typer.Option(metavar="PER_MINUTE", help="Of --responses: answers that slow ones get."),
    ] = 6.0,
    contact: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Of --responses: whom those who are refused can ask."),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Serve a student over HTTP.

    It speaks OpenAI's Chat Completions, Completions and Responses and Anthropic's Messages; a
    student that answers with labels gives typed decisions too. What certify wrote is served as a
    cascade: the student answers where its rule lets it, the teacher otherwise, through a ledger. Of
    a deployment (stillhouse release) the version in service answers, and SIGHUP or a second later
    another one does, without a request lost. Set the address that
    it prints as the base URL of your client. Keys that callers must show are read from
    STILLHOUSE_SERVE_KEYS, separated by commas; without any, only this machine may ask. Stop it with
    Ctrl-C: requests under way may end first.
    """
    from stillhouse.errors import ConfigError
    from stillhouse.serve import ServeConfig, TeacherConfig, check_listening, open_engine
    from stillhouse.serve import serve as run
    from stillhouse.servicelog import LogConfig

    output = Output(is_json=json, is_quiet=quiet)
    keys = tuple(key.strip() for key in os.environ.get(_KEYS, "").split(",") if key.strip())
    config = ServeConfig(
        host=host,
        port=port,
        keys=keys,
        slots=slots,
        max_tokens=max_tokens,
        deadline_s=deadline,
        grace_s=grace,
        log=LogConfig(folder=log, content=log_content.value, scrub=log_scrub) if log else None,
        spans=spans,
        span_content=span_content,
        access_log=_access_log(
            access_log, access_key, access_reference, has_responses=responses is not None
        ),
        responses=_responses(responses, access_key, contact, live_step, throttle),
        trust=trust,
        watermark=watermark,
        hides_logprobs=hide_logprobs,
        detections_per_minute=detect,
        watermark_key=watermark_key,
    )
    check_listening(config)  # loading may take minutes
    if watermark is not None and not hide_logprobs:
        output.say(
            "log-probabilities are shown and bear no mark: who learns from them is not found by it "
            "(--hide-logprobs)"
        )
    output.say(f"loading {student}")
    asked = None
    if teacher is not None:
        asked = TeacherConfig(
            spec=teacher,
            ledger=ledger,
            budget_usd=budget,
            reuses=reuse,
            prices=prices,
            terms=terms,
        )
    elif ledger or budget is not None or prices or reuse or stand_in or shadow or memory or terms:
        raise ConfigError(
            "--ledger, --budget, --prices, --terms, --reuse, --stand-in, --shadow and --memory are "
            "of a cascade and its teacher. Give --teacher SPEC, or leave them out."
        )
    engine = open_engine(
        "" if student == "local:" else student,
        config,
        teacher=asked,
        memory=memory,
        shadow=shadow,
        stands_in=stand_in,
        on_breach=on_breach.value,
    )
    run(engine, config, on_ready=lambda server: _greet(output, server))


def _access_log(
    folder: Path | None, key: Path | None, reference: Path | None, *, has_responses: bool
) -> "AccessLogConfig | None":
    from stillhouse.errors import ConfigError
    from stillhouse.traffic import AccessLogConfig

    if folder is None and reference is None and (key is None or has_responses):
        return None
    if folder is None or key is None:
        raise ConfigError(
            "An access log takes --access-log DIR and --access-key FILE. Give both, or neither."
        )
    return AccessLogConfig(folder=folder, key=key, reference=reference)


def _responses(
    file: Path | None, key: Path | None, contact: str | None, live_step: LiveStep, throttle: float
) -> "ResponsesConfig | None":
    from stillhouse.errors import ConfigError
    from stillhouse.settings import check_settings
    from stillhouse.traffic import ResponsesConfig

    if file is None:
        if contact is not None or live_step is not LiveStep.log:
            raise ConfigError(
                "--contact and --live-step are of --responses. Give --responses FILE, or leave "
                "them out."
            )
        return None
    if key is None or contact is None:
        raise ConfigError(
            "--responses takes --access-key FILE, which accounts are known by, and --contact TEXT, "
            "whom those who are refused can ask. Give both."
        )
    given = {
        "file": file,
        "key": key,
        "contact": contact,
        "live_step": live_step.value,
        "throttle_per_minute": throttle,
    }
    return check_settings(ResponsesConfig, given, where="serve")


def _greet(output: Output, server: "Server") -> None:
    name = server.engine.name
    document = {"url": server.url, "base_url": f"{server.url}/v1", "model": name}
    output.result(document, f"serving {name} at {server.url}/v1; Ctrl-C stops")
    import sys

    sys.stdout.flush()  # whoever started it waits for this line
