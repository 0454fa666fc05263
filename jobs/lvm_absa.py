"""LVM on aspect terms of SemEval-2016 restaurants in the paper's setting: each language in turn.

Multilingual BERT, soft labels. The reviews as <language>/{train,dev,test}.txt, one word and tag a
line: --set benchmark.root=FOLDER. From English alone: --set benchmark.source=en
--set benchmark.leave_one_out=false --set method.mu_psi=0.9317 --set method.mu_sigma=0.8339
"""

import sys

from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {
        "name": "absa", "source": ["en", "es", "nl", "ru", "tr"],
        "targets": ["en", "es", "nl", "ru", "tr"],
        "leave_one_out": True, "unlabelled_split": "train",
    },
    "backbone": "google-bert/bert-base-multilingual-cased",
    "method": {"name": "lvm", "mu_psi": 0.9998, "mu_sigma": 0.6488},
    "train": {"weight_decay": 0.01},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
