"""The whole loop on the embedded benchmark: pre-train, fine-tune, self-train with CLTP, report.

Needs no downloads and no GPU; a few minutes on two cores.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.presets import preset

DEFAULTS = preset("quickstart").keys

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
