"""One label per item from the predictions of several source models.

Majority vote, the baseline Hard-Vote; its paper gives no rule for ties. A source may give no vote
about an item, which is -100 and counts for nothing. All arrays are NumPy's.

Shapes: U sources in the configured order, N items, K classes.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


def is_tied(hard_UN: Ints) -> NDArray[np.bool_]:
    """[N] whether several labels of an item have the most votes, of at least one source."""
    given_UN = hard_UN >= 0
    votes_UN = ((hard_UN[:, None] == hard_UN[None]) & given_UN[:, None]).sum(axis=1)
    most_N = votes_UN.max(axis=0)
    voters_N = ((votes_UN == most_N) & given_UN).sum(axis=0)
    return voters_N > most_N


def is_unanimous(hard_UN: Ints) -> NDArray[np.bool_]:
    """[N] whether all votes about an item are for one label; of none, they are not."""
    given_UN = hard_UN >= 0
    least_N = np.where(given_UN, hard_UN, np.iinfo(hard_UN.dtype).max).min(axis=0)
    return given_UN.any(axis=0) & (hard_UN.max(axis=0) == least_N)


def majority_vote(hard_UN: Ints, soft_UNK: Floats | None = None) -> NDArray[np.int64]:
    """The label that most sources give to each item.

    Of labels with equally many votes the one with the largest probability, summed over all
    sources, wins; without probabilities, or where those are equal too, the one of the earliest
    source.

    Args:
        hard_UN: Class ids in [0, K) from at least one source, or -100 where it gives no vote.
        soft_UNK: Class probabilities, in the order of ``hard_UN``, zeros where there is no vote; or
            None.

    Returns:
        Class ids, [N]; each is the vote of some source, or -100 where there is none.
    """
    assert len(hard_UN) > 0, "an election needs a voter"
    num_items = len(hard_UN[0])
    if soft_UNK is None:
        num_classes = max(int(hard_UN.max(initial=-1)) + 1, 1)
    else:
        assert soft_UNK.shape[:2] == hard_UN.shape, "votes and probabilities do not match"
        num_classes = soft_UNK.shape[2]
    item_N = np.arange(num_items)
    count_NK = np.zeros((num_items, num_classes), dtype=np.int64)
    given_UN = hard_UN >= 0
    for vote_N, given_N in zip(hard_UN, given_UN, strict=True):
        count_NK[item_N[given_N], vote_N[given_N]] += 1
    leads_NK = count_NK == count_NK.max(axis=1, initial=0, keepdims=True)
    if soft_UNK is not None:
        sum_NK = np.where(leads_NK, soft_UNK.sum(axis=0, dtype=np.float64), -np.inf)
        leads_NK = sum_NK == sum_NK.max(axis=1, initial=-np.inf, keepdims=True)
    leads_UN = np.take_along_axis(leads_NK, hard_UN.clip(0).T, axis=1).T & given_UN
    first_N = leads_UN.argmax(axis=0)
    return hard_UN[first_N, item_N].astype(np.int64)
