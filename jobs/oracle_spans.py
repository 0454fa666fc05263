"""Pseudo-labels and classes of MARAL from epoch to epoch: noise, geometry, scores, a projection.

Reads gold labels of the target languages, after the run and for its page and figures alone. On the
embedded benchmark: two targets, one model.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.oracle.spans import JOB

DEFAULTS = {
    "benchmark": {
        "name": "toy", "targets": ["nolu", "teska"], "unlabelled_split": "train",
        "max_rows": {"train": 600, "dev": 200, "test": 200},
    },
    "backbone": "toy",
    "method": {
        "name": "maral", "joint": True, "source_lr": 1.5e-3, "source_epochs": 6,
        "lr": 1.5e-3, "epochs": 6, "batch_size": 16,
    },
    "run": {"name": "oracle-spans"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
