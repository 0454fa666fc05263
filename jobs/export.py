"""The model of a finished run as a folder of its own, which others can load.

--set export.run=NAME --set export.to=FOLDER; with export.distil=true a tagger of spans is made a
stock tagger of words, which transformers.pipeline("token-classification") loads.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.export import JOB

DEFAULTS = {}

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
