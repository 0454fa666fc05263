"""IWDA on CoNLL in the paper's setting: English to German, Spanish and Dutch with mBERT.

The data is not redistributed: --set benchmark.root=FOLDER, laid out as
<language>/{train,dev,test}.txt.
"""

import sys

from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {
        "name": "conll",
        "source": ["en"],
        "targets": ["de", "es", "nl"],
        "unlabelled_split": "train",
    },
    "backbone": "google-bert/bert-base-multilingual-cased",
    "train": {"max_length": 512, "weight_decay": 0.01},
    "method": {"name": "iwda"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
