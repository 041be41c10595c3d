"""Fit the weights that come with the package, on simulated traffic of the fit half alone.

    python -m benchmarks._protect.traffic_weights [--data FOLDER]

About six minutes on one core. It writes `src/stillhouse/traffic/weights.json`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from benchmarks._protect.traffic_made import made, simulator

from stillhouse.traffic._map import ContentMap
from stillhouse.traffic._reference import clusters_of
from stillhouse.traffic._scorer import NAMES, Usual, fit_weights
from stillhouse.traffic._windows import Floats, Placed, window_figures

_LENGTHS = (50, 200)
_SHARES = (1.0, 0.5, 0.25, 0.1, 0.05)
_ROOT = Path(__file__).resolve().parents[2]
_OUT = _ROOT / "src" / "stillhouse" / "traffic" / "weights.json"


def window_weights(data: Path, content_map: ContentMap) -> Floats:
    """Of windows of two lengths, pure and mixed."""
    distances, is_bad = [], []
    for length in _LENGTHS:
        simulated = simulator(data, "fit", seed=100 + length)
        accounts = simulated.benign(1_000, num_requests=length)
        for share in _SHARES:
            accounts += simulated.mixed(60, num_requests=length, share=share)
        traffic = made(simulated, accounts)
        placed = Placed.on(content_map, traffic.table)
        figures = np.array([window_figures(placed, w) for w in traffic.table.by_account()])
        bad = np.isin(traffic.kind_A, ("single", "mixed"))
        distances.append(Usual.of(figures[~bad]).distances(figures))
        is_bad.append(bad)
    return fit_weights(np.vstack(distances), np.concatenate(is_bad))


def cluster_weights(data: Path, content_map: ContentMap) -> Floats:
    """Of clusters in populations with two campaigns each; benign ones are far more."""
    rng = np.random.default_rng(7)
    figures, is_bad = [], []
    for number in range(8):
        simulated = simulator(data, "fit", seed=200 + number)
        accounts = simulated.benign(600)
        for _ in range(2):
            accounts += simulated.hydra(
                int(rng.integers(10, 60)),
                num_requests=int(rng.integers(10, 40)),
                share=float(rng.uniform(0.3, 1.0)),
                days=float(rng.uniform(3.0, 14.0)),
            )
        traffic = made(simulated, accounts)
        found = clusters_of(Placed.on(content_map, traffic.table))
        figures += [figures_F for _, figures_F in found]
        is_bad += [bool(traffic.is_bad_N[c.linked_M].mean() > 0.5) for c, _ in found]
    bad, figures_RF = np.array(is_bad), np.array(figures)
    return fit_weights(Usual.of(figures_RF[~bad]).distances(figures_RF), bad)


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    data = parser.parse_args().data
    simulated = simulator(data, "fit", seed=99)
    traffic = made(simulated, simulated.benign(1_000))
    content_map = ContentMap.fit(traffic.table.content_NC)
    found = {
        "window": window_weights(data, content_map),
        "cluster": cluster_weights(data, content_map),
    }
    document = {
        kind: dict(zip(NAMES[kind], np.round(values, 3).tolist(), strict=True))
        for kind, values in found.items()
    }
    _OUT.write_text(json.dumps(document, indent=2) + "\n")
    print(_OUT.read_text())


if __name__ == "__main__":
    main()
