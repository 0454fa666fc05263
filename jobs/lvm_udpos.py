"""LVM on parts of speech of Universal Dependencies in the paper's setting: each language in turn.

Multilingual BERT, soft labels. Treebanks as <language>/{train,dev,test}.conllu:
--set benchmark.root=FOLDER. From English alone: --set benchmark.source=en
--set benchmark.leave_one_out=false --set method.mu_psi=0.2910 --set method.mu_sigma=0.7521
"""

import sys

from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {
        "name": "udpos", "source": ["en", "ca", "id", "hi", "fi", "ru"],
        "targets": ["en", "ca", "id", "hi", "fi", "ru"],
        "leave_one_out": True, "unlabelled_split": "train",
    },
    "backbone": "google-bert/bert-base-multilingual-cased",
    "method": {"name": "lvm", "mu_psi": 0.9992, "mu_sigma": 0.2910},
    "train": {"weight_decay": 0.01},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
