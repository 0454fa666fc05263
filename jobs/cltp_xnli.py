"""CLTP on XNLI in the paper's setting: English to 14 languages with XLM-R large.

The source is MultiNLI, which is the train split of English in XNLI. The head is linear, as in the
paper; --set train.dim_reduce=128 puts the released code's projection to 8 dimensions before it.
With data of your own: --set benchmark.root=FOLDER, laid out as <language>/{train,dev,test}.jsonl.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.presets import preset

DEFAULTS = preset("cltp-xnli").keys

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
