"""LVM between the domains of OntoNotes 5 in the paper's setting: five domains teach the sixth.

Multilingual BERT, soft labels. The corpus cannot be handed on; docs/data.md says how to lay its
CoNLL export out: --set benchmark.root=FOLDER.
"""

import sys

from xlt_ray.commands.cli import run_job

DOMAINS = ["bc", "bn", "mz", "nw", "tc", "wb"]
DEFAULTS = {
    "benchmark": {
        "name": "ontonotes", "source": DOMAINS, "targets": DOMAINS,
        "leave_one_out": True, "unlabelled_split": "train",
    },
    "backbone": "google-bert/bert-base-multilingual-cased",
    "method": {"name": "lvm", "mu_psi": 0.9983, "mu_sigma": 0.5896},
    "train": {"weight_decay": 0.01},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
