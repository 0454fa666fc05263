"""MARAL on CoNLL in the paper's setting: English to German, Spanish and Dutch with XLM-R large.

The data is not redistributed: --set benchmark.root=FOLDER, laid out as
<language>/{train,dev,test}.txt. Spanish alone: --set benchmark.targets=es --set method.w_mlm=1e-4,
as the released code has it. Its other settings: --set method.preset=code.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.presets import preset

DEFAULTS = preset("maral-conll").keys

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
