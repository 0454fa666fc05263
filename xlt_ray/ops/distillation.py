"""How far a student's class probabilities are from a teacher's.

Shapes: N items, K classes. Teacher probabilities have no gradient.
"""

from torch import Tensor
from torch.nn.functional import log_softmax, softmax


def soften(logits_NK: Tensor, temperature: float) -> Tensor:
    """[N, K] probabilities softmax(f / T), flatter the larger T >= 1 is."""
    return softmax(logits_NK / temperature, dim=-1)


def mse(logits_NK: Tensor, teacher_NK: Tensor) -> Tensor:
    """[N] mean over the classes of the squared difference of the probabilities (KD-re).

    Args:
        logits_NK: Logits of the student.
        teacher_NK: Probabilities of the teacher, rows sum to 1.
    """
    return (softmax(logits_NK, dim=-1) - teacher_NK.detach()).square().mean(dim=-1)


def kl(logits_NK: Tensor, teacher_NK: Tensor) -> Tensor:
    """[N] Kullback-Leibler divergence of the student from the teacher; 0 log 0 = 0.

    Args:
        logits_NK: Logits of the student.
        teacher_NK: Probabilities of the teacher, rows sum to 1.
    """
    teacher_NK = teacher_NK.detach()
    cross_N = -(teacher_NK * log_softmax(logits_NK, dim=-1)).sum(dim=-1)
    return cross_N + teacher_NK.xlogy(teacher_NK).sum(dim=-1)
