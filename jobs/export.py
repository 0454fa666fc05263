"""The model of a finished run as a folder of its own, which others can load.

--set export.run=NAME --set export.to=FOLDER; with export.distil=true a tagger of spans is made a
stock tagger of words, which transformers.pipeline("token-classification") loads.
"""

import sys

from xlt_ray.cli import main
from xlt_ray.export import JOB

DEFAULTS = {}

if __name__ == "__main__":
    sys.exit(main(DEFAULTS, __doc__, job=JOB))
