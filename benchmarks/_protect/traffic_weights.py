"""Fit the weights that come with the package, on simulated traffic of the fit half alone.

    python -m benchmarks._protect.traffic_weights [--data FOLDER]

About six minutes on one core. It writes `src/stillhouse/traffic/weights.json`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benchmarks._protect.traffic_logs import Log
from benchmarks._protect.traffic_made import Made, made, simulator

from stillhouse.traffic._map import ContentMap
from stillhouse.traffic._reference import clusters_of
from stillhouse.traffic._scorer import NAMES, Usual, fit_weights
from stillhouse.traffic._windows import Floats, Placed, window_figures
from stillhouse.traffic.simulate import MANNERS

_LENGTHS = (50, 200, 500)
# Of 1e-4 to 3e-2, the one by which campaigns stood farthest beyond the tail of benign clusters, in
# a world of every second data set and phrase of the fit half: fewer than 50 campaigns fit closely.
_CLUSTER_PENALTY = 3e-2
_SHARES = (1.0, 0.5, 0.25, 0.1, 0.05)
Rows = tuple[Floats, npt.NDArray[np.bool_]]
_ROOT = Path(__file__).resolve().parents[2]
_OUT = _ROOT / "src" / "stillhouse" / "traffic" / "weights.json"


def window_rows(data: Path, content_map: ContentMap) -> Rows:
    """Of windows of three lengths, pure and mixed."""
    simulated = simulator(data, "fit", seed=100)
    accounts = simulated.benign(1_000, num_requests=max(_LENGTHS))
    for share in _SHARES:
        accounts += simulated.mixed(60, num_requests=max(_LENGTHS), share=share)
    traffic = made(simulated, accounts)
    placed = Placed.on(content_map, traffic.table)
    bad = np.isin(traffic.kind_A, ("single", "mixed"))
    found = []
    for length in _LENGTHS:
        windows = [some[:length] for some in traffic.table.by_account()]
        figures = np.array([window_figures(placed, window_M) for window_M in windows])
        found.append(Usual.of(figures[~bad]).distances(figures))
    return np.vstack(found), np.tile(bad, len(_LENGTHS))


def cluster_rows(data: Path, content_map: ContentMap) -> Rows:
    """Of benign logs, and of campaigns of every manner that are added to them in turn."""
    rng = np.random.default_rng(7)
    benign: list[Floats] = []
    campaigns: list[Floats] = []
    for number in range(8):
        simulated = simulator(data, "fit", seed=200 + number)
        log = Log.of(simulated, simulated.benign(1_000))
        placed = Placed.on(content_map, log.made().table)
        benign += [figures_F for _, figures_F in clusters_of(placed)]
        for manner in MANNERS * 2:
            accounts = simulated.hydra(
                int(rng.integers(10, 60)),
                num_requests=int(rng.integers(10, 40)),
                share=float(rng.uniform(0.25, 1.0)),
                days=float(rng.uniform(3.0, 14.0)),
                manner=manner,
            )
            campaigns += _of_campaign(content_map, log.with_(Log.of(simulated, accounts)).made())
    figures_RF = np.array(benign + campaigns)
    bad = np.arange(len(figures_RF)) >= len(benign)
    return Usual.of(figures_RF[~bad]).distances(figures_RF), bad


def _of_campaign(content_map: ContentMap, traffic: Made) -> list[Floats]:
    """Figures of the cluster that has most of a campaign, where there is one."""
    found = [
        (int(traffic.is_bad_N[cluster.linked_M].sum()), figures_F)
        for cluster, figures_F in clusters_of(Placed.on(content_map, traffic.table))
        if traffic.is_bad_N[cluster.linked_M].mean() > 0.5
    ]
    return [max(found, key=lambda one: one[0])[1]] if found else []


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    data = parser.parse_args().data
    simulated = simulator(data, "fit", seed=99)
    traffic = made(simulated, simulated.benign(1_000))
    content_map = ContentMap.fit(traffic.table.content_NC)
    found = {
        "window": fit_weights(*window_rows(data, content_map)),
        "cluster": fit_weights(*cluster_rows(data, content_map), penalty=_CLUSTER_PENALTY),
    }
    document = {
        kind: dict(zip(NAMES[kind], np.round(values, 3).tolist(), strict=True))
        for kind, values in found.items()
    }
    _OUT.write_text(json.dumps(document, indent=2) + "\n")
    print(_OUT.read_text())


if __name__ == "__main__":
    main()
