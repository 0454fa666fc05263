"""Figures 3 to 5 of the CLTP paper: how often candidate sets and selected labels are right.

Reads gold labels of the target languages, after the runs and for its page and figures alone. On the
embedded benchmark, in the sizes of the quickstart; with --set benchmark.name=toy_pair on its
sentence pairs.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.oracle.job import JOB

DEFAULTS = {
    "benchmark": {"name": "toy"},
    "backbone": "toy",
    "compare": {
        "methods": {
            "cltp": {},
            "cltp, one class": {"name": "cltp", "label": "one_hot"},
            "sl_evi": {},
            "sl_leu": {},
        },
        "shared": {
            "source_lr": 1.5e-3, "source_epochs": 10,
            "round_lr": 7.5e-4, "round_epochs": 3,
            "final_epochs": 2, "rounds": 4, "src_ratio": 0.5,
        },
        "seeds": [0],
    },
    "run": {"name": "oracle-labels"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
