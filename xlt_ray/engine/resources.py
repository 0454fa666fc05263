"""The cluster: connect to one or start a local one, and settle what a run asks it for."""

import logging
import os
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray

from xlt_ray.config.errors import ConfigError
from xlt_ray.config.schema import DataConfig, MethodConfig, NodeGroup, ResourcesConfig, span_of
from xlt_ray.engine import token_file
from xlt_ray.engine.arithmetic import ON_CPU, Arithmetic, settled
from xlt_ray.engine.environment import CPUS
from xlt_ray.engine.local_ray import expect, is_own, needed
from xlt_ray.engine.nodes import HEAD
from xlt_ray.engine.pool import Pool

CGROUPS = Path("/sys/fs/cgroup")
"""Where a container is told how many microseconds of so many it may compute."""
THREADS = 8
"""Most shards that the driver's process annotates at a time: Python takes turns between them."""
CPU_BATCH_TOKENS, GPU_BATCH_TOKENS = 1024, 16384
"""Token budget of an inference batch unless ``data.batch_tokens`` names one: what keeps a device at
work and fits its caches."""
CPU_SHARD_ROWS, GPU_SHARD_ROWS = 1024, 16384
"""Rows of a shard unless ``data.shard_rows`` names them. Batches are cut within a shard: of 1,024
rows the batches for a GPU are few and wide, and an eighth of them is padding, of 16,384 rows 2%."""
_QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
Node = Mapping[str, float]
"""CPUs and GPUs of one node, by Ray's names of them."""


@dataclass(frozen=True)
class Plan:
    """What the steps of a run ask the cluster for.

    Attributes:
        annotators: Pool of an annotate step.
        train_workers: Workers of a train step; 0: the driver's process.
        train_cpus: CPUs (threads) of one of them.
        train_gpus: GPUs of one of them.
        fewest: Processes that the workers share at least, where nodes come and go; None: each
            worker has one of its own.
        readers: Tasks of one CPU that read and tokenise at a time.
        trainings: Train steps at a time, where some do not depend on each other.
        annotation: How an annotate step computes.
        training: How a train step computes.
        batch_tokens: Token budget of an inference batch.
        shard_rows: Rows of a shard.
    """

    annotators: Pool
    train_workers: int
    train_cpus: int
    train_gpus: float
    readers: int = 1
    trainings: int = 1
    annotation: Arithmetic = ON_CPU
    training: Arithmetic = ON_CPU
    batch_tokens: int = CPU_BATCH_TOKENS
    shard_rows: int = CPU_SHARD_ROWS
    fewest: int | None = None

    @property
    def most(self) -> tuple[float, float]:
        """CPUs and GPUs that the run asks for at most at a time."""
        pool, workers = self.annotators, self.trainings * self.train_workers
        cpus = [
            self.readers,
            0 if pool.gpus else pool.largest * pool.cpus,
            workers * self.train_cpus,
        ]
        gpus = [pool.largest * pool.gpus, workers * self.train_gpus]
        return float(max(cpus)), float(max(gpus))

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
            "train_processes": self.train_workers if self.fewest is None else self.fewest,
            "train_cpus": self.train_cpus,
            "train_gpus": self.train_gpus,
            "readers": self.readers,
            "trainings": self.trainings,
            "annotation": self.annotation.describe(),
            "training": self.training.describe(),
            "batch_tokens": self.batch_tokens,
            "shard_rows": self.shard_rows,
        }


def connect(config: ResourcesConfig) -> bool:
    """Connect to the configured cluster, or expect a local one; returns whether it is expected.

    A local Ray starts when it is needed, see :mod:`xlt_ray.engine.local_ray`.

    Raises:
        ConfigError: there is no cluster at the address, or others can read its token.
    """
    if ray.is_initialized():
        return False
    if address := _address(config):
        token_file.check()
        try:
            with _own_signals():
                ray.init(address=address, **_QUIET)
        except (ConnectionError, TimeoutError, RuntimeError) as error:
            raise ConfigError(f"resources.address {address!r}: no Ray cluster: {error}") from None
        return False
    _refuse_to_grow(config)
    expect(partial(_start, config))
    if config.train_workers or available(config)[0]["GPU"]:
        needed()  # here, since several steps may be the first to, each in a thread of its own
    return True


