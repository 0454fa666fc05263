"""How the scores of the targets move while runs train, for the rows and seeds of a comparison.

Figure 5 of the CoNLST paper and Figure 7 of IWDA's. Reads gold labels of the test text after the
runs, for its page and figure alone. By default on the embedded benchmark: pairs.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.oracle.steps import JOB

DEFAULTS = {
    "benchmark": {
        "name": "toy_pair", "source": ["mira"], "targets": ["teska", "kaldi"],
        "unlabelled_split": "train", "max_rows": {"train": 1000, "dev": 300, "test": 500},
    },
    "backbone": "toy",
    "train": {"snapshots": 3},
    "compare": {
        "seeds": [0],
        "shared": {"source_lr": 1e-3, "source_epochs": 6, "stage1_lr": 1e-4, "lr": 2e-4},
        "methods": {"conlst": {}, "flexmatch": {}},
    },
    "run": {"name": "oracle-steps"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
