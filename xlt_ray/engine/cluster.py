"""The cluster: connect to one or start a local one, and settle what a run asks it for."""

import logging
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import ray
import ray.data

from xlt_ray.config import ConfigError, ResourcesConfig
from xlt_ray.engine.annotate import Pool


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


def settle(config: ResourcesConfig, available: dict[str, float] | None = None) -> Plan:
    """Fill what the configuration leaves open from what the cluster has, and check that it fits.

    Args:
        config: What the user asked for.
        available: Resources of the cluster; default: of the connected one.

    Raises:
        ConfigError: the cluster can never give what is asked for.
    """
    have = ray.cluster_resources() if available is None else available
    cpus, gpus = int(have.get("CPU", 0)), float(have.get("GPU", 0))
    annotator_gpus = (
        (1.0 if gpus else 0.0) if config.annotator_gpus is None else config.annotator_gpus
    )
    default = int(gpus / annotator_gpus) if annotator_gpus else cpus // config.annotator_cpus
    wanted = config.annotators if config.annotators is not None else max(1, default)
    smallest, largest = (wanted, wanted) if isinstance(wanted, int) else wanted
    if not 1 <= smallest <= largest:
        raise ConfigError(f"resources.annotators {smallest},{largest}: must be 1 <= min <= max")
    workers = config.train_workers
    if workers is None:
        workers = int(gpus)
    train_gpus = (1.0 if gpus else 0.0) if config.train_gpus is None else config.train_gpus
    share = max(1, cpus // max(1, workers))
    train_cpus = config.train_cpus or (share if not gpus else min(share, 4))
    plan = Plan(
        Pool(smallest, largest, config.annotator_cpus, annotator_gpus),
        workers,
        train_cpus,
        train_gpus if workers else 0.0,
    )
    check(plan, cpus=cpus, gpus=gpus)
    return plan


def check(plan: Plan, *, cpus: int, gpus: float) -> None:
    """Compare what is asked for with what there is.

    Raises:
        ConfigError: naming the key, the demand and the supply; waiting would never end.
    """
    pool = plan.annotators
    demands = [
        ("resources.annotators", pool.smallest * (0 if pool.gpus else pool.cpus), cpus, "CPUs"),
        ("resources.annotators", pool.smallest * pool.gpus, gpus, "GPUs"),
        ("resources.train_workers", plan.train_workers * plan.train_cpus, cpus, "CPUs"),
        ("resources.train_workers", plan.train_workers * plan.train_gpus, gpus, "GPUs"),
    ]
    for key, demand, supply, unit in demands:
        if demand > supply:
            raise ConfigError(
                f"{key}: asks for {demand:g} {unit}, but the cluster has {supply:g}; "
                "lower it, or start the run when the nodes have joined"
            )


def available(config: ResourcesConfig) -> dict[str, float]:
    """Resources that a run would find, without starting a local Ray."""
    if config.address or os.environ.get("RAY_ADDRESS") or ray.is_initialized():
        connect(config)
        return {name: float(amount) for name, amount in ray.cluster_resources().items()}
    import torch

    cpus = config.num_cpus or os.cpu_count() or 1
    return {"CPU": float(cpus), "GPU": float(torch.cuda.device_count())}