def _address(config: ResourcesConfig) -> str | None:
    """Where the cluster is, or None if a local Ray is asked for."""
    address = config.address or os.environ.get("RAY_ADDRESS") or "local"
    return None if address == "local" else address


def _start(config: ResourcesConfig) -> None:
    """Start a local Ray, which listens on loopback, see :mod:`xlt_ray.engine.environment`, and asks
    for a token, which Ray turns on by itself for ``ray.init`` and which is not turned off here."""
    import torch

    token_file.make()
    with _own_signals():
        ray.init(
            address="local",  # an address file of a cluster that died would be followed otherwise
            num_cpus=_own_cpus(config),
            num_gpus=torch.cuda.device_count(),  # Ray may see some that PyTorch cannot use
            include_dashboard=False,
            object_store_memory=config.object_store_memory or _object_store(),
            **_QUIET,
        )


@contextmanager
def _own_signals() -> Iterator[None]:
    """Around the start of Ray, which sets a handler of SIGTERM that exits with its number: the
    handler stays as it was, and a signal in between is an interrupt."""
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)


def _own_cpus(config: ResourcesConfig) -> int:
    """CPUs of a local Ray: what is configured, or those that this process may use."""
    if config.num_cpus is not None:
        return config.num_cpus
    return min(CPUS, _quota() or CPUS)


