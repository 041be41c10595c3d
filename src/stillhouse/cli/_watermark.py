"""The `watermark` command: keys and profiles of marks."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from stillhouse.cli._options import JsonOption, QuietOption
from stillhouse.cli._output import Output
from stillhouse.cli._signing_keys import KeyFolderOption
from stillhouse.cli._watermark_profile import ProfileChoice, new_profile


class Action(StrEnum):
    """What is done with marks."""

    key = "key"
    profile = "profile"


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
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="Of key: the name of the new key. Of profile: the file to write.",
        ),
    ],
    key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of profile: the watermark key that it commits to."),
    ] = None,
    sign_key: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of profile: the key that signs it (stillhouse keys create)."
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(metavar="MODEL", help="Of profile: the model whose tokenizer it is for."),
    ] = "local:",
    scheme: Annotated[Scheme, typer.Option(help="Of profile.")] = Scheme.gumbel,
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
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make keys and profiles of marks.

    key makes a secret key. profile writes what is public of a mark, signed: the scheme, its
    parameters, the tokenizer and a commitment to the key. `serve --watermark FILE` and
    `collect --teacher 'local:?watermark=FILE'` mark by it (docs/watermark.md).
    """
    from stillhouse.errors import ConfigError
    from stillhouse.watermark import key_path, make_key

    output = Output(is_json=json, is_quiet=quiet)
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
    profile = new_profile(Path(what), choice, key=key, sign_key=sign_key, folder=folder)
    output.result(
        {"path": what, "profile_id": profile.profile_id, **profile.model_dump(mode="json")},
        f"{what} is the profile {profile.profile_id[:12]}: {profile.scheme} with the key "
        f"{profile.key_id[:12]}. Serve with it: stillhouse serve STUDENT --watermark {what}",
    )
