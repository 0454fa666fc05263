"""LVM on CoNLL-2002 and 2003 in the paper's setting: three of four languages teach the fourth.

Multilingual BERT, soft labels. The files cannot be handed on; docs/data.md says how to lay them
out: --set benchmark.root=FOLDER. From English alone: --set benchmark.source=en
--set benchmark.leave_one_out=false --set method.mu_psi=0.4249 --set method.mu_sigma=0.6676
"""

import sys

from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {
        "name": "conll", "source": ["en", "de", "es", "nl"], "targets": "all",
        "leave_one_out": True, "unlabelled_split": "train",
    },
    "backbone": "google-bert/bert-base-multilingual-cased",
    "method": {"name": "lvm", "mu_psi": 0.9995, "mu_sigma": 0.4249},
    "train": {"weight_decay": 0.01},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
