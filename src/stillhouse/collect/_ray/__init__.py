"""A collection that workers on a Ray cluster ask, within one limit and one budget.

    driver   cuts the prompts into shards, merges the ledgers of those that are done
      |-- Worker ...    asks a shard as a run on one machine does, through a ledger of its own
      |-- GateDesk      one for each account: the gate at which all workers wait
      `-- Treasury      leases parts of the budget to the ledgers

What a worker writes is on its disk before it counts, and merged when its shard is done or it is
dead. The driver can be killed too: the next attempt finds the ledgers.
"""

from stillhouse.collect._ray._cluster import open_cluster
from stillhouse.collect._ray._spread import Rest, Spread, asked_on_cluster, check_spreadable

__all__ = ["Rest", "Spread", "asked_on_cluster", "check_spreadable", "open_cluster"]
