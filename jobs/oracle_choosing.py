"""What each rule that chooses a model loses to the best round by target gold, by language and seed.

Reads gold labels of the test text after the runs, for its page alone. Finished runs are taken from
the store. By default on the embedded benchmark: CLTP with each rule.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.oracle.choosing import JOB

DEFAULTS = {
    "benchmark": {
        "name": "toy", "source": ["mira"], "targets": ["teska", "kaldi"],
        "max_rows": {"train": 500, "dev": 200, "test": 200},
    },
    "backbone": "toy",
    "compare": {
        "seeds": [0, 1],
        "shared": {"source_lr": 1.5e-3, "source_epochs": 6, "round_lr": 5e-4, "rounds": 4},
        "methods": {
            "source dev": {"name": "cltp"},
            "average": {"name": "cltp", "select": "average"},
            "agreement": {"name": "cltp", "select": "agreement"},
        },
    },
    "run": {"name": "oracle-choosing"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
