"""Figure 2 of the LVM paper: LVM and Hard-Vote by the share of the target text that they see.

On the embedded benchmark: three languages teach two others their parts of speech. The source models
are trained once for all rows.
"""

import sys

from xlt_ray.commands.ablation import JOB
from xlt_ray.commands.cli import run_job

SHARES = [0.1, 0.25, 0.5, 1.0]
DEFAULTS = {
    "benchmark": {
        "name": "toy_tagging", "source": ["mira", "orsen", "zhuma"], "targets": ["teska", "kaldi"],
        "max_rows": {"train": 500},
    },
    "backbone": "toy",
    "compare": {
        "methods": {
            f"{title}, {share:.0%}": {"name": name, "text_share": share}
            for share in SHARES
            for title, name in (("Hard-Vote", "hard_vote"), ("LVM", "lvm"))
        },
        "shared": {
            "source_lr": 1.5e-3, "source_epochs": 6, "lr": 1.5e-3, "epochs": 3,
            "mu_psi": 0.9, "mu_sigma": 0.3, "matrix_lr": 0.05,
        },
        "seeds": [0],
        "published": [],
    },
    "run": {"name": "lvm-figure2"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
