"""IWDA on MARC in the paper's setting: English reviews to five languages with mBERT.

Stars from 1 to 5. With data of your own: --set benchmark.root=FOLDER, laid out as
<language>/{train,dev,test}.jsonl.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.presets import preset

DEFAULTS = preset("iwda-marc").keys

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
