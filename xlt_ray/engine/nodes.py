"""The nodes of a running cluster, and how their number changes over time.

    python -m xlt_ray.engine.nodes --address 127.0.0.1:6379 --seconds 600

prints a line whenever a node comes, goes, or is given GPUs to use. Needs the cluster's token, by
RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ray._raylet import GcsClient  # pyrefly: ignore [missing-module-attribute]
from ray.autoscaler.v2.sdk import get_cluster_resource_state
from ray.core.generated import autoscaler_pb2
from ray.exceptions import RayError

from xlt_ray.config.errors import ConfigError
from xlt_ray.engine import token_file

HEAD = "node:__internal_head__"
"""A resource that only the head node has."""
DEAD = autoscaler_pb2.NodeStatus.Value("DEAD")  # pyrefly: ignore [missing-attribute]


@dataclass(frozen=True)
class Nodes:
    """The nodes that are up at one moment.

    Attributes:
        workers: Nodes beside the head.
        busy: How many of them somebody holds CPUs or GPUs of.
        gpus: GPUs of all nodes.
        gpus_used: How many of them somebody holds.
    """

    workers: int
    busy: int
    gpus: float
    gpus_used: float


@dataclass(frozen=True)
class Change:
    """What the nodes were from some second on."""

    second: float
    nodes: Nodes

    def __str__(self) -> str:
        nodes = self.nodes
        used = f"{nodes.gpus_used:g} of {nodes.gpus:g} GPUs in use"
        return f"{self.second:8.1f} s  head + {nodes.workers} workers, {nodes.busy} busy  {used}"


def look(address: str) -> Nodes:
    """The nodes of the cluster whose head is at ``host:port``.

    Raises:
        ray.exceptions.RayError: there is no cluster, or it wants another token.
    """
    state = get_cluster_resource_state(GcsClient(address))
    up = [node for node in state.node_states if node.status != DEAD]
    total = sum(node.total_resources.get("GPU", 0.0) for node in up)
    free = sum(node.available_resources.get("GPU", 0.0) for node in up)
    workers = [node for node in up if HEAD not in node.total_resources]
    busy = sum(
        any(
            node.available_resources.get(name, 0.0) < node.total_resources.get(name, 0.0)
            for name in ("CPU", "GPU")
        )
        for node in workers
    )
    return Nodes(len(workers), busy, total, total - free)


class Timeline:
    """Looks at a cluster in the background, and remembers what changed.

    Use as a context manager around what should be watched.
    """

    def __init__(
        self,
        address: str,
        *,
        interval: float = 0.5,
        tell: Callable[[Change], object] = lambda _: None,
    ):
        self.address, self.interval, self.tell = address, interval, tell
        self.changes: list[Change] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="timeline", daemon=True)
        self._began = time.monotonic()

    def __enter__(self) -> "Timeline":
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            try:
                nodes = look(self.address)
            except RayError:  # the cluster has gone; what was seen of it stays
                return
            if not self.changes or nodes != self.changes[-1].nodes:
                self.changes.append(Change(round(time.monotonic() - self._began, 1), nodes))
                self.tell(self.changes[-1])
            if self._stop.wait(self.interval):
                return

    @property
    def is_watching(self) -> bool:
        """Whether the cluster still answered when it was last asked."""
        return self._thread.is_alive()

    @property
    def workers(self) -> list[int]:
        """Numbers of workers in order, each different from the one before."""
        return list(without_repeats(change.nodes.workers for change in self.changes))


def without_repeats(numbers: Iterable[int]) -> Iterable[int]:
    """The numbers, each run of equal ones once."""
    last = None
    for number in numbers:
        if number != last:
            yield number
        last = number


def main(argv: Sequence[str] | None = None) -> int:
    """Watch a cluster for some time; returns the exit code."""
    parser = argparse.ArgumentParser(description=f"{__doc__}".splitlines()[0])
    parser.add_argument("--address", default=os.environ.get("RAY_ADDRESS"), metavar="HOST:PORT")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="absent: until Ctrl-C")
    flags = parser.parse_args(argv)
    if not flags.address:
        parser.error("--address, or RAY_ADDRESS, is needed")
    try:
        token_file.check()
    except ConfigError as error:
        parser.error(str(error))
    end = time.monotonic() + flags.seconds
    with Timeline(flags.address, tell=lambda change: print(change, flush=True)) as timeline:
        try:
            while timeline.is_watching and time.monotonic() < end:
                time.sleep(0.2)
        except KeyboardInterrupt:
            pass
    return 0 if timeline.changes else 1


if __name__ == "__main__":
    sys.exit(main())
