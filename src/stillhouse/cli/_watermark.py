"""The `watermark` command: keys and profiles of marks, and texts that may bear them."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output
from stillhouse.cli._signing_keys import KeyFolderOption
from stillhouse.cli._watermark_detect import (
    CALIBRATED,
    FORECAST,
    Tested,
    forecast_profile,
    opened_profile,
    run_calibrate,
    run_detect,
    run_forecast,
    run_identify,
)
from stillhouse.cli._watermark_profile import ProfileChoice, new_profile, numbers


class Action(StrEnum):
    """What is done with marks."""

    key = "key"
    profile = "profile"
    detect = "detect"
    identify = "identify"
    calibrate = "calibrate"
    forecast = "forecast"


class Scheme(StrEnum):
    """What marks."""

    gumbel = "gumbel"
    dual_gumbel = "dual_gumbel"
    kgw = "kgw"
    synthid = "synthid"


class Prf(StrEnum):
    """Where numbers come from."""

    splitmix64 = "splitmix64-v1"
    hmac = "hmac-sha256-v1"
    synthid = "synthid-v1"


class Repeats(StrEnum):
    """Where a context must be new for its token to be marked."""

    completion = "completion"
    conversation = "conversation"


def watermark(
    action: Annotated[Action, typer.Argument(help="What to do.", show_default=False)],
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME|FILE]",
            help="Of key: the name of the new key. Of profile: the file to write. Of detect, "
            "identify and calibrate: a text, a .jsonl file with a 'text' or 'ids' a line, a folder "
            "of texts, or '-'. Of forecast: nothing.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of profile: the watermark key that it commits to. Of detect, identify and "
            "calibrate: its name or file.  [default: the one that fits]",
        ),
    ] = None,
    sign_key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of profile: the key that signs it (stillhouse keys create)."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Whose tokenizer a profile is for, and texts are read with.",
        ),
    ] = "local:",
    scheme: Annotated[
        Scheme, typer.Option(help="Of profile, and of forecast without --profile.")
    ] = Scheme.gumbel,
    prf: Annotated[Prf, typer.Option(help="Of profile: the function of the key.")] = Prf.splitmix64,
    context_width: Annotated[
        int, typer.Option(min=1, max=64, help="Of profile: ids that choose a token's numbers.")
    ] = 4,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER",
            help="Of profile: alpha (dual_gumbel), gamma and delta (kgw), layers (synthid); may "
            "be repeated.",
        ),
    ] = None,
    repeats: Annotated[
        Repeats, typer.Option(help="Of profile: where a context must be new to be marked.")
    ] = Repeats.completion,
    customer: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of profile: whose answers it marks; not kept in it."),
    ] = None,
    folder: KeyFolderOption = None,
    profile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of detect, identify, calibrate and forecast."),
    ] = None,
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who may sign --profile.  [default: anybody]"),
    ] = None,
    prompt: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of detect and identify: what the text answers."),
    ] = None,
    common: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Of detect and identify: what calibrate wrote; not counted."
        ),
    ] = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="Of detect: tell which parts of a text are marked.")
    ] = False,
    customers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of identify: their names, one a line.")
    ] = None,
    level: Annotated[float, typer.Option(help="Chance of a false alarm.")] = 0.001,
    entropy: Annotated[
        list[float] | None,
        typer.Option(metavar="NATS", help="Of forecast: of the law of a token; may be repeated."),
    ] = None,
    logprobs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Of forecast: log-probabilities of sampled tokens, a JSON list a line.",
        ),
    ] = None,
    power: Annotated[
        float, typer.Option(help="Of forecast: share of marked texts to be found.")
    ] = 0.95,
    counted: Annotated[
        float, typer.Option(help="Of forecast: share of tokens that count (calibrate).")
    ] = 1.0,
    length: Annotated[
        list[int] | None,
        typer.Option(
            metavar="TOKENS", help="Of calibrate and forecast: of texts; may be repeated."
        ),
    ] = None,
    decoys: Annotated[
        int, typer.Option(help="Of calibrate: other keys, to see how keys differ.")
    ] = 40,
    min_documents: Annotated[
        int, typer.Option(help="Of calibrate: from how many on an n-gram is common.")
    ] = 10,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of calibrate: where common n-grams are written."),
    ] = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make keys and profiles of marks, and test texts for them.

    key makes a secret key. profile writes what is public of a mark, signed: the scheme, its
    parameters, the tokenizer and a commitment to the key. `serve --watermark FILE` and
    `collect --teacher 'local:?watermark=FILE'` mark by it (docs/watermark.md).

    detect gives the p-value of a text, identify the customer whose key marked it, calibrate the
    false alarms on texts of yours without a mark, and forecast how long a text must be for its
    mark to be found (docs/watermark_detection.md).
    """
    from stillhouse.errors import ConfigError
    from stillhouse.watermark import key_path, make_key

    output = Output(is_json=json, is_quiet=quiet)
    if action is Action.forecast:
        if what is not None:
            raise ConfigError(f"watermark forecast takes no text. Leave {what!r:.60} out.")
        run_forecast(
            output,
            opened_profile(profile, trust)
            if profile
            else forecast_profile(scheme.value, numbers(tuple(parameter or ()))),
            entropies_nats=entropy or [],
            logprobs=logprobs,
            lengths=length or list(FORECAST),
            level=level,
            target=power,
            scored_fraction=counted,
        )
        return
    if what is None:
        raise ConfigError(f"watermark {action.value} takes a NAME or FILE. Give it.")
    if action in (Action.detect, Action.identify, Action.calibrate):
        tested = Tested(
            source=what,
            profile=_given(profile, action, "--profile"),
            key=key,
            folder=folder,
            trust=trust,
            model=model,
            common=common,
            level=_level(level),
        )
        if action is Action.detect:
            run_detect(output, tested, prompt=prompt, is_located=parts)
        elif action is Action.identify:
            names = _given(customers, action, "--customers")
            run_identify(output, tested, prompt=prompt, customers=names)
        else:
            run_calibrate(
                output,
                tested,
                out=_given(out, action, "--out"),
                lengths=length or list(CALIBRATED),
                num_decoys=decoys,
                min_documents=min_documents,
            )
        return
    if action is Action.key:
        made, path = make_key(what, folder), key_path(what, folder)
        output.result(
            {"path": str(path), "key_id": made.key_id},
            f"{path} holds the key {made.key_id[:12]}. Keep it secret: whoever has it can mark in "
            f"your name. Make a profile: stillhouse watermark profile FILE --key {what} --sign-key "
            "NAME",
        )
        return
    if key is None or sign_key is None:
        raise ConfigError(
            "watermark profile takes --key NAME, the watermark key, and --sign-key NAME, the key "
            "that signs. Make them: stillhouse watermark key NAME; stillhouse keys create NAME"
        )
    choice = ProfileChoice(
        model="" if model == "local:" else model.removeprefix("local:"),
        scheme=scheme.value,
        prf=prf.value,
        context_width=context_width,
        parameters=tuple(parameter or ()),
        repeats=repeats.value,
        customer=customer,
    )
    made_profile = new_profile(Path(what), choice, key=key, sign_key=sign_key, folder=folder)
    output.result(
        {
            "path": what,
            "profile_id": made_profile.profile_id,
            **made_profile.model_dump(mode="json"),
        },
        f"{what} is the profile {made_profile.profile_id[:12]}: {made_profile.scheme} with the key "
        f"{made_profile.key_id[:12]}. Serve with it: stillhouse serve STUDENT --watermark {what}",
    )


def _given(path: Path | None, action: Action, option: str) -> Path:
    from stillhouse.errors import ConfigError

    if path is None:
        raise ConfigError(f"watermark {action.value} takes {option} FILE. Give it.")
    return path


def _level(level: float) -> float:
    from stillhouse.errors import ConfigError

    if not 0 < level < 1:
        raise ConfigError(f"--level is {level:g}; give a chance between 0 and 1, such as 0.001.")
    return level
