"""The pieces that methods spend time in, against how they would be written at first.

Candidate sets by number of classes against a loop over items and sets; posteriors of the latent
variable model against a loop over items; neighbours by faiss against PyTorch's top-k. One thread.
"""

import itertools
import os
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks.measure import Comparison, Contender, take_turns
from xlt_ray.methods.maral.neighbours import Neighbours
from xlt_ray.ops import confusion, partial_labels

LAM, TAU = 4.0, 10.0
ITEMS, CLASSES = 20_000, (3, 7, 9, 13)
SOURCES, LABELS, WORDS = 3, 9, 200_000
STORED, QUERIES, WIDTH, NEAR = 130_000, 8_192, 64, 200


def balance(a: float, b: float) -> float:
    """Relative mass balance of two beliefs."""
    return 1 - abs(a - b) / (a + b) if a and b else 0.0


def dissonance(beliefs: Sequence[float]) -> float:
    """Conflict of some beliefs, term by term."""
    total = 0.0
    for i, own in enumerate(beliefs):
        others = [x for j, x in enumerate(beliefs) if j != i]
        mass = sum(others)
        if mass > 0:
            total += own * sum(x * balance(x, own) for x in others) / mass
    return total


def best_set(evidence: np.ndarray) -> tuple[int, ...]:
    """The candidate set of one item, by looking at all sets (of the seven likeliest classes where
    there are more than nine)."""
    belief = evidence / (evidence.sum() + len(evidence))
    pool = list(range(len(belief)))
    if len(belief) > 9:
        pool = np.argsort(-evidence, kind="stable")[:7].tolist()
    best = (int(evidence.argmax()),)  # whichever single class: nothing is merged
    least = (1 + TAU) / TAU * dissonance(belief.tolist())
    for size in range(2, min(len(pool), len(belief) - 1) + 1):
        factor = (LAM ** (size - 1) + TAU) * TAU ** (size - 2)
        for chosen in itertools.combinations(pool, size):
            merged = 1 - np.prod([1 - belief[c] for c in chosen])
            others = [float(belief[c]) for c in range(len(belief)) if c not in chosen]
            score = factor * dissonance([float(merged), *others])
            if score < least:
                best, least = chosen, score
    return best


def candidate_sets(classes: int, *, repeats: int) -> Comparison:
    """Candidate sets of items with random evidence."""
    generator = torch.Generator().manual_seed(0)
    evidence = torch.rand(ITEMS, classes, generator=generator, dtype=torch.float64) ** 4 * 30
    few = max(10, 2000 // 2**classes)

    def loop() -> None:
        for item in evidence[:few].numpy():
            best_set(item)

    def ours() -> None:
        partial_labels.candidate_sets(evidence, lam=LAM, tau=TAU)

    contenders = [
        Contender("a loop over items and sets", loop, share=few / ITEMS),
        Contender("partial_labels.candidate_sets", ours),
    ]
    return compared(f"Candidate sets of {classes} classes", "items", ITEMS, contenders, repeats)


def posteriors(*, repeats: int) -> Comparison:
    """q of the latent-variable model, hard and soft labels of three sources."""
    generator = torch.Generator().manual_seed(0)
    soft_UNK = torch.rand(SOURCES, WORDS, LABELS, generator=generator).softmax(dim=-1)
    hard_UN = soft_UNK.argmax(dim=-1)
    prior_NK = torch.rand(WORDS, LABELS, generator=generator).log_softmax(dim=-1)
    sigma = torch.randn(SOURCES, LABELS, LABELS, generator=generator)
    log_phi = confusion.log_columns(sigma)
    phi = log_phi.exp().numpy()
    few = WORDS // 100

    def loop() -> None:
        prior = prior_NK[:few].exp().numpy()
        for n in range(few):
            joint = prior[n].copy()
            for u in range(SOURCES):
                joint *= phi[u][int(hard_UN[u, n])]
            joint /= joint.sum()

    def hard() -> None:
        (prior_NK + confusion.log_emission_hard(log_phi, hard_UN)).softmax(dim=1)

    def soft() -> None:
        (prior_NK + confusion.log_emission_soft(log_phi, soft_UNK)).softmax(dim=1)

    contenders = [
        Contender("a loop over words, hard labels", loop, share=few / WORDS),
        Contender("log_emission_hard", hard),
        Contender("log_emission_soft", soft),
    ]
    return compared("E-step, three sources", "words", WORDS, contenders, repeats)


def neighbours(*, repeats: int) -> Comparison:
    """Labels of the 200 nearest of many vectors."""
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(STORED + QUERIES, WIDTH, generator=generator)
    stored, queries = torch.nn.functional.normalize(made, dim=1).split([STORED, QUERIES])
    labels = torch.randint(0, 5, (STORED,), generator=generator)
    nobody = torch.full((QUERIES,), -1)
    exact = Neighbours(stored, labels, 5, k=NEAR)

    def topk() -> None:
        for part in queries.split(512):
            found = (part @ stored.T).topk(NEAR, dim=1).indices
            torch.nn.functional.one_hot(labels[found], 5).sum(dim=1)

    contenders = [
        Contender("torch: product and topk", topk),
        Contender("faiss, exact", lambda: exact.counts(queries, nobody)),
    ]
    title = f"Neighbours among {STORED:,} vectors of {WIDTH}"
    return compared(title, "queries", QUERIES, contenders, repeats)


def compared(
    title: str, unit: str, units: float, contenders: Sequence[Contender], repeats: int
) -> Comparison:
    """Turns of the contenders."""
    before = os.getloadavg()[0]
    timings = take_turns(contenders, repeats=repeats)
    return Comparison(title, unit, units, timings, load=(before, os.getloadavg()[0]))


def pieces(*, repeats: int) -> list[Comparison]:
    """All of them."""
    torch.set_num_threads(1)
    found = [candidate_sets(classes, repeats=repeats) for classes in CLASSES]
    return [*found, posteriors(repeats=repeats), neighbours(repeats=repeats)]
