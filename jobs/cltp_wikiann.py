"""CLTP on WikiANN in the paper's setting: English to 39 languages with XLM-R large.

With data of your own: --set benchmark.root=FOLDER, laid out as <language>/{train,dev,test}.txt.
"""

import sys

from xlt_ray.cli import main

DEFAULTS = {
    "benchmark": {"name": "wikiann", "source": ["en"], "targets": "all"},
    "backbone": "FacebookAI/xlm-roberta-large",
    "method": {"name": "cltp"},
}

if __name__ == "__main__":
    sys.exit(main(DEFAULTS, __doc__))
