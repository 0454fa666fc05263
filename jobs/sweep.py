"""Ray Tune over the settings of a method, chosen by the score on source dev and by nothing else.

Without flags: CLTP on the embedded benchmark, 12 combinations of lambda and tau. The ranges of a
method are in tune_spaces/<method>.py; --set sweep.keys='{"lambda": [2, 4]}' searches others.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.sweep import SPACES, job

DEFAULTS = {
    "benchmark": {"name": "toy"},
    "backbone": "toy",
    "method": {
        "name": "cltp",
        "source_lr": 1.5e-3, "source_epochs": 10,
        "round_lr": 7.5e-4, "round_epochs": 3,
        "final_epochs": 2, "rounds": 4, "src_ratio": 0.5,
    },
    "sweep": {"search": "grid", "keys": {"lambda": [1, 2, 4, 8], "tau": [5, 10, 20]}},
}  # fmt: skip
JOB = job(SPACES)

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
