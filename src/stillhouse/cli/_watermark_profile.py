"""A profile from what a person chose on the command line."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.cli._signing_keys import signing_key

if TYPE_CHECKING:
    from stillhouse.watermark import Profile


@dataclass(frozen=True, slots=True)
class ProfileChoice:
    """What was chosen.

    Attributes:
        model: Whose tokenizer it is for; empty for the embedded model.
        scheme: What marks.
        prf: The function of the key.
        context_width: Ids in a context.
        parameters: Of the scheme, as NAME=NUMBER.
        repeats: Where a context must be new.
        customer: Whose answers are marked; None for the deployment's.
    """

    model: str
    scheme: str
    prf: str
    context_width: int
    parameters: tuple[str, ...]
    repeats: str
    customer: str | None


def new_profile(
    path: Path, choice: ProfileChoice, *, key: str, sign_key: str, folder: Path | None
) -> "Profile":
    """Make a profile, sign it and write it.

    Args:
        path: The file; it must not be there.
        choice: What it says.
        key: Name of the watermark key.
        sign_key: Name or file of the key that signs.
        folder: Of both keys; None for the folder of keys.

    Raises:
        ConfigError: a key, a parameter, the model or the file will not do.
    """
    from datetime import UTC, datetime

    from pydantic import ValidationError

    from stillhouse.errors import ConfigError
    from stillhouse.watermark import Profile, key_path, load_watermark_key, write_profile

    secret = load_watermark_key(key_path(key, folder))
    signer = signing_key(sign_key, folder)  # before a tokenizer is loaded
    given = {
        "scheme": choice.scheme,
        "prf": choice.prf,
        "context_width": choice.context_width,
        "parameters": numbers(choice.parameters),
        "repeats": choice.repeats,
        "tokenizer_sha256": _tokenizer_sha256(choice.model),
        "key_id": secret.key_id,
        "customer": None if choice.customer is None else secret.customer_id(choice.customer),
    }
    try:
        profile = Profile.model_validate(given)
    except ValidationError as err:
        reason = err.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"There is no such profile: {reason}. Correct it.") from err
    write_profile(path, profile, signer, now=datetime.now(UTC))
    return profile


def _tokenizer_sha256(model: str) -> str:
    from stillhouse.models import load_chat, locate_model

    return load_chat(locate_model(model)).vocabulary_sha256


def numbers(given: tuple[str, ...]) -> dict[str, float]:
    """Parameters that are given as NAME=NUMBER; raises ConfigError for anything else."""
    from stillhouse.errors import ConfigError

    found: dict[str, float] = {}
    for text in given:
        name, _, number = text.partition("=")
        try:
            found[name] = float(number)
        except ValueError as err:
            raise ConfigError(
                f"--parameter {text!r:.60} is not NAME=NUMBER. Give one such as gamma=0.25."
            ) from err
    return found
