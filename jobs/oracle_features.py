"""How far the classes of source and target are apart in each layer, before and after alignment.

Figure 2 of the IWDA paper. Reads gold labels of the target languages, after the run and for its
page and figure alone. On the embedded benchmark: ratings.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.oracle.feature_shift import JOB

DEFAULTS = {
    "benchmark": {
        "name": "toy_rating", "source": ["mira"], "targets": ["teska", "kaldi"],
        "unlabelled_split": "train", "max_rows": {"train": 1000},
    },
    "backbone": "toy",
    "method": {"name": "iwda", "source_lr": 1e-3, "source_epochs": 6, "lr": 2e-4},
    "run": {"name": "oracle-features"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
