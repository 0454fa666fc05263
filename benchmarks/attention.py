"""Attention on a CPU: PyTorch's fused kernel beside plain products ("eager" in transformers).

In turns within one process, one thread, in seconds of that process: an encoder over rows of one
length, for several lengths; forward and backward, as in training, or forward alone.

    python -m benchmarks.attention --backbone FOLDER [--lengths 16,45,128,512] [--precision bf16]
        [--forward] [--tokens 1024] [--repeats 5]
"""

import argparse
import os
import time
from typing import Literal, get_args

import torch

from benchmarks.measure import REPEATS, Comparison, Contender, machine, table, take_turns, title
from xlt_ray.engine.arithmetic import autocast
from xlt_ray.models.classifier import Classifier
from xlt_ray.models.tagger import load_tagger

Precision = Literal["fp32", "bf16"]
LABELS = ("O", "B-X", "I-X")
LENGTHS, TOKENS = (16, 45, 128, 512), 1024


def passes(
    backbone: str, length: int, tokens: int, *, precision: Precision, forward: bool, repeats: int
) -> Comparison:
    """Both kinds of attention over rows of one length.

    Args:
        backbone: Folder of an encoder.
        length: Sub-words of a row; every second one ends in padding.
        tokens: Sub-words of a pass, about.
        precision: Arithmetic of the encoder.
        forward: Whether there is no backward pass, nor dropout.
        repeats: Turns that count.
    """
    fused, eager = (load_tagger(backbone, LABELS).train(not forward) for _ in range(2))
    eager.use_eager_attention()
    rows, vocabulary = max(2, tokens // length), fused.model.config.vocab_size
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary // 2, vocabulary, (rows, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[::2, -(length // 4) :] = 0

    def contender(name: str, model: Classifier) -> Contender:
        model.freeze(0)

        def run() -> None:
            with autocast(torch.device("cpu"), precision), torch.set_grad_enabled(not forward):
                states = model.encoder(input_ids=ids, attention_mask=mask)["last_hidden_state"]
            if not forward:
                states.float().square().mean().backward()
                model.zero_grad(set_to_none=True)

        return Contender(name, run)

    before = os.getloadavg()[0]
    both = [contender("fused", fused), contender("eager", eager)]
    timings = take_turns(both, repeats=repeats, clock=time.process_time)
    load = (before, os.getloadavg()[0])
    what = f"{precision}, {'forward' if forward else 'forward and backward'}"
    name = f"Rows of {length} sub-words, {what}"
    return Comparison(name, "sub-words", rows * length, timings, load=load)


def main() -> None:
    """Measure, and print the tables one by one."""
    parser = argparse.ArgumentParser(description=title(__doc__))
    parser.add_argument("--backbone", required=True, help="folder of an encoder")
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)))
    parser.add_argument("--precision", choices=get_args(Precision), default="bf16")
    parser.add_argument("--forward", action="store_true", help="without the backward pass")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine(), flush=True)
    for length in map(int, options.lengths.split(",")):
        found = passes(
            options.backbone,
            length,
            options.tokens,
            precision=options.precision,
            forward=options.forward,
            repeats=options.repeats,
        )
        print(table(found), flush=True)


if __name__ == "__main__":
    main()
