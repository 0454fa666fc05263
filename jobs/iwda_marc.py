"""IWDA on MARC in the paper's setting: English reviews to five languages with mBERT.

Stars from 1 to 5. With data of your own: --set benchmark.root=FOLDER, laid out as
<language>/{train,dev,test}.jsonl.
"""

import sys

from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {
        "name": "marc", "source": ["en"], "targets": "all",
        "unlabelled_split": "train",
    },
    "backbone": "google-bert/bert-base-multilingual-cased",
    "train": {"max_length": 512, "weight_decay": 0.01},
    "method": {"name": "iwda"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
