"""A source model that is trained to be robust, from which CoNLST-RS starts.

Huang et al., "Improving Zero-Shot Cross-Lingual Transfer Learning via Robust Training" (2021):
words of another language have embeddings near those of the source, but not the same, so the source
model learns with noise in its embeddings (randomised smoothing by random perturbation, RS-RP).
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from xlt_ray.methods.shared.softmax import CrossEntropy
from xlt_ray.models.classifier import Classifier
from xlt_ray.ops.masking import shaken
from xlt_ray.recipe.task import TaskContext


@dataclass
class Smoothed(CrossEntropy):
    """Cross-entropy with noise in the embeddings of the words.

    Attributes:
        radius: Radius of the noise, as a share of the norm of an embedding.
    """

    radius: float

    def prepare(self, context: TaskContext, model: Classifier) -> None:
        """Have the embeddings shaken while the model is trained, and not while it is scored."""
        encoder: Any = model.encoder
        encoder.get_input_embeddings().register_forward_hook(self._shake)

    def _shake(self, module: nn.Module, given: Any, embeddings: Tensor) -> Tensor:
        return shaken(embeddings, self.radius) if module.training else embeddings
