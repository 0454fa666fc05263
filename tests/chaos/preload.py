"""What every driver of the chaos tests has in memory when it is forked: modules, their digests."""

import os
from importlib import import_module

from xlt_ray.data.stock import stock
from xlt_ray.store.fingerprint import code_digest

if os.environ.get("XLT_LONG") == "1":  # else no run needs a Ray
    for name in ("ray.data", "ray.train.torch"):
        import_module(name)
stock("XLMRobertaForTokenClassification")  # with all that an encoder is made of
for name in ("torch._inductor", "xlt_ray.run.driver"):  # when training begins, and before
    import_module(name)
code_digest(
    "xlt_ray.run.driver",
    "xlt_ray.methods",
    "xlt_ray.data.benchmarks.registry",
    "xlt_ray.data.batches.tokenise",
)
