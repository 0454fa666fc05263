"""LVM with labellers whose confusions are known: 60, 75 and 90% right, each without some rows.

The labellers are made up from gold labels of the unlabelled text, so nothing here is transfer. On
entities of the embedded benchmark: each labeller takes a label for one of two others, and has not
seen three of ten sentences. LVM should find these confusions, and label better than a majority.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.oracle.channel import Injected, job

INJECTED = Injected(diagonals=(0.6, 0.75, 0.9), missing=0.3, called="labeller")
JOB = job(INJECTED)
SMALL = {"lr": 1.5e-3, "epochs": 6}
DEFAULTS = {
    "benchmark": {"name": "toy", "targets": ["nolu"], "unlabelled_split": "train"},
    "backbone": "toy",
    "compare": {
        "methods": {
            "hard_vote": SMALL,
            "mrt": {**SMALL, "labels": "hard", "mu_psi": 0.75},
            "lvm": {
                **SMALL, "labels": "hard", "mu_psi": 0.75, "mu_sigma": 0.75, "matrices": "closed",
                "stop": "never",
            },
        },
        "seeds": [0, 1, 2],
    },
    "run": {"name": "oracle-labellers"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
