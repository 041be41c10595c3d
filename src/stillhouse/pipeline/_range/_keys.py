"""The owner's secrets in a range: made once, kept beside what they marked."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from stillhouse.pipeline._range._config import MarkConfig
from stillhouse.signing import Keyring
from stillhouse.traffic import TrafficKey, open_traffic_key
from stillhouse.watermark import (
    Profile,
    WatermarkKey,
    key_path,
    load_watermark_key,
    make_key,
    read_profile,
    write_profile,
)

_NAME = "range"
_VALID_DAYS = 3_650


class OwnerKeys:
    """The keys in a folder; those that are missing are made.

    Keys are random: whoever could foretell them could take marks out.

    Args:
        folder: For the owner alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watermark_path = key_path(_NAME, folder)

    @property
    def watermark(self) -> WatermarkKey:
        """What marks."""
        if not self.watermark_path.exists():
            return make_key(_NAME, self.folder)
        return load_watermark_key(self.watermark_path)

    @property
    def traffic(self) -> TrafficKey:
        """What requests are hashed under."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return open_traffic_key(self.folder / "traffic.key")

    def profile(self, mark: MarkConfig, *, tokenizer_sha256: str) -> tuple[Path, Profile]:
        """The signed profile of a mark, and what it says."""
        profile = mark.profile(tokenizer_sha256=tokenizer_sha256, key_id=self.watermark.key_id)
        path = self.folder / f"profile-{profile.profile_id[:12]}.json"
        if not path.exists():
            now = datetime.now(UTC)
            ring = Keyring(self.folder)
            if not (self.folder / f"{_NAME}.key").exists():
                ring.create(_NAME, now=now - timedelta(minutes=1), valid_days=_VALID_DAYS)
            write_profile(path, profile, ring.private(_NAME), now=now)
        return path, read_profile(path).profile
