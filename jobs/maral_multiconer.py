"""MARAL on MultiCoNER 2 in the paper's setting: English to seven languages with XLM-R large.

The data is given to those who register: --set benchmark.root=FOLDER, laid out as
<language>/{train,dev,test}.conll. The settings of the released code: --set method.preset=code.
"""

import sys

from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {
        "name": "multiconer", "source": ["en"],
        "targets": ["bn", "fa", "fr", "it", "pt", "sv", "uk"], "unlabelled_split": "train",
    },
    "backbone": "FacebookAI/xlm-roberta-large",
    "train": {"dropout": 0.2, "weight_decay": 0.01},
    "method": {"name": "maral"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
