"""Improvement over zero-shot as source and target come to differ in their class proportions.

Figure 3 of the IWDA paper: jobs/presets/shift-toy.yaml on ratings of the embedded benchmark,
jobs/presets/shift-marc.yaml on reviews. Every target is read with one prior after another, which
takes its gold labels.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.oracle.prior_shift import JOB

DEFAULTS = {
    "compare": {
        "methods": {
            "st": {},
            "kd": {},
            "alignment": {"name": "iwda", "weighting": "none"},
            "iwda": {},
            "iwda (oracle)": {"name": "iwda_oracle"},
        },
        "seeds": [0],
        "published": [],
    },
}

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
