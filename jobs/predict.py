"""A finished run, or an exported model, labels files: every row, in its order and format.

--set predict.model=RUN --set predict.files=FOLDER/*.txt --set predict.to=FOLDER; a run that was
killed goes on.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.predict import JOB

DEFAULTS = {}

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
