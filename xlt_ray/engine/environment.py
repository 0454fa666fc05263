"""Settings that Ray reads from the environment when it is imported, so they are made before."""

import os

CUBLAS = {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""Makes matrix products of cuBLAS deterministic; read when a process first computes on a GPU."""


def prepare(*, local: bool) -> None:
    """Set what a run depends on, unless the user has set it.

    Args:
        local: Whether this process will start a Ray of its own rather than join a cluster.
    """
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        # What is asked of a Ray that does not run fails, rather than start one with Ray's defaults.
        "RAY_ENABLE_AUTO_CONNECT": "0",
        # Ray Data's actor pools print a line at error level that calls for no action.
        "RAY_BACKEND_LOG_LEVEL": "fatal",
        # `ray.train.report` returns at the controller's next poll, two seconds apart by default.
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
        # Training workers wait for the nodes that an autoscaler adds, which takes a cloud minutes.
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "1800",
        **CUBLAS,
        "TOKENIZERS_PARALLELISM": "false",  # the actors are the parallelism
    }
    if local:
        # Makes every port of a local Ray listen on loopback only (a switch named after the systems
        # where that is the default); its head still asks for a token.
        settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # A local Ray has no dashboard, so nobody reads its metrics; gathering them takes CPU time.
        settings["RAY_enable_metrics_collection"] = "0"
        # What waits idly wakes up a hundred times a second, and training threads in step with each
        # other lose more than that: worker processes without work end after a minute, and log
        # folders are listed twice a second rather than ten times.
        settings["RAY_num_workers_soft_limit"] = "0"
        settings["RAY_idle_worker_killing_time_threshold_ms"] = "60000"
        settings["RAY_LOG_MONITOR_MANY_FILES_THRESHOLD"] = "0"
    for name, value in settings.items():
        os.environ.setdefault(name, value)
