"""The methods by name: one file each, one literal dict."""

from xlt_ray.methods.base import Method
from xlt_ray.methods.cltp import CLTP

METHODS: dict[str, type[Method]] = {
    "cltp": CLTP,
}
