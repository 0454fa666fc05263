"""A run whose driver waits, after each step on workers, until the cluster has given them back.

Called with a configuration file, on a cluster that grows; prints one line per such step.
"""

import sys
import time
from typing import Any

import ray

from xlt_ray.config.schema import RunConfig
from xlt_ray.engine.compute_lock import right_to
from xlt_ray.engine.environment import prepare
from xlt_ray.engine.nodes import look
from xlt_ray.engine.resources import settle
from xlt_ray.methods import METHODS
from xlt_ray.report.progress import open_progress
from xlt_ray.run.check import configure_run
from xlt_ray.run.driver import RayDriver
from xlt_ray.run.session import connected
from xlt_ray.run.steps import StepRunner
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder

PATIENCE = 90


class PatientDriver(RayDriver):
    """Takes its time between steps."""

    def train(self, title: str, *parts: Any, **more: Any):
        return self._then_wait(title, super().train(title, *parts, **more))

    def annotate(self, title: str, *parts: Any, **more: Any):
        return self._then_wait(title, super().annotate(title, *parts, **more))

    def _then_wait(self, title: str, result: Any) -> Any:
        began, address = time.monotonic(), ray.get_runtime_context().gcs_address
        while (nodes := look(address)).workers:
            if time.monotonic() - began > PATIENCE:
                sys.exit(f"{title}: {nodes} after {PATIENCE} s")
            time.sleep(0.2)
        print(f"{title}: no workers after {time.monotonic() - began:.1f} s", flush=True)
        return result


def run(config: RunConfig[Any]) -> None:
    """The recipe, without the evaluation that follows it."""
    store = Store(config.store.root)
    folder = RunFolder(store, config.run_name)
    lease = Lease(store, folder.path)
    lease.acquire()
    try:
        with open_progress() as progress:
            runner = StepRunner(store, folder, lease, progress, right_to)
            plan = settle(config.resources, data=config.data)
            driver = PatientDriver(config, runner, plan)
            METHODS[config.method.name](config.method).run(driver)
    finally:
        lease.release()


if __name__ == "__main__":
    prepare(local=False)
    CONFIG = configure_run({}, [sys.argv[1]])
    with connected(CONFIG):
        run(CONFIG)
