"""The cluster: connect to one or start a local one, and settle what a run asks it for."""

import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
import ray.data

from xlt_ray.config import ConfigError, ResourcesConfig
from xlt_ray.engine.annotate import Pool

Node = Mapping[str, float]
"""CPUs and GPUs of one node, by Ray's names of them."""


@dataclass(frozen=True)
class Plan:
    """What the steps of a run ask the cluster for."""

    annotators: Pool
    train_workers: int
    train_cpus: int
    train_gpus: float

    @property
    def world(self) -> int:
        """Number of parts that training rows are split into."""
        return max(1, self.train_workers)

    def to_json(self) -> dict[str, Any]:
        """Plain form, for the run's folder."""
        return {
            "annotators": [self.annotators.smallest, self.annotators.largest],
            "annotator_cpus": self.annotators.cpus,
            "annotator_gpus": self.annotators.gpus,
            "train_workers": self.train_workers,
            "train_cpus": self.train_cpus,
            "train_gpus": self.train_gpus,
        }


def connect(config: ResourcesConfig) -> bool:
    """Connect to the configured cluster, or start a local one; returns whether one was started.

    A local Ray listens on loopback, see :mod:`xlt_ray.engine.environment`, and asks for a token,
    which Ray turns on by itself for ``ray.init`` and which is not turned off here.

    Raises:
        ConfigError: there is no cluster at the address.
    """
    if ray.is_initialized():
        _settings()
        return False
    address = config.address or os.environ.get("RAY_ADDRESS")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address and address != "local":
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, TimeoutError, RuntimeError) as error:
            raise ConfigError(f"resources.address {address!r}: no Ray cluster: {error}") from None
        _settings()
        return False
    ray.init(
        address="local",  # a stale address file of a cluster that died would be followed otherwise
        num_cpus=config.num_cpus,
        include_dashboard=False,
        object_store_memory=config.object_store_memory or _object_store(),
        **quiet,
    )
    _settings()
    return True


def _object_store() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = (
        os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else os.statvfs(tempfile.gettempdir())
    )
    free = shared.f_bavail * shared.f_frsize
    return max(100_000_000, min(total // 10, 2_000_000_000, free // 2))


def _settings() -> None:
    context = ray.data.DataContext.get_current()
    context.max_errored_blocks = 0  # a block that fails may not be left out in silence
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.ERROR)


def settle(config: ResourcesConfig, nodes: Sequence[Node] | None = None) -> Plan:
    """Fill what the configuration leaves open from what the cluster has, and check that it fits.

    Args:
        config: What the user asked for.
        nodes: CPUs and GPUs of each node; default: of the connected cluster's.

    Raises:
        ConfigError: the cluster has no room for what is asked for.
    """
    nodes = _alive() if nodes is None else nodes
    gpus = sum(node.get("GPU", 0.0) for node in nodes)
    one = 1.0 if gpus else 0.0
    cpus, share = config.annotator_cpus, config.annotator_gpus
    pool = Pool(1, 1, cpus, one if share is None else share)
    wanted = config.annotators
    if wanted is None:
        wanted = max(1, room_for(nodes, 0 if pool.gpus else cpus, pool.gpus))
    smallest, largest = (wanted, wanted) if isinstance(wanted, int) else wanted
    if wanted != 0 and not 1 <= smallest <= largest:
        raise ConfigError(f"resources.annotators {wanted}: must be 0, or 1 <= min <= max")
    workers = int(gpus) if config.train_workers is None else config.train_workers
    train_gpus = 0.0 if not workers else one if config.train_gpus is None else config.train_gpus
    plan = Plan(
        replace(pool, smallest=smallest, largest=largest),
        workers,
        config.train_cpus or _train_cpus(nodes, workers, train_gpus),
        train_gpus,
    )
    check(plan, nodes)
    return plan


def _alive() -> list[Node]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def room_for(nodes: Sequence[Node], cpus: float, gpus: float) -> int:
    """How many bundles of that size the nodes hold, none across two nodes or a part of a GPU."""
    total = 0
    for node in nodes:
        have = node.get("GPU", 0.0)
        fits = [node.get("CPU", 0.0) // cpus] if cpus else []
        if gpus:  # 1 // 0.1 is 9
            fits.append(have // gpus if gpus >= 1 else int(have) * int(1 / gpus + 1e-9))
        total += int(min(fits, default=0))
    return total


def _train_cpus(nodes: Sequence[Node], workers: int, gpus: float) -> int:
    """Threads of a training worker: a fair share of its node, four at most beside a GPU."""
    if not workers:
        return min(os.cpu_count() or 1, max(int(node.get("CPU", 1)) for node in nodes))
    for cpus in range(4 if gpus else max(int(node.get("CPU", 1)) for node in nodes), 1, -1):
        if room_for(nodes, cpus, gpus) >= workers:
            return cpus
    return 1


def check(plan: Plan, nodes: Sequence[Node]) -> None:
    """Compare what is asked for with what there is.

    Raises:
        ConfigError: naming the key, the demand and the room; waiting would never end.
    """
    pool = plan.annotators
    demands = [
        ("annotators", pool.smallest, 0 if pool.gpus else pool.cpus, pool.gpus),
        ("train_workers", plan.train_workers, plan.train_cpus, plan.train_gpus),
    ]
    for key, number, cpus, gpus in demands:
        room = room_for(nodes, cpus, gpus)
        if number > room:
            raise ConfigError(
                f"resources.{key}: asks for {number} of {cpus} CPUs and {gpus:g} GPUs each, but "
                f"the cluster's nodes have room for {room}; lower it, or start the run when more "
                "nodes have joined"
            )


def available(config: ResourcesConfig) -> list[Node]:
    """The nodes that a run would find, without starting a local Ray."""
    if config.address or os.environ.get("RAY_ADDRESS") or ray.is_initialized():
        connect(config)
        return _alive()
    import torch

    cpus = config.num_cpus or os.cpu_count() or 1
    return [{"CPU": float(cpus), "GPU": float(torch.cuda.device_count())}]
