"""The words of a sentence and of its translation, aligned by their vectors.

Z.-Y. Dou and G. Neubig, Word Alignment by Fine-tuning Embeddings on Parallel Corpora, EACL 2021:
the similarities of all pairs become probabilities over the words of the translation, by a softmax
of each row, and over the words of the sentence, by a softmax of each column. A pair is aligned if
both are above a threshold (*softmax intersection*).

Legend: N words of the sentence, M words of the translation, H size of a vector.
"""

import torch
from torch import Tensor


def similarities(vectors_NH: Tensor, others_MH: Tensor) -> Tensor:
    """[N, M] float64 products of all pairs of vectors, as the paper has them."""
    return vectors_NH.double() @ others_MH.double().T


def softmax_intersection(similarity_NM: Tensor, threshold: float) -> Tensor:
    """Probabilities of the aligned pairs.

    Args:
        similarity_NM: [N, M] similarities, finite.
        threshold: In [0, 1); 0.001 in the paper.

    Returns:
        [N, M] float64 in [0, 1]: the mean of both probabilities where both are above the threshold,
        and 0 elsewhere. Without words on a side there are no pairs.
    """
    if not similarity_NM.numel():
        return similarity_NM.double()
    forward_NM = similarity_NM.double().softmax(dim=1)
    back_NM = similarity_NM.double().softmax(dim=0)
    aligned_NM = (forward_NM > threshold) & (back_NM > threshold)
    return torch.where(aligned_NM, (forward_NM + back_NM) / 2, 0.0)
