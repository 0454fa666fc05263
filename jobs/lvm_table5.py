"""Table 5 of the LVM paper: EM with the posteriors of a whole pass, or the gradient of J itself.

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
            "MRT direct": {"name": "mrt", "estep": "batch"},
            "MRT EM": {"name": "mrt"},
            "LVM direct": {"name": "lvm", "estep": "batch"},
            "LVM EM": {"name": "lvm"},
        },
        "shared": {
            "source_lr": 1.5e-3, "source_epochs": 6, "lr": 1.5e-3, "epochs": 3,
            "mu_psi": 0.9, "mu_sigma": 0.3, "matrix_lr": 0.05,
        },
        "seeds": [0],
        "published": [{"paper": "LVM", "table": "5"}],
    },
    "run": {"name": "lvm-table5"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
