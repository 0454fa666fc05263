"""Masked words: which tokens, and how many."""

import torch

from xlt_ray.ops.masking import masked_tokens


def test_special_tokens_and_other_rows_stay() -> None:
    torch.manual_seed(0)
    ids = torch.randint(5, 100, (60, 50))
    ids[:, 0], ids[:, 30], ids[:, 40:] = 0, 2, 1
    rows = torch.arange(60) % 2 == 0
    found = masked_tokens(ids, rows, rate=0.15, mask=4, special={0, 1, 2})
    assert torch.equal(found[~rows], ids[~rows])
    changed = found != ids
    assert (found[changed] == 4).all()
    assert not changed[:, [0, 30, *range(40, 50)]].any()
    share = changed[rows].sum() / (30 * 38)
    assert 0.10 < share < 0.20  # 0.15, four standard errors


def test_the_ends_of_the_rate() -> None:
    ids, rows = torch.tensor([[0, 7, 8, 2]]), torch.tensor([True])
    for rate, expected in ((0.0, [0, 7, 8, 2]), (1.0, [0, 4, 4, 2])):
        found = masked_tokens(ids, rows, rate=rate, mask=4, special={0, 2})
        assert found.tolist() == [expected]
