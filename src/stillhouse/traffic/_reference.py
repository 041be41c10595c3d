"""What benign traffic of a service is like, learnt from a log that is taken to be benign.

A window is compared with windows of the same length of reference accounts, a cluster with the
reference's clusters, which were found by the same search. P-values hold whatever scores are worth,
where accounts of both logs are alike but for extraction (`_ranks.py`). Extraction in the reference
costs power, and makes no false flags.

Letters: F figures.
"""

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson

from stillhouse.artifacts import atomic_write_bytes
from stillhouse.errors import ConfigError, DataError, IntegrityError
from stillhouse.records import canonical_json
from stillhouse.traffic._clusters import (
    Cluster,
    account_totals,
    cluster_figures,
    find_clusters,
)
from stillhouse.traffic._looks import LOOKS, looks_of
from stillhouse.traffic._map import ContentMap
from stillhouse.traffic._ranks import LEAST_SCORES, Ranks
from stillhouse.traffic._scorer import Kind, Usual, weights
from stillhouse.traffic._table import Table
from stillhouse.traffic._windows import Floats, Placed, window_figures

VERSION = 1
LEAST_ACCOUNTS = 50
"""Reference accounts without which nothing is compared."""
_KIND = "stillhouse/traffic/reference"


@dataclass(frozen=True)
class Reference:
    """A fitted reference.

    Attributes:
        key_id: Of the key that its log was hashed under.
        num_accounts: In its log.
        num_requests: In its log.
        content_map: Of its contents.
        windows: By length; lengths that too few accounts have are missing.
        clusters: Of its clusters; None where it has too few.
    """

    key_id: str
    num_accounts: int
    num_requests: int
    content_map: ContentMap
    windows: dict[int, Ranks]
    clusters: Ranks | None

    @classmethod
    def fit(cls, table: Table, key_id: str) -> Self:
        """The reference of a log.

        Raises:
            DataError: it has too few accounts or requests.
        """
        if len(table.accounts) < LEAST_ACCOUNTS:
            raise DataError(
                f"The reference log has {len(table.accounts)} accounts, and {LEAST_ACCOUNTS} are "
                "the fewest that say what is usual. Give a longer log."
            )
        content_map = ContentMap.fit(table.content_NC)
        placed = Placed.on(content_map, table)
        by_length: dict[int, list[Floats]] = {length: [] for length in LOOKS}
        for requests_M in table.by_account():
            # One window of each length: windows of one account are no independent evidence.
            for length, window_M in list(looks_of(requests_M))[: len(LOOKS)]:
                by_length[length].append(window_figures(placed, window_M))
        windows = {
            length: Ranks.of("window", np.array(figures))
            for length, figures in by_length.items()
            if len(figures) >= LEAST_ACCOUNTS
        }
        found = [figures_F for _, figures_F in clusters_of(placed)]
        clusters = Ranks.of("cluster", np.array(found)) if len(found) >= LEAST_SCORES else None
        return cls(key_id, len(table.accounts), len(table), content_map, windows, clusters)

    def save(self, path: Path) -> str:
        """Write it to a file, and give its SHA-256."""
        document = self._document()
        document["sha256"] = hashlib.sha256(canonical_json(document)).hexdigest()
        atomic_write_bytes(path, canonical_json(document) + b"\n")
        return str(document["sha256"])

    @property
    def sha256(self) -> str:
        """Of its content."""
        return hashlib.sha256(canonical_json(self._document())).hexdigest()

    def _document(self) -> dict[str, Any]:
        found = self.content_map
        return {
            "kind": _KIND,
            "version": VERSION,
            "key": self.key_id,
            "num_accounts": self.num_accounts,
            "num_requests": self.num_requests,
            "weights": {
                "window": weights("window").tolist(),
                "cluster": weights("cluster").tolist(),
            },
            "map": {
                name: _packed(getattr(found, name)) for name in ContentMap.__dataclass_fields__
            },
            "windows": {str(length): _ranks_document(r) for length, r in self.windows.items()},
            "clusters": None if self.clusters is None else _ranks_document(self.clusters),
        }


def load_reference(path: Path) -> Reference:
    """The reference in a file.

    Raises:
        ConfigError: there is none, or it is of another version of stillhouse.
        IntegrityError: the file was changed or cut.
    """
    try:
        document = orjson.loads(path.read_bytes())
    except OSError as err:
        raise ConfigError(
            f"{path} cannot be read ({err.strerror}). Make a reference: stillhouse watch LOG --fit "
            "FILE"
        ) from err
    except orjson.JSONDecodeError as err:
        raise IntegrityError(f"{path} is no JSON, or is cut off. Make it again.") from err
    if not isinstance(document, dict) or document.get("kind") != _KIND:
        raise ConfigError(f"{path} is no traffic reference. Give what watch --fit wrote.")
    if document.get("version") != VERSION:
        raise ConfigError(
            f"{path} has version {document.get('version')!r}, and this stillhouse reads {VERSION}. "
            "Fit it again."
        )
    told = document.pop("sha256", None)
    if told != hashlib.sha256(canonical_json(document)).hexdigest():
        raise IntegrityError(f"{path} is not what watch --fit wrote. Make it again.")
    for kind in ("window", "cluster"):
        if document["weights"][kind] != weights(kind).tolist():
            raise ConfigError(f"{path} was fitted with other weights. Fit it again.")
    content_map = ContentMap(
        *(_unpacked(document["map"][name]) for name in ContentMap.__dataclass_fields__)
    )
    return Reference(
        key_id=document["key"],
        num_accounts=document["num_accounts"],
        num_requests=document["num_requests"],
        content_map=content_map,
        windows={
            int(length): _read_ranks("window", ranks)
            for length, ranks in document["windows"].items()
        },
        clusters=(
            None if document["clusters"] is None else _read_ranks("cluster", document["clusters"])
        ),
    )


Found = tuple[Cluster, Floats]


def clusters_of(placed: Placed) -> list[Found]:
    """The clusters of a log with their figures."""
    totals_A, first_s_A = account_totals(placed)
    return [
        (cluster, cluster_figures(placed, cluster, totals_A, first_s_A))
        for cluster in find_clusters(placed)
    ]


def _ranks_document(ranks: Ranks) -> dict[str, Any]:
    return {
        "centre": ranks.usual.centre_F.tolist(),
        "spread": ranks.usual.spread_F.tolist(),
        "high": ranks.high_F.tolist(),
        "scores": _packed(ranks.score_R),
    }


def _read_ranks(kind: Kind, document: dict[str, Any]) -> Ranks:
    usual = Usual(np.array(document["centre"]), np.array(document["spread"]))
    return Ranks(kind, usual, np.array(document["high"]), _unpacked(document["scores"]))


def _packed(array: npt.NDArray[Any]) -> dict[str, Any]:
    little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<")))
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "base64": base64.b64encode(little.tobytes()).decode(),
    }


def _unpacked(document: dict[str, Any]) -> npt.NDArray[Any]:
    kind = np.dtype(document["dtype"]).newbyteorder("<")
    flat = np.frombuffer(base64.b64decode(document["base64"]), kind)
    return flat.reshape(document["shape"]).astype(kind.newbyteorder("="))
