"""Table 6 of the LVM paper: EM with all of Q on the likeliest label, or with Q as it is.

On the embedded benchmark: three languages teach two others their parts of speech. The source models
are trained once for all rows.
"""

import sys

from xlt_ray.commands.ablation import JOB
from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {
        "name": "toy_tagging", "source": ["mira", "orsen", "zhuma"], "targets": ["teska", "kaldi"],
        "max_rows": {"train": 500},
    },
    "backbone": "toy",
    "compare": {
        "methods": {
            "MRT hard EM": {"name": "mrt", "em": "hard"},
            "MRT soft EM": {"name": "mrt", "em": "soft"},
            "LVM hard EM": {"name": "lvm", "em": "hard"},
            "LVM soft EM": {"name": "lvm", "em": "soft"},
        },
        "shared": {
            "source_lr": 1.5e-3, "source_epochs": 6, "lr": 1.5e-3, "epochs": 3,
            "mu_psi": 0.9, "mu_sigma": 0.3, "matrix_lr": 0.05,
        },
        "seeds": [0],
        "published": [{"paper": "LVM", "table": "6"}],
    },
    "run": {"name": "lvm-table6"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
