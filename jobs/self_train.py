"""Any method on files of your own: labelled text in some languages, raw text in others.

--set files.paths.en.train=FOLDER/en/*.conll --set files.paths.sw.unlabelled=FOLDER/sw/*.txt; labels
and task are read off the files, and without --set method.name=... a method is recommended.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.self_train import JOB

DEFAULTS = {
    "benchmark": {"name": "files"},
    "backbone": "FacebookAI/xlm-roberta-base",
}

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__, job=JOB))
