"""Table 4 of the CLTP paper: one class per word, always the k likeliest, or candidate sets.

On the embedded benchmark, in the sizes of the quickstart: no downloads, no GPU, minutes on two
cores. The source model and the rounds with one class per word are trained once for all rows.
"""

import sys

from xlt_ray.commands.ablation import JOB
from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {"name": "toy"},
    "backbone": "toy",
    "compare": {
        "methods": {
            "one class, L_EVI": {"name": "cltp", "label": "one_hot"},
            **{
                f"{k} likeliest": {"name": "cltp", "label": "top_k", "top_k": k}
                for k in (1, 2, 3, 4)
            },
            "candidate sets": {"name": "cltp", "label": "partial"},
        },
        "shared": {
            "source_lr": 1.5e-3, "source_epochs": 10,
            "round_lr": 7.5e-4, "round_epochs": 3,
            "final_epochs": 2, "rounds": 4, "src_ratio": 0.5,
        },
        "seeds": [0],
        "published": [{"paper": "CLTP", "table": "4"}],
    },
    "run": {"name": "cltp-table4"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
