"""A finished run, or an exported model, labels files: every row, in its order and format.

--set predict.model=RUN --set predict.files=FOLDER/*.txt --set predict.to=FOLDER; a run that was
killed goes on.
"""

import sys

from xlt_ray.cli import main
from xlt_ray.predict import JOB

DEFAULTS = {}

if __name__ == "__main__":
    sys.exit(main(DEFAULTS, __doc__, job=JOB))