def _quota() -> int | None:
    """Whole CPUs, at least one, of the time that a container has; None: no limit, or none that can
    be read."""
    first, second = CGROUPS / "cpu", CGROUPS / "cpu.max"  # by version of control groups
    with suppress(OSError, ValueError):
        if second.exists():
            quota, period = second.read_text().split()
        else:
            quota, period = ((first / f"cpu.cfs_{x}_us").read_text() for x in ("quota", "period"))
        if quota.strip() not in ("max", "-1"):
            return max(1, int(quota) // int(period))
    return None


def _refuse_to_grow(config: ResourcesConfig) -> None:
    if config.autoscale:
        raise ConfigError("resources.autoscale: a local Ray adds no nodes; set resources.address")


def _object_store() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = (
        os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else os.statvfs(tempfile.gettempdir())
    )
    free = shared.f_bavail * shared.f_frsize
    return max(100_000_000, min(total // 10, 2_000_000_000, free // 2))


def settle(
    config: ResourcesConfig,
    nodes: Sequence[Node] | None = None,
    *,
    data: DataConfig = DataConfig(),  # noqa: B008 - it has no state
) -> Plan:
    """Fill what the configuration leaves open from what the cluster has, and check that it fits.

    A cluster that grows counts with all the nodes it may have, so that the plan, and with it the
    number of training workers, does not depend on how many of them happen to be up.

    Args:
        config: What the user asked for.
        nodes: CPUs and GPUs of each node that is up; default: those that are `available`.
        data: Sizes of shards and of batches, where the user named some.

    Raises:
        ConfigError: the cluster has no room for what is asked for.
    """
    up = available(config) if nodes is None else nodes
    nodes = grown(up, config.autoscale)
    gpus = sum(node.get("GPU", 0.0) for node in nodes)
    one = 1.0 if gpus else 0.0
    cpus, share = config.annotator_cpus, config.annotator_gpus
    pool = Pool(1, 1, cpus, one if share is None else share, spared=config.annotators is None)
    wanted = config.annotators
    if wanted is None:
        wanted = max(1, room_for(nodes, 0 if pool.gpus else cpus, pool.gpus))
    smallest, largest = (wanted, wanted) if isinstance(wanted, int) else wanted
    if wanted != 0 and not 1 <= smallest <= largest:
        raise ConfigError(f"resources.annotators {wanted}: must be 0, or 1 <= min <= max")
    asked = config.train_workers
    fewest, workers = span_of(int(gpus) if asked is None else asked)
    train_gpus = 0.0 if not workers else one if config.train_gpus is None else config.train_gpus
    train_cpus = config.train_cpus or _train_cpus(nodes if workers else up, fewest, train_gpus)
    # One training at a time in the driver's process, where it takes the CPUs that there are.
    trainings = room_for(nodes, train_cpus, train_gpus) // fewest if workers else 1
    # The driver's process trains and annotates by turns, with the same CPUs.
    threads = 1 if workers else max(1, min(THREADS, train_cpus // cpus))
    wanted, own = config.precision, is_own()
    trained = "auto" if wanted == "int8" else wanted
    plan = Plan(
        replace(pool, smallest=smallest, largest=largest, threads=threads),
        workers,
        train_cpus,
        train_gpus,
        readers(up),
        max(1, trainings),
        settled(wanted, gpus=pool.gpus, threads=cpus, here=not largest, nodes=up, own=own),
        settled(trained, gpus=train_gpus, threads=train_cpus, here=not workers, nodes=up, own=own),
        data.batch_tokens or (GPU_BATCH_TOKENS if pool.gpus else CPU_BATCH_TOKENS),
        data.shard_rows or (GPU_SHARD_ROWS if pool.gpus else CPU_SHARD_ROWS),
        fewest if isinstance(asked, tuple) else None,
    )
    check(plan, nodes)
    return plan


def readers(nodes: Sequence[Node]) -> int:
    """Reading and tokenising take the CPUs that are up: they are no reason to add GPU nodes."""
    return max(1, int(sum(node.get("CPU", 0.0) for node in nodes)))


def grown(up: Sequence[Node], groups: Sequence[NodeGroup]) -> list[Node]:
    """The nodes of a cluster at its largest.

    Args:
        up: Nodes that are up. One that is not the head belongs to a group with as many GPUs.
        groups: What the autoscaler may add, together with the members that are up.
    """
    members = Counter(node.get("GPU", 0.0) for node in up if HEAD not in node)
    nodes = list(up)
    for group in groups:
        there = min(group.nodes, members[group.gpus])
        members[group.gpus] -= there
        nodes += [{"CPU": float(group.cpus), "GPU": float(group.gpus)}] * (group.nodes - there)
    return nodes


def alive() -> list[Node]:
    """Resources of the connected cluster's nodes."""
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
        (
            "train_workers",
            plan.train_workers if plan.fewest is None else plan.fewest,
            plan.train_cpus,
            plan.train_gpus,
        ),
    ]
    for key, number, cpus, gpus in demands:
        room = room_for(nodes, cpus, gpus)
        if number > room:
            raise ConfigError(
                f"resources.{key}: asks for {number} of {cpus} CPUs and {gpus:g} GPUs each, but "
                f"the cluster's nodes have room for {room}; lower it, start the run when more "
                "nodes have joined, or name in resources.autoscale those that it can add"
            )


def check_sharding(config: ResourcesConfig, plan: Plan, method: MethodConfig) -> None:
    """See that there are workers for ``train.shard`` to cut weights up over.

    Raises:
        ConfigError: there is one, or encoders are compiled, which was never tried with parts, or
            the method needs whole weights.
    """
    if method.calls_parts:
        raise ConfigError(
            f"train.shard: {method.name} calls the head of a model by itself, which needs its "
            "weights whole; train.shard=false"
        )
    if plan.world < 2:
        raise ConfigError(
            "train.shard: weights are cut up over the workers of a training, and there is one; "
            "resources.train_workers=2 or more, each with a device of its own"
        )
    if plan.fewest is not None:
        raise ConfigError(
            "train.shard: each worker has a part of every weight, so none may go; "
            f"resources.train_workers={plan.train_workers}"
        )
    if config.compile:
        raise ConfigError("train.shard: does not go with resources.compile=true; take one of them")


def available(config: ResourcesConfig) -> list[Node]:
    """The nodes that a run finds, without starting a local Ray."""
    if ray.is_initialized() or _address(config):
        connect(config)
        return alive()
    _refuse_to_grow(config)
    import torch

    return [{"CPU": float(_own_cpus(config)), "GPU": float(torch.cuda.device_count())}]
