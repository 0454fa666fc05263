"""CLTP on WikiANN in the paper's setting: English to 39 languages with XLM-R large.

With data of your own: --set benchmark.root=FOLDER, laid out as <language>/{train,dev,test}.txt.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.presets import preset

DEFAULTS = preset("cltp-wikiann").keys

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
