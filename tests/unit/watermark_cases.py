"""Keys, profiles and rows for the tests of marks."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from stillhouse.signing import Keyring
from stillhouse.watermark import Profile, WatermarkKey, load_watermark_key, make_key, write_profile

KEY = WatermarkKey(bytes(range(32)))
TOKENIZER = "0" * 64
NOW = datetime(2026, 11, 29, tzinfo=UTC)


@dataclass(frozen=True)
class Row:
    """A completion under way."""

    prompt_ids: tuple[int, ...] = (1, 2, 3)
    seed: int = 7
    temperature: float = 1.0


def profile_of(scheme: str = "gumbel", **changes: Any) -> Profile:
    given = {"scheme": scheme, "tokenizer_sha256": TOKENIZER, "key_id": KEY.key_id, **changes}
    return Profile.model_validate(given)


def key_of(number: int) -> WatermarkKey:
    return WatermarkKey(number.to_bytes(32, "little"))


def signed_profile(folder: Path, **changes: Any) -> tuple[Path, Profile]:
    """A profile that is signed, with its key in the same folder."""
    now = datetime.now(UTC)
    make_key("mark", folder)
    ring = Keyring(folder)
    ring.create("signer", now=now - timedelta(minutes=1), valid_days=30)
    secret = load_watermark_key(folder / "mark.watermark-key")
    profile = profile_of(**{"key_id": secret.key_id, **changes})
    path = folder / "profile.json"
    write_profile(path, profile, ring.private("signer"), now=now)
    return path, profile
