"""CoNLST on XNLI in the paper's setting: English to 15 languages with mBERT, a model for each.

English is adapted, too: XNLI has other domains than MultiNLI. The source is MultiNLI, which is the
train split of English in XNLI; the unlabelled text is the dev split. XLM-R large: --set
backbone=FacebookAI/xlm-roberta-large --set method.stage1_lr=5e-6.

A half of the kept texts is translated to English and back if there is a translator, such as
--set translation.model=facebook/mbart-large-50-many-to-many-mmt for the languages it has, see
docs/translation.md; else words are masked in all of them. CoNLST-MT: --set translation.replace=true
reads the targets in translation. CoNLST-RS, or any other start: --set method.start_from=RUN, a
finished run of the store or a checkpoint.
With data of your own: --set benchmark.root=FOLDER, laid out as <language>/{train,dev,test}.jsonl.
"""

import sys

from xlt_ray.commands.cli import run_job
from xlt_ray.commands.presets import preset

DEFAULTS = preset("conlst-xnli").keys

if __name__ == "__main__":
    sys.exit(run_job(DEFAULTS, __doc__))
