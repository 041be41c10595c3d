"""Files of secrets: written once, whole, and for their owner alone."""

import os
import secrets
import tempfile
from pathlib import Path

import orjson

from stillhouse.artifacts import sync_folder
from stillhouse.errors import ConfigError
from stillhouse.records import canonical_json
from stillhouse.signing._reading import read_regular

SECRET_BYTES = 32
_MAX_FILE_BYTES = 4_096


def create_secret(path: Path, kind: str) -> bytes:
    """Write a new secret with rights 600, where nothing is.

    Args:
        path: The file.
        kind: What it is for; kept with it.

    Returns:
        32 bytes from the system's randomness.

    Raises:
        ConfigError: as in `write_new`.
    """
    secret = secrets.token_bytes(SECRET_BYTES)
    write_new(path, canonical_json({"kind": kind, "key": secret.hex()}) + b"\n", mode=0o600)
    return secret


def read_secret(path: Path, kind: str) -> bytes | None:
    """What `create_secret` wrote; None where the file holds anything else.

    Raises:
        ConfigError: it cannot be read, is a link or no regular file, or is open to others.
    """
    raw = read_regular(path, max_bytes=_MAX_FILE_BYTES, is_secret=True)
    try:
        data = orjson.loads(raw)
        secret = bytes.fromhex(data["key"])
        is_right = data.keys() == {"kind", "key"} and data["kind"] == kind
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return None
    return secret if is_right and len(secret) == SECRET_BYTES else None


def write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file whole, with its rights from the first moment, where there is none.

    Raises:
        ConfigError: there is something of that name, or it cannot be written.
    """
    try:
        # Made with O_EXCL and for its owner alone, under a name that nobody can foresee.
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(name, mode)
            os.link(name, path)  # unlike a rename, it replaces nothing
        finally:
            os.unlink(name)
    except FileExistsError as err:
        raise ConfigError(f"{path} exists; a key is never replaced. Choose another name.") from err
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or err
        raise ConfigError(f"{path} cannot be written ({reason}). Give another place.") from err
    sync_folder(path.parent)
