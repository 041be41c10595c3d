"""OpenSSF model-signing bundles, made by the project's own package: the extra `oms`.

Their key mode takes elliptic curves of NIST only (secp256r1, secp384r1, secp521r1), so that a key
of stillhouse, which is Ed25519, will not do. A bundle says who signed which bytes, and no more.
Source: https://github.com/sigstore/model-transparency, model-signing 1.1.1, OMS specification 1.0.
"""

import os
from collections.abc import Callable
from pathlib import Path

from stillhouse.artifacts import ATTESTATIONS_NAME, sync_folder
from stillhouse.errors import ConfigError, MissingDependencyError
from stillhouse.provenance._verify import verify
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.signing import load_elliptic_key

_SIGNATURE_NAME = "model.sig"  # where others look for it, once the folder is published
_IGNORED = (ATTESTATIONS_NAME, _SIGNATURE_NAME, ".work")


def sign_oms(
    folder: Path,
    key_path: Path,
    out: Path | None = None,
    *,
    ask: Callable[[], str] | None = None,
    on_progress: Listener = ignore_progress,
) -> Path:
    """Write an OpenSSF model-signing bundle of the artefact in `folder`, after verifying it.

    What comes after the manifest (our signatures, the bundle itself) is recorded in the bundle as
    ignored, so that both kinds of signature live together.

    Args:
        folder: The artefact.
        key_path: A private key of a NIST curve, in PEM.
        out: The bundle; None is `FOLDER.sig` beside the artefact.
        ask: Gives the passphrase of an encrypted key.
        on_progress: Told of each artefact that is checked.

    Returns:
        Where the bundle is.

    Raises:
        MissingDependencyError: the extra `oms` is not installed.
        ConfigError: the key will not do, or `out` lies inside the artefact.
        IntegrityError: the artefact or an ancestor is not what was written.
    """
    try:
        from model_signing import hashing, signing
    except ImportError as err:
        raise MissingDependencyError(
            "OpenSSF bundles need the package model-signing. Run: pip install 'stillhouse[oms]'"
        ) from err
    passphrase = load_elliptic_key(key_path, ask=ask)
    place = out if out is not None else folder.resolve().with_name(f"{folder.resolve().name}.sig")
    if place.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"{place} lies inside the artefact, which holds only what its manifest lists. Write "
            f"the bundle beside it; a copy that is published may hold it as {_SIGNATURE_NAME}."
        )
    verify(folder, on_progress=on_progress)
    config = signing.Config().use_elliptic_key_signer(private_key=key_path, password=passphrase)
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=_IGNORED))
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        config.sign(folder.resolve(), temporary)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(place.resolve().parent)
    return place
