"""What is read off the process, and set in its environment, before Ray and PyTorch have a say.

Jobs import this module, by way of :mod:`xlt_ray.commands.cli`, before either of them.
"""

import os
import sys

CUBLAS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Makes matrix products of cuBLAS deterministic; read when a process first computes on a GPU."""
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""CPUs that the process may run on. PyTorch's OpenMP may bind the thread that imports it to one of
them, after which nobody can tell how many there were."""

# What is asked of a Ray that does not run fails, rather than start one with Ray's defaults. Ray
# reads it when it is imported, which some jobs do before they know where they will run.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")

START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
PATIENT, ELASTIC = "1800", "30"
"""Seconds that training workers wait for their nodes; those of an elastic training take the nodes
that are up, and one that Ray does not yet know to be lost is not waited for."""

_ANY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray Data's actor pools print a line at error level that calls for no action.
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # `ray.train.report` returns at the controller's next poll, two seconds apart by default.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # Training workers wait for the nodes that an autoscaler adds, which takes a cloud minutes.
    START_TIMEOUT: PATIENT,
    **CUBLAS,
    "TOKENIZERS_PARALLELISM": "false",  # the actors are the parallelism
}
_CLUSTER = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_LOCAL = {
    # Makes every port of a local Ray listen on loopback only (a switch named after the systems
    # where that is the default); its head still asks for a token.
    _CLUSTER: "0",
    # A local Ray has no dashboard, so nobody reads its metrics; gathering them takes CPU time.
    "RAY_enable_metrics_collection": "0",
    # What waits idly wakes up a hundred times a second, and training threads in step with each
    # other lose more than that: worker processes without work end after a minute, and log folders
    # are listed twice a second rather than ten times.
    "RAY_num_workers_soft_limit": "0",
    "RAY_idle_worker_killing_time_threshold_ms": "60000",
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
}


_UNPICKLES = "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA"
"""Would have Ray unpickle what a Parquet file says about a column, as soon as it is opened."""


def prepare(*, local: bool) -> None:
    """Set what a run depends on, unless the user has set it.

    Args:
        local: Whether this process will start a Ray of its own rather than join a cluster.
    """
    os.environ.pop(_UNPICKLES, None)
    for name, value in (_ANY | _LOCAL if local else _ANY).items():
        os.environ.setdefault(name, value)
    constants = sys.modules.get("ray._private.ray_constants")
    if local and constants is not None:  # jobs import Ray before, which has read the switch then
        vars(constants)["ENABLE_RAY_CLUSTER"] = os.environ[_CLUSTER].lower() in ("1", "true")
