"""Several methods on one benchmark with several seeds, in one table.

Rows, seeds and benchmark come from a file: --config jobs/configs/compare-toy.yaml needs no data and
no GPU; compare-wikiann.yaml and compare-xnli.yaml are the setting of the paper that proposes CLTP.
"""

import sys

from xlt_ray.cli import main
from xlt_ray.compare import JOB

DEFAULTS = {}

if __name__ == "__main__":
    sys.exit(main(DEFAULTS, __doc__, job=JOB))
