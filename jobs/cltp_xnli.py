"""CLTP on XNLI in the paper's setting: English to 14 languages with XLM-R large.

The source is MultiNLI, which is the train split of English in XNLI. The head is linear, as in the
paper; --set train.dim_reduce=128 puts the released code's projection to 8 dimensions before it.
With data of your own: --set benchmark.root=FOLDER, laid out as <language>/{train,dev,test}.jsonl.
"""

import sys

from xlt_ray.commands.cli import run_job

DEFAULTS = {
    "benchmark": {"name": "xnli", "source": ["en"], "targets": "all"},
    "backbone": "FacebookAI/xlm-roberta-large",
    "method": {
        "name": "cltp",
        "source_epochs": 5, "round_lr": 5e-6,
        "rounds": 8, "src_ratio": 0.01,
    },
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
