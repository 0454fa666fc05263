"""CLTP on the embedded benchmark improves on its own zero-shot model at a fixed seed."""

from pathlib import Path

import pytest

from jobs.quickstart import DEFAULTS
from xlt_ray.cli import configure, run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

MARGIN = 0.01


def test_self_training_beats_zero_shot(ray_cluster: str, tmp_path: Path):
    store = f"store.root={tmp_path}"
    report = run(
        configure(DEFAULTS, flags=[store, "resources.train_cpus=1", "resources.annotators=0"])
    )
    assert report["average"] > report["zero_shot_average"] + MARGIN
