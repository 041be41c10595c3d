"""Sign an artefact: what its lineage says it was made from, twice, into `attestations.jsonl`."""

from datetime import datetime
from pathlib import Path

from stillhouse.artifacts import hold_artifact, write_attestations
from stillhouse.errors import ConfigError
from stillhouse.provenance._attestations import (
    Attestation,
    check_attestations,
    read_attestations,
    statements_of,
)
from stillhouse.provenance._lineage import lineage
from stillhouse.provenance._verify import verify
from stillhouse.runlog import Listener, ignore_progress
from stillhouse.signing import PrivateKey, sign


def attest(
    folder: Path, key: PrivateKey, *, now: datetime, on_progress: Listener = ignore_progress
) -> tuple[Attestation, ...]:
    """Sign the artefact in `folder`, after checking every byte of it and of its ancestors.

    A key signs an artefact once: where it did, nothing is written.

    Args:
        folder: The artefact.
        key: Who signs.
        now: The clock.
        on_progress: Told of each artefact that is checked.

    Returns:
        The two statements of this key.

    Raises:
        IntegrityError: the artefact, an ancestor or an earlier signature is not what was written.
        ConfigError: the clock is before the artefact, or outside the validity of the key.
        FolderBusyError: another process is writing the folder.
    """
    verify(folder, on_progress=on_progress)
    graph = lineage(folder)
    newest = max(node.manifest.created_utc for node in graph.nodes)
    if now < newest:
        raise ConfigError(
            f"This machine's clock says {now:%Y-%m-%d %H:%M:%S} UTC, and {folder} was made on "
            f"{newest:%Y-%m-%d %H:%M:%S}: the clock is in the past. Correct it, then sign."
        )
    with hold_artifact(folder):
        envelopes = read_attestations(folder)
        before = check_attestations(folder, now=now, graph=graph)
        if not any(one.key_id == key.key_id for one in before):
            new = [sign(statement, key, now=now) for statement in statements_of(graph)]
            lines = b"".join(one.to_bytes() + b"\n" for one in (*envelopes, *new))
            write_attestations(folder, lines)
    after = check_attestations(folder, now=now, graph=graph)
    return tuple(one for one in after if one.key_id == key.key_id)
