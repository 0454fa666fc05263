"""Figure 3 of the LVM paper: MRT with one source, by the diagonal of its fixed matrix.

The diagonals are those of the printed scales 1, 2, 3, 4 and 10 at 11 labels. On the embedded
benchmark: one language teaches two others their parts of speech. The source model is trained once
for all rows.
"""

import sys

from xlt_ray.commands.ablation import JOB
from xlt_ray.commands.cli import run_job

DIAGONALS = [0.2137, 0.4249, 0.6676, 0.8452, 0.9995]
DEFAULTS = {
    "benchmark": {
        "name": "toy_tagging", "targets": ["teska", "kaldi"],
        "max_rows": {"train": 500},
    },
    "backbone": "toy",
    "compare": {
        "methods": {
            f"mu {mu:g}": {"name": "mrt", "mu_psi": mu} for mu in DIAGONALS
        },
        "shared": {
            "source_lr": 1.5e-3, "source_epochs": 6, "lr": 1.5e-3, "epochs": 3,
        },
        "seeds": [0],
        "published": [],
    },
    "run": {"name": "lvm-figure3"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
