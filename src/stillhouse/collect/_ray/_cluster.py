"""What is asked of Ray: a connection, actors, and where they run."""

import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any

from stillhouse.collect._config import RayConfig
from stillhouse.errors import ConfigError, MissingDependencyError

_ANSWER_WITHIN_S = 60.0
_CONNECT_WITHIN_S = 5.0
_ADDRESS_VARIABLE = "RAY_ADDRESS"


def import_ray() -> Any:
    """The package, which is imported for those who use it only.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import ray
    except ImportError as err:
        raise MissingDependencyError(
            "engine=ray needs Ray: pip install 'stillhouse[ray]'."
        ) from err
    return ray


@contextmanager
def open_cluster(config: RayConfig) -> Iterator["Cluster"]:
    """A connection to the cluster; one that is open already is used, and stays open.

    Raises:
        MissingDependencyError: Ray is not installed.
        ConfigError: there is no cluster at the address.
    """
    ray = import_ray()
    if ray.is_initialized():
        with _quiet_stdout():
            yield Cluster(config)
        return
    where, asked = _asked_address(config)
    if asked is not None and asked.startswith("ray://"):
        raise ConfigError(
            f"{where} is that of a client connection (ray://). Run the command on a machine of the "
            "cluster, with ray.address=auto."
        )
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address=_answering_address(asked), configure_logging=False, **options)
    except (OSError, ValueError, RuntimeError) as err:
        raise ConfigError(
            f"There is no Ray cluster at {where}={asked} ({_first_line(err)}). Start one with "
            "`ray start --head`, or leave the address out."
        ) from err
    try:
        with _quiet_stdout():
            yield Cluster(config)
    finally:
        ray.shutdown()


def _asked_address(config: RayConfig) -> tuple[str, str | None]:
    """What says where the cluster is, and what it says; Ray reads the variable by itself."""
    variable = os.environ.get(_ADDRESS_VARIABLE)
    if config.address in (None, "auto") and variable:
        return _ADDRESS_VARIABLE, variable
    return "ray.address", config.address


def _answering_address(asked: str | None) -> str:
    """Where Ray is to connect to, somebody being there: it would wait for minutes by itself.

    Raises:
        OSError: nobody is.
        ValueError: it is no address.
    """
    # What `ray.init` does with an address first; there is no public way to it.
    found: str | None = import_ray()._private.services.canonicalize_bootstrap_address(asked)
    if found is None:
        return "local"
    host, _, port = found.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_WITHIN_S).close()
    except OSError as err:
        if asked is None:  # a cluster that has ended is still in Ray's notes
            return "local"
        raise ConnectionError(f"nobody answers at {found}: {err}") from err
    return found


@dataclass(frozen=True)
class Node:
    """A machine of the cluster.

    Attributes:
        id: Of Ray.
        host: Its name, for people.
    """

    id: str
    host: str


class Cluster:
    """The cluster that this process is connected to."""

    def __init__(self, config: RayConfig) -> None:
        self._ray = import_ray()
        self._config = config

    def nodes(self) -> list[Node]:
        """The machines that are there now."""
        return [
            Node(node["NodeID"], node["NodeManagerHostname"])
            for node in self._ray.nodes()
            if node["Alive"]
        ]

    def start_here(self, kind: type, *arguments: Any, **named: Any) -> Any:
        """An actor beside this process, which ends with it."""
        here = self._ray.get_runtime_context().get_node_id()
        options = {"num_cpus": 0, "scheduling_strategy": self._at(here)}
        return self._ray.remote(kind).options(**options).remote(*arguments, **named)

    def start_worker(self, kind: type, *arguments: Any) -> Any:
        """An actor on the machine with the most room."""
        options = {"num_cpus": self._config.cpus_per_worker, "scheduling_strategy": "SPREAD"}
        return self._ray.remote(kind).options(**options).remote(*arguments)

    def call_at(self, node: Node, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function gives that runs on a machine.

        Raises:
            LostNodeError: the machine is gone.
        """
        return self._answer(node, self._begin_at(node, function, *arguments))

    def call_elsewhere(
        self, function: Callable[..., Any], *arguments: Any
    ) -> Iterator[tuple[Node, Any]]:
        """What a function gives on every other machine that is there."""
        here = self._ray.get_runtime_context().get_node_id()
        calls = [
            (node, self._begin_at(node, function, *arguments))
            for node in self.nodes()
            if node.id != here
        ]
        for node, reference in calls:
            with suppress(LostNodeError):
                yield node, self._answer(node, reference)

    @property
    def lost_errors(self) -> tuple[type[Exception], ...]:
        """What Ray raises where an actor, its machine or its answer is gone."""
        errors = self._ray.exceptions
        return (
            errors.RayActorError,
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.TaskUnschedulableError,
            errors.ActorUnschedulableError,
            errors.GetTimeoutError,
            errors.ObjectLostError,
        )

    def get(self, reference: Any, *, timeout_s: float = _ANSWER_WITHIN_S) -> Any:
        """The answer to a call."""
        return self._ray.get(reference, timeout=timeout_s)

    def ready(self, references: Mapping[Any, Any], *, within_s: float) -> list[Any]:
        """Those of the calls that have an answer, once one has or the time is over."""
        if not references:
            time.sleep(within_s)
            return []
        done, _ = self._ray.wait(list(references), num_returns=1, timeout=within_s)
        if done and len(references) > 1:
            done, _ = self._ray.wait(list(references), num_returns=len(references), timeout=0)
        return list(done)

    def end(self, actor: Any) -> None:
        """Kill an actor."""
        self._ray.kill(actor)

    def _begin_at(self, node: Node, function: Callable[..., Any], *arguments: Any) -> Any:
        options = {"num_cpus": 0, "scheduling_strategy": self._at(node.id), "max_retries": 0}
        return self._ray.remote(function).options(**options).remote(*arguments)

    def _answer(self, node: Node, reference: Any) -> Any:
        try:
            return self._ray.get(reference, timeout=_ANSWER_WITHIN_S)
        except self.lost_errors as err:
            raise LostNodeError(f"{node.host} is gone") from err

    def _at(self, node_id: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node_id, soft=False)


class LostNodeError(Exception):
    """A machine of the cluster is gone."""


def _quiet_stdout() -> AbstractContextManager[Any]:
    """Ray tells of dead workers on stdout, where a command's result goes: have it use stderr."""
    return redirect_stdout(sys.stderr)


def _first_line(err: Exception) -> str:
    return (str(err) or type(err).__name__).splitlines()[0].rstrip(".")
