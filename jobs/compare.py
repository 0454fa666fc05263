"""Several methods on one benchmark with several seeds, in one table.

Rows, seeds and benchmark come from a file: --config jobs/presets/compare-toy.yaml needs no data and
no GPU; compare-wikiann.yaml and compare-xnli.yaml are the setting of the paper that proposes CLTP.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.compare import JOB

DEFAULTS = {}

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
