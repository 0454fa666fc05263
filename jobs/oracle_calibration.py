"""How often a confident prediction on target text is wrong, before contrastive learning and after.

Table 4 and Figures 3 and 4 of the CoNLST paper, for the rows and seeds of a comparison. Reads gold
labels of the target languages, after the runs and for its page and figure alone. By default on the
embedded benchmark: pairs.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.oracle.calibration import JOB

DEFAULTS = {
    "benchmark": {
        "name": "toy_pair", "source": ["mira"], "targets": ["teska", "kaldi"],
        "unlabelled_split": "train", "max_rows": {"train": 1000},
    },
    "backbone": "toy",
    "compare": {
        "seeds": [0],
        "shared": {"source_lr": 1e-3, "source_epochs": 6, "stage1_lr": 1e-4},
        "methods": {
            "nl": {},
            "conlst, stage 1": {"name": "conlst", "iterations": 0},
        },
    },
    "run": {"name": "oracle-calibration"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
