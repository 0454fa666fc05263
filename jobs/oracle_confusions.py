"""The matrices that LVM learns, beside those by which its sources are really wrong.

Reads gold labels of the target languages, after the run and for its page and figure alone. On the
embedded benchmark: three languages teach two others their parts of speech.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.oracle.confusions import JOB

DEFAULTS = {
    "benchmark": {
        "name": "toy_tagging", "source": ["mira", "orsen", "zhuma"],
        "targets": ["teska", "kaldi"], "max_rows": {"train": 500},
    },
    "backbone": "toy",
    "method": {
        "name": "lvm", "mu_psi": 0.9, "mu_sigma": 0.3,
        "source_lr": 1.5e-3, "source_epochs": 6, "lr": 1.5e-3, "matrix_lr": 0.05, "epochs": 3,
    },
    "run": {"name": "oracle-confusions"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
