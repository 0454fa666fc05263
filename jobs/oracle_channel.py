"""LVM with sources whose confusions are known: does it find them, and does it gain by that?

The sources are made up from gold labels of the unlabelled text, so nothing here is transfer. On the
embedded benchmark, parts of speech: each of three sources takes a label for one other, and does so
as often as not.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.oracle.channel import Injected, job

INJECTED = Injected(diagonals=(0.5, 0.45, 0.4), confused=1)
JOB = job(INJECTED)
SMALL = {"lr": 1.5e-3, "epochs": 6}
DEFAULTS = {
    "benchmark": {"name": "toy_tagging", "targets": ["nolu"], "unlabelled_split": "train"},
    "backbone": "toy",
    "compare": {
        "methods": {
            "hard_vote": SMALL,
            "hard_cat": SMALL,
            "mrt": {**SMALL, "labels": "hard", "mu_psi": 0.5},
            "lvm": {**SMALL, "labels": "hard", "mu_psi": 0.5, "mu_sigma": 0.5, "matrix_lr": 0.05},
            "lvm, flat sigma": {
                **SMALL, "name": "lvm", "labels": "hard", "mu_psi": 0.5, "mu_sigma": 0.2,
            },
            "lvm, closed form": {
                **SMALL, "name": "lvm", "labels": "hard", "mu_psi": 0.9, "mu_sigma": 0.3,
                "matrices": "closed",
            },
        },
        "seeds": [0, 1, 2],
    },
    "run": {"name": "oracle-channel"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
