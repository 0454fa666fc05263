"""IWDA on XNLI in the paper's setting: English to 14 languages with mBERT.

Every language has 20,000 examples of the translated train split, and no two have the same ones.
With files: --set benchmark.root=FOLDER, with <language>/{train,dev,test}.jsonl in one order.
"""

import sys

from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {
        "name": "xnli", "source": ["en"], "targets": "all", "unlabelled_split": "train",
        "partition": 20_000,
    },
    "backbone": "google-bert/bert-base-multilingual-cased",
    "train": {"max_length": 512, "weight_decay": 0.01},
    "method": {"name": "iwda"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
