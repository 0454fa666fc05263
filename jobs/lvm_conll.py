"""LVM on CoNLL-2002 and 2003 in the paper's setting: three of four languages teach the fourth.

Multilingual BERT, soft labels. The files cannot be handed on; docs/data.md says how to lay them
out: --set benchmark.root=FOLDER. From English alone: --set benchmark.source=en
--set benchmark.leave_one_out=false --set method.tau_psi=2 --set method.tau_sigma=3
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.presets import preset

DEFAULTS = preset("lvm-conll").keys

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
