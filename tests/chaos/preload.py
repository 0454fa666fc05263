"""What every driver of the chaos tests has in memory when it is forked: modules, their digests."""

from xlt_ray.store.fingerprint import code_digest

code_digest(
    "xlt_ray.run.driver",
    "xlt_ray.methods",
    "xlt_ray.data.benchmarks.registry",
    "xlt_ray.data.batches.tokenise",
)
