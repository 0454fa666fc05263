"""MARAL on WikiANN in the paper's setting: English to Arabic, Hindi and Chinese with XLM-R large.

A teacher and a student for each language; the unlabelled text is the train split of the targets.
The settings of the released code: --set method.preset=code. With data of your own: --set
benchmark.root=FOLDER, laid out as <language>/{train,dev,test}.txt.
"""

import sys

from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {
        "name": "wikiann", "source": ["en"], "targets": ["ar", "hi", "zh"],
        "unlabelled_split": "train",
    },
    "backbone": "FacebookAI/xlm-roberta-large",
    "train": {"dropout": 0.2, "weight_decay": 0.01},
    "method": {"name": "maral"},
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
