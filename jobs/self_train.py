"""Any method on files of your own: labelled text in some languages, raw text in others.

--set own.files.en.train=FOLDER/en/*.conll --set own.files.sw.unlabelled=FOLDER/sw/*.txt; labels
and task are read off the files, and without --set method.name=... a method is recommended.
"""

import sys

from xlt_ray.cli import main
from xlt_ray.self_train import JOB

DEFAULTS = {
    "benchmark": {"name": "own"},
    "backbone": "FacebookAI/xlm-roberta-base",
}

if __name__ == "__main__":
    sys.exit(main(DEFAULTS, __doc__, job=JOB))
