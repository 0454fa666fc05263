"""The whole loop on the embedded benchmark: pre-train, fine-tune, self-train with CLTP, report.

Needs no downloads and no GPU; a few minutes on two cores.
"""

import sys

from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {"name": "toy"},
    "backbone": "toy",
    "method": {
        "name": "cltp",
        "source_lr": 1.5e-3, "source_epochs": 10,
        "round_lr": 7.5e-4, "round_epochs": 3,
        "final_epochs": 2, "rounds": 4, "src_ratio": 0.5,
    },
    "run": {"name": "quickstart"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
