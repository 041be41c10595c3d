"""Windows of accounts in simulated traffic of real prompts: false positives, and what is found.

All is fitted on one half of prompts and phrases and measured on the other, which shares no data set
with it. Every account has one window of each length: its first requests.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks._protect.options import Options
from benchmarks._protect.traffic_logs import made_in_parts
from benchmarks._protect.traffic_made import KEY, Made, simulator
from benchmarks._protect.traffic_peer import Peer, whole_contents

from stillhouse.statistics import fraction_interval
from stillhouse.traffic import Featuriser, Placed, Reference, Table, read_table
from stillhouse.traffic._looks import LOOKS
from stillhouse.traffic._watch import compare_windows
from stillhouse.traffic._windows import window_figures
from stillhouse.traffic.simulate import Sent

SHARES = (1.0, 0.5, 0.25, 0.1, 0.05)
LEVEL = 0.003
_LENGTHS = tuple(length for length in LOOKS if length >= 50)
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class WindowSizes:
    """How much is simulated.

    Attributes:
        reference: Reference accounts.
        benign: Benign accounts that are tested.
        attackers: Of each share.
        length: Requests of an account.
        peer_lengths: Requests of windows of the peer; the last is its own size.
        peer: Its reference accounts, and as many that are tested.
    """

    reference: int = 2_000
    benign: int = 2_000
    attackers: int = 60
    length: int = 500
    peer_lengths: tuple[int, ...] = (500, 1_500)
    peer: int = 100


def run(options: Options) -> dict[str, Any]:
    """Windows of up to 500 requests; the peer at that size and at its own."""
    return measured(options, WindowSizes())


def measured(options: Options, sizes: WindowSizes) -> dict[str, Any]:
    """At any size."""
    simulated = simulator(options.data, "fit", seed=1)
    accounts = simulated.benign(sizes.reference, num_requests=sizes.length)
    usual = made_in_parts(simulated, accounts)
    reference = Reference.fit(usual.table, KEY.key_id)
    del usual
    test = _tested(options, seed=2, num=sizes.benign, attackers=sizes.attackers, sizes=sizes)
    placed = Placed.on(reference.content_map, test.made.table)
    by_account = test.made.table.by_account()
    found = {
        str(length): found_at(window_p(placed, by_account, reference, length), test)
        for length in _LENGTHS
        if length <= sizes.length
    }
    print(f"ours: {found}", flush=True)
    all_looks_A = np.array([compare_windows(placed, some, reference)[0] for some in by_account])
    return asdict(sizes) | {
        "level": LEVEL,
        "by_length": found,
        "ours": found[str(sizes.length)],
        "ours_all_looks": found_at(all_looks_A, test),
        "peer": {str(length): _peer(options, sizes, length) for length in sizes.peer_lengths},
    }


@dataclass(frozen=True)
class Labelled:
    """Accounts that are tested.

    Attributes:
        made: Their requests.
        share_A: Of extraction, 0 for benign ones.
    """

    made: Made
    share_A: Floats


def window_p(
    placed: Placed, by_account: list[npt.NDArray[np.int64]], reference: Reference, length: int
) -> Floats:
    """(A,) p-values of the first requests of each account, as if nothing else were looked at."""
    ranks = reference.windows[length]
    return np.array(
        [ranks.compare(window_figures(placed, some[:length])).p_value for some in by_account]
    )


def found_at(p_A: Floats, test: Labelled, level: float = LEVEL) -> dict[str, Any]:
    """Who is found at a level, by kind and by share."""
    found_A, benign_A = p_A <= level, test.share_A == 0
    by_kind = {
        str(kind): _fraction(found_A[test.made.kind_A == kind])
        for kind in np.unique(test.made.kind_A[benign_A])
    }
    by_share = {f"{share:g}": _fraction(found_A[test.share_A == share]) for share in SHARES}
    mixtures = [by_share[f"{share:g}"]["found"] for share in SHARES if share < 1]
    return {
        "false_positives": _fraction(found_A[benign_A]),
        "false_positives_by_kind": by_kind,
        "found_by_share": by_share,
        "found_of_pure": by_share["1"]["found"],
        "found_of_mixtures": round(float(np.mean(mixtures)), 4),
    }


def _fraction(found_A: Bools) -> dict[str, Any]:
    interval = fraction_interval(int(found_A.sum()), len(found_A))
    return {
        "found": round(interval.value, 5),
        "interval": [round(interval.low, 5), round(interval.high, 5)],
        "accounts": len(found_A),
    }


def _tested(
    options: Options, *, seed: int, num: int, attackers: int, sizes: WindowSizes
) -> Labelled:
    simulated = simulator(options.data, "test", seed=seed)
    accounts = simulated.benign(num, num_requests=sizes.length)
    for share in SHARES:
        accounts += simulated.mixed(attackers, num_requests=sizes.length, share=share)
    shares = {KEY.account(account.name): account.share for account in accounts}
    traffic = made_in_parts(simulated, accounts)
    return Labelled(traffic, np.array([shares[name] for name in traffic.table.accounts]))


def _peer(options: Options, sizes: WindowSizes, length: int) -> dict[str, Any]:
    """The peer's threshold of pooled prompts, and its values ranked among reference accounts."""
    simulated = simulator(options.data, "fit", seed=3)
    _, usual_NC, by_usual = _whole(
        simulated.sent(simulated.benign(sizes.peer, num_requests=length))
    )
    peer = Peer.fit(usual_NC, num_reference=max(1_000, length))
    usual_values = np.sort(_values(peer, usual_NC, by_usual))
    simulated = simulator(options.data, "test", seed=4)
    accounts = simulated.benign(sizes.peer, num_requests=length)
    for share in SHARES:
        num = max(sizes.peer // 20, 5)
        accounts += simulated.mixed(num, num_requests=length, share=share)
    shares = {KEY.account(account.name): account.share for account in accounts}
    kinds = {KEY.account(account.name): account.kind for account in accounts}
    table, whole_NC, by_account = _whole(simulated.sent(accounts))
    test = Labelled(
        Made(table, np.array([kinds[n] for n in table.accounts]), np.empty(0, bool)),
        np.array([shares[name] for name in table.accounts]),
    )
    values = _values(peer, whole_NC, by_account)
    null = peer.null(length, draws=1_000)
    above = len(null) - np.searchsorted(null, values, side="left")
    ranked = len(usual_values) - np.searchsorted(usual_values, values, side="left")
    return {
        "null_of_pooled_prompts": {
            f"{level:g}": found_at((1.0 + above) / (1 + len(null)), test, level)
            for level in (0.05, LEVEL)
        },
        # So few accounts give no rank below one over their number.
        "ranked_among_accounts": {
            "0.05": found_at((1.0 + ranked) / (1 + len(usual_values)), test, 0.05)
        },
    }


def _whole(
    sent: list[Sent],
) -> tuple[Table, npt.NDArray[np.uint16], list[npt.NDArray[np.int64]]]:
    table = read_table((one.row for one in sent), Featuriser(KEY))
    whole_NC = whole_contents([one.row.prompt or "" for one in sent])
    return table, whole_NC, table.by_account()


def _values(
    peer: Peer, whole_NC: npt.NDArray[np.uint16], by_account: list[npt.NDArray[np.int64]]
) -> Floats:
    direction_ND = peer.content_map.directions(whole_NC)
    return np.array([peer.mmd(direction_ND[some]) for some in by_account])
