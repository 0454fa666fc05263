"""What every driver of the chaos tests has in memory when it is forked: modules, their digests."""

from importlib import import_module

from xlt_ray.data.stock import stock
from xlt_ray.store.fingerprint import code_digest

for name in ("ray.data", "ray.train.torch"):
    import_module(name)
stock("XLMRobertaForTokenClassification")  # with all that an encoder is made of
code_digest(
    "xlt_ray.run.driver",
    "xlt_ray.methods",
    "xlt_ray.data.benchmarks.registry",
    "xlt_ray.data.batches.tokenise",
)
