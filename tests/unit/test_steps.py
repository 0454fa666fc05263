"""Steps of a run: two drivers at one step."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.step_tasks import READ
from xlt_ray.engine.read import ReadText
from xlt_ray.report.progress import open_progress
from xlt_ray.run.steps import Step, StepRunner
from xlt_ray.store.artifacts import Store
from xlt_ray.store.lease import Lease
from xlt_ray.store.run_folder import RunFolder


def runner(root: Path, name: str) -> StepRunner:
    store = Store(str(root))
    folder = RunFolder(store, name)
    lease = Lease(store, folder.path)
    lease.acquire()
    with open_progress() as progress:
        return StepRunner(store, folder, lease, progress, lambda _: nullcontext())


def test_a_step_that_another_driver_has_committed_is_taken(tmp_path: Path) -> None:
    """The slower one finds its notes gone, which were those of both."""
    step: Step[Any] = Step("some text", ReadText(**READ))

    def compute(task: Any) -> Mapping[str, Any]:
        task.out.write_table("text-xx.parquet", pa.table({"id": ["a"]}))
        return {"rows": 1}

    def slower(task: Any) -> Mapping[str, Any]:
        other.run(step, compute)
        raise AssertionError("what was said of rows is gone")

    own, other = runner(tmp_path, "own"), runner(tmp_path, "other")
    try:
        assert own.run(step, slower).info["rows"] == 1
        assert [entry["cached"] for entry in (*own.ledger, *other.ledger)] == [True, False]
    finally:
        own.lease.release()
        other.lease.release()


def test_an_error_of_a_step_that_nobody_has_is_an_error(tmp_path: Path) -> None:
    def fails(task: Any) -> Mapping[str, Any]:
        raise OSError("no space left")

    own = runner(tmp_path, "own")
    try:
        with pytest.raises(OSError, match="no space left"):
            own.run(Step("some text", ReadText(**READ)), fails)
    finally:
        own.lease.release()
