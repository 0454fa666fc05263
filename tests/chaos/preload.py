"""What every driver of the chaos tests has in memory when it is forked: modules, their digests."""

from xlt_ray.fingerprint import code_digest

code_digest("xlt_ray.driver", "xlt_ray.methods", "xlt_ray.data.registry", "xlt_ray.data.tokenise")
