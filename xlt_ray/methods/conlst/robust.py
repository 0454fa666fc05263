"""What the source model of CoNLST is trained with: plainly, or so that it is less sure or robust.

Noise in the embeddings (`xlt_ray.methods.conlst.smoothing`) and smoothed labels
(`xlt_ray.methods.shared.weighted`) are independent of each other.
"""

from dataclasses import dataclass

from xlt_ray.methods.conlst.settings import NegativesConfig
from xlt_ray.methods.conlst.smoothing import Smoothed
from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.methods.shared.weighted import SmoothCrossEntropy, cross_entropy_of


@dataclass
class NoisyAndSmooth(Smoothed, SmoothCrossEntropy):
    """Cross-entropy of smoothed labels, with noise in the embeddings."""

    radius: float = 0.0


def source_loss(config: NegativesConfig) -> CrossEntropy:
    """The loss of the source training.

    Args:
        config: Says the noise and the smoothing.
    """
    if not config.source_noise:
        return cross_entropy_of(config.label_smoothing)
    if not config.label_smoothing:
        return Smoothed(config.source_noise)
    return NoisyAndSmooth(smoothing=config.label_smoothing, radius=config.source_noise)
