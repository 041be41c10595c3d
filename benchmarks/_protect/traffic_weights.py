"""Fit the weights that come with the package, on simulated traffic of the fit half alone.

    python -m benchmarks._protect.traffic_weights [--data FOLDER]

About six minutes on one core. It writes `src/stillhouse/traffic/weights.json`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from benchmarks._protect.traffic_logs import Log
from benchmarks._protect.traffic_made import Made, made, simulator

from stillhouse.traffic._map import ContentMap
from stillhouse.traffic._reference import clusters_of
from stillhouse.traffic._scorer import BIAS, NAMES, Kind, Usual, fit_weights
from stillhouse.traffic._windows import Floats, Placed, window_figures
from stillhouse.traffic.simulate import MANNERS, Account

_LENGTHS = (200, 500)
# Of each kind as many as it takes to tell it: in a log of 1,000 there are ten testers.
_ACCOUNTS = {"person": 200, "application": 300, "learner": 150, "reseller": 200, "tester": 150}
# Of 2e-4 to 6e-2, the one by which campaigns stood farthest beyond the tail of benign clusters, in
# a world of every second data set and phrase of the fit half: fewer than 50 campaigns fit closely.
_CLUSTER_PENALTY = 6e-2
# Of 3e-5 to 1e-3 in two worlds of the fit half, apart in topics and phrases, the one that found
# most extraction with no more than 0.3 % of benign accounts in the mean.
_WINDOW_PENALTY = 1e-4
_SHARES = (1.0, 0.5, 0.25, 0.1, 0.05)
Kinds = dict[str, Floats]
_ROOT = Path(__file__).resolve().parents[2]
_OUT = _ROOT / "src" / "stillhouse" / "traffic" / "weights.json"


def window_weights(data: Path, content_map: ContentMap) -> Kinds:
    """Of windows: each kind of benign accounts against extraction, pure and mixed."""
    simulated = simulator(data, "fit", seed=100)
    shares = simulated.cast.shares
    accounts = [
        Account(f"{kind}-{number}", kind, max(_LENGTHS), simulated.cast.of_kind(kind))
        for kind, num in _ACCOUNTS.items()
        for number in range(num)
    ]
    for share in _SHARES:
        accounts += simulated.mixed(60, num_requests=max(_LENGTHS), share=share)
    traffic = made(simulated, accounts)
    placed = Placed.on(content_map, traffic.table)
    kinds = list(_ACCOUNTS)
    class_A = np.array([kinds.index(k) if k in kinds else len(kinds) for k in traffic.kind_A])
    odds_A = np.array([*(shares[k] / num for k, num in _ACCOUNTS.items()), 0.0])[class_A]
    found = []
    for length in _LENGTHS:
        windows = [some[:length] for some in traffic.table.by_account()]
        figures = np.array([window_figures(placed, window_M) for window_M in windows])
        found.append(_usual(figures, odds_A / odds_A.sum()).distances(figures))
    weights_KG = fit_weights(
        np.vstack(found), np.tile(class_A, len(_LENGTHS)), penalty=_WINDOW_PENALTY
    )
    # How common a kind is counts as it does in a log.
    weights_KG[:, 0] -= np.log([shares[kind] for kind in kinds])
    return dict(zip(kinds, weights_KG, strict=True))


def _usual(figures_RF: Floats, odds_R: Floats) -> Usual:
    """What is usual where rows are as common as `odds_R`, which add up to 1."""
    centre_F = odds_R @ figures_RF
    return Usual(centre_F, np.sqrt(odds_R @ (figures_RF - centre_F) ** 2))


def cluster_weights(data: Path, content_map: ContentMap) -> Kinds:
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
    distances_RF = Usual.of(figures_RF[~bad]).distances(figures_RF)
    (weights_G,) = fit_weights(distances_RF, bad.astype(np.int64), penalty=_CLUSTER_PENALTY)
    weights_G[0] = 0.0  # changes no rank
    return {"cluster": weights_G}


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
    found: dict[Kind, Kinds] = {
        "window": window_weights(data, content_map),
        "cluster": cluster_weights(data, content_map),
    }
    document = {
        kind: {
            name: dict(zip((BIAS, *NAMES[kind]), np.round(weights_G, 3).tolist(), strict=True))
            for name, weights_G in kinds.items()
        }
        for kind, kinds in found.items()
    }
    _OUT.write_text(json.dumps(document, indent=2) + "\n")
    print(_OUT.read_text())


if __name__ == "__main__":
    main()
