"""What marks a deployment: a signed profile, and the key that it commits to."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from stillhouse.errors import ConfigError
from stillhouse.signing import Trust, default_key_folder
from stillhouse.watermark._key import WatermarkKey, create_watermark_key, load_watermark_key
from stillhouse.watermark._keyed import check_customers, customer_profile
from stillhouse.watermark._mark import LogitsMark
from stillhouse.watermark._profile import Profile
from stillhouse.watermark._schemes import make_mark
from stillhouse.watermark._signed import read_profile

_SUFFIX = ".watermark-key"


@dataclass(frozen=True, slots=True)
class Watermark:
    """A profile that is in use.

    Attributes:
        profile: What it says.
        mark: Marks by it, in one thread.
        key: Its key.
    """

    profile: Profile
    mark: LogitsMark
    key: WatermarkKey = field(repr=False)

    @property
    def profile_id(self) -> str:
        """Its public name."""
        return self.profile.profile_id

    def check_customers(self) -> None:
        """Refuse a profile under which customers have no keys of their own.

        Raises:
            ConfigError: it is one.
        """
        check_customers(self.profile)

    def of_customer(self, customer: str) -> "Watermark":
        """The same with the key of one customer, as `identify` looks for it.

        Raises:
            ConfigError: its customers have no keys of their own.
        """
        self.check_customers()
        profile = customer_profile(self.profile, self.key, customer)
        return Watermark(profile, make_mark(profile, self.key), self.key)

    def check_tokenizer(self, vocabulary_sha256: str) -> None:
        """Refuse a model with another tokenizer than the profile is for.

        Args:
            vocabulary_sha256: Fingerprint of the model's id-to-bytes map.

        Raises:
            ConfigError: it is another.
        """
        check_tokenizer(self.profile, vocabulary_sha256)


def check_tokenizer(profile: Profile, vocabulary_sha256: str) -> None:
    """Refuse another tokenizer than the profile is for: its ids would mean other texts.

    Args:
        profile: Of the marks.
        vocabulary_sha256: Fingerprint of an id-to-bytes map.

    Raises:
        ConfigError: it is another.
    """
    if vocabulary_sha256 != profile.tokenizer_sha256:
        raise ConfigError(
            f"The profile {profile.profile_id[:12]} is for the tokenizer "
            f"{profile.tokenizer_sha256[:12]}, and this one is {vocabulary_sha256[:12]}. Take the "
            "model's own tokenizer, or make a profile for it: stillhouse watermark profile"
        )


def key_path(name: str, folder: Path | None = None) -> Path:
    """Where the watermark key of that name is kept.

    Args:
        name: Letters, digits, dots, dashes and underscores.
        folder: None for the folder of signing keys.

    Raises:
        ConfigError: the name will not do.
    """
    if not name or len(name) > 64 or not all(char.isalnum() or char in "._-" for char in name):
        raise ConfigError(
            f"A key cannot be called {name!r:.80}. Take letters, digits, dots, dashes and "
            "underscores, at most 64."
        )
    return (folder or default_key_folder()) / f"{name}{_SUFFIX}"


def make_key(name: str, folder: Path | None = None) -> WatermarkKey:
    """Make a watermark key in a folder, which is made for its owner alone where there is none.

    Raises:
        ConfigError: the name will not do or is taken, or the folder cannot be written.
    """
    path = key_path(name, folder)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as err:
        raise ConfigError(f"{path.parent} cannot be made ({err.strerror}).") from err
    return create_watermark_key(path)


def find_key(key_id: str, folder: Path | None = None) -> WatermarkKey:
    """The key with that commitment.

    Args:
        key_id: Of a profile.
        folder: None for the folder of signing keys.

    Raises:
        ConfigError: it is not there, or the file cannot be used.
    """
    place = folder or default_key_folder()
    paths = sorted(place.glob(f"*{_SUFFIX}"))
    problem: ConfigError | None = None
    for path in paths:
        try:
            key = load_watermark_key(path)
        except ConfigError as err:
            problem = err  # of another key, it does not matter
            continue
        if key.key_id == key_id:
            return key
    known = f"{len(paths)} other watermark keys are" if paths else "no watermark key is"
    reason = f" ({problem})" if problem else ""
    raise ConfigError(
        f"The profile is of the key {key_id[:12]}, and {known} in {place}{reason}. Put the key "
        "there, or say where it is."
    ) from problem


def open_watermark(
    profile: Path, *, key: Path | None = None, trust: Trust | None = None
) -> Watermark:
    """What marks by the profile in a file.

    Args:
        profile: What `write_profile` wrote.
        key: File of the key; None looks for it in the folder of keys.
        trust: Whom the profile must be signed by; None for anybody.

    Raises:
        ConfigError: a file cannot be read, the key is open to others, or it is another key.
        SignatureError: the profile was changed, or its signature does not count.
    """
    found = read_profile(profile, trust=trust, now=datetime.now(UTC)).profile
    secret = find_key(found.key_id) if key is None else load_watermark_key(key)
    return Watermark(found, make_mark(found, secret), secret)
