"""How fast this machine computes an encoder: a layer of its shape, timed for a moment."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

ROWS, TOKENS = 16, 32
"""Rows and sub-words of the batch that is timed."""
SECONDS = 0.4
"""How long each of the three is timed, at least."""


PARAMETERS = 4_000_000
"""Parameters whose update is timed: more than a cache holds."""


class Speed(NamedTuple):
    """What is done in a second.

    Attributes:
        forward: Operations of passes without gradients.
        training: Operations of passes forward and back, which count as three.
        update: Parameters that the optimiser changes.
    """

    forward: float
    training: float
    update: float


def operations_of_layer(width: int, inner: int) -> float:
    """Multiplications and additions of a layer with one sub-word.

    Args:
        width: Size of its states.
        inner: Size of its feed-forward part.
    """
    return 2.0 * (4 * width**2 + 2 * width * inner)


def speed_here(shape: Mapping[str, Any], threads: int) -> Speed:
    """Of the CPU of this process.

    Args:
        shape: ``hidden_size``, ``intermediate_size`` and perhaps ``num_attention_heads``.
        threads: Threads that a step has.
    """
    import torch
    from torch import nn

    width, inner = shape["hidden_size"], shape["intermediate_size"]
    heads = shape.get("num_attention_heads") or 1
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            layer = nn.TransformerEncoderLayer(
                width, heads, inner, dropout=0.1, activation="gelu", batch_first=True
            ).train()  # in evaluation mode it would take a shorter way of its own
            states = torch.randn((ROWS, TOKENS, width))

            def forward() -> None:
                with torch.no_grad():
                    layer(states)

            def training() -> None:
                layer(states).sum().backward()

            weights = nn.Parameter(torch.zeros(PARAMETERS))
            weights.grad = torch.ones(PARAMETERS)
            optimiser = torch.optim.AdamW([weights], fused=True)

            def update() -> None:
                nn.utils.clip_grad_norm_([weights], 1.0)
                optimiser.step()
                assert weights.grad is not None
                weights.grad.zero_()

            operations = operations_of_layer(width, inner) * ROWS * TOKENS
            return Speed(
                operations / fastest(forward),
                3 * operations / fastest(training),
                PARAMETERS / fastest(update),
            )
    finally:
        torch.set_num_threads(before)


def fastest(call: Callable[[], object]) -> float:
    """Seconds of a call, the least of as many as fit a moment; the first one does not count."""
    call()
    end, taken = time.perf_counter() + SECONDS, list[float]()
    while not taken or time.perf_counter() < end:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return min(taken)
