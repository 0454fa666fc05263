"""Entities of sentences, from the scores of all of their spans.

"Large Margin Representation Learning for Robust Cross-lingual Named Entity Recognition", section 6
of docs/maral.md. Shapes: S sentences, W words of all of them, N spans of all of them, K classes.
"""

import numpy as np
from torch import Tensor

from xlt_ray.labels import LabelSet
from xlt_ray.ops import spans


def kept_entities(
    scores_NK: Tensor, num_words_S: spans.Ints, max_len: int
) -> tuple[spans.Longs, spans.Longs]:
    """[M] positions and [M] classes of the spans that are kept as entities.

    A span is kept if its best class is not O and no span of such a class that shares a word with it
    has a larger log softmax(scores) of its own.

    Args:
        scores_NK: Logits or vMF scores; class 0 is O, the lowest index wins ties.
        num_words_S: Words of each sentence.
        max_len: Most words of a span.
    """
    best_N = scores_NK.argmax(dim=1)
    log_p_N = scores_NK.double().log_softmax(dim=1).gather(1, best_N[:, None])[:, 0]
    labels_N = best_N.cpu().numpy()
    spans_N2, offsets_S1 = spans.enumerate_many(num_words_S, max_len)
    kept_M = spans.decode_many(spans_N2, labels_N, log_p_N.cpu().numpy(), offsets_S1)
    return kept_M, labels_N[kept_M]


def tags_of_scores(
    scores_NK: Tensor, num_words_S: spans.Ints, max_len: int, labels: LabelSet
) -> spans.Longs:
    """[W] BIO class of each word, as the entities that are kept have it.

    Args:
        scores_NK: Logits or vMF scores.
        num_words_S: Words of each sentence.
        max_len: Most words of a span.
        labels: BIO label set.
    """
    kept_M, classes_M = kept_entities(scores_NK, num_words_S, max_len)
    spans_N2, offsets_S1 = spans.enumerate_many(num_words_S, max_len)
    spans_N2 = spans.end_to_end(spans_N2, num_words_S, offsets_S1)
    return spans.tags_of(spans_N2[kept_M], classes_M, int(np.sum(num_words_S)), labels)
