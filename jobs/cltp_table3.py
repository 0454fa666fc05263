"""Table 3 of the CLTP paper: the bases lambda and tau of the penalty on the size of a set.

On the embedded benchmark, in the sizes of the quickstart: no downloads, no GPU, minutes on two
cores. The source model and the rounds with one class per word are trained once for all rows.
"""

import sys

from xlt_ray.commands.ablation import JOB
from xlt_ray.commands.cli import run_job

BASES = [(2, 10), (4, 5), (4, 10), (8, 10)]
DEFAULTS = {
    "benchmark": {"name": "toy"},
    "backbone": "toy",
    "compare": {
        "methods": {
            f"lambda {lam}, tau {tau}": {"name": "cltp", "lambda": lam, "tau": tau}
            for lam, tau in BASES
        },
        "shared": {
            "source_lr": 1.5e-3, "source_epochs": 10,
            "round_lr": 7.5e-4, "round_epochs": 3,
            "final_epochs": 2, "rounds": 4, "src_ratio": 0.5,
        },
        "seeds": [0],
        "published": [{"paper": "CLTP", "table": "3"}],
    },
    "run": {"name": "cltp-table3"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
