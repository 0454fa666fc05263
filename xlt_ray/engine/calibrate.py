"""How fast this machine computes an encoder: a layer of its shape, timed for a moment."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

ROWS, TOKENS = 16, 32
"""Rows and sub-words of the batch that is timed."""
SECONDS = 0.4
"""How long each of the two is timed, at least."""


class Speed(NamedTuple):
    """Operations a second.

    Attributes:
        forward: Of passes without gradients.
        training: Of passes forward and back, which count as three.
    """

    forward: float
    training: float


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

            operations = operations_of_layer(width, inner) * ROWS * TOKENS
            return Speed(operations / fastest(forward), 3 * operations / fastest(training))
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
