"""Deterministic kernels are asked for inside the block alone, and memory is not filled for them."""

from typing import Any

import pytest
import torch

from xlt_ray.engine.train.determinism import repeatable


@pytest.mark.parametrize("wanted", [True, False])
def test_a_process_is_as_it_was_after_the_block(wanted: bool):
    before = torch.are_deterministic_algorithms_enabled()
    settings: Any = torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    with repeatable(wanted):
        assert torch.are_deterministic_algorithms_enabled() is wanted
        assert not settings.fill_uninitialized_memory
    assert torch.are_deterministic_algorithms_enabled() is before
    assert settings.fill_uninitialized_memory is filled
