"""Which source language is nearest to each target, from a few dozen sentences of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlt_ray.config.schema import RunConfig
from xlt_ray.data.readers.rows import Text
from xlt_ray.data.schema import Example
from xlt_ray.ops.nearness import neighbour_shares

if TYPE_CHECKING:
    from xlt_ray.engine.labeller import Labeller

SENTENCES = 32
"""Sentences of a language that are looked at."""


def near_sources(
    config: RunConfig[Any],
    texts: Mapping[str, Sequence[Example]],
    sources: Sequence[str],
    targets: Sequence[str],
) -> dict[str, dict[str, float]]:
    """Share of each source among the nearest sentences of each target, the largest first.

    A vector is the mean of the states of a sentence's words in the encoder as it is, untrained. The
    encoder computes in this process, in float32 on the CPU, with as many threads as it has.

    Args:
        config: The configuration; its backbone is a folder of this machine, or nothing is known.
        texts: Some sentences by language; a language without any is left out.
        sources: Source languages.
        targets: Target languages; a source among them is not asked about itself.

    Returns:
        By target; of those that have at least two sources to choose from. Nothing where the encoder
        cannot be loaded, which a plan says by itself.
    """
    known = {name: list(texts[name][:SENTENCES]) for name in texts if texts[name]}
    asked = {
        target: [name for name in sources if name in known and name != target]
        for target in targets
        if target in known
    }
    asked = {target: names for target, names in asked.items() if len(names) > 1}
    folder = Path(config.backbone).expanduser()
    if not asked or not folder.is_dir():
        return {}
    try:
        encoder = _encoder(folder, config.train.max_length)
    except (ValueError, OSError):
        return {}
    wanted = dict.fromkeys([*asked, *(name for names in asked.values() for name in names)])
    vectors = {name: encoder.vectors([_text(row) for row in known[name]]) for name in wanted}
    found = {}
    for target, names in asked.items():
        shares = neighbour_shares(vectors[target], {name: vectors[name] for name in names})
        found[target] = dict(sorted(shares.items(), key=lambda item: -item[1]))
    return found


def _encoder(folder: Path, max_length: int) -> "Labeller":
    """The encoder of a folder, under a head that nobody asks."""
    import torch

    from xlt_ray.engine.arithmetic import Arithmetic
    from xlt_ray.engine.labeller import Labeller
    from xlt_ray.recipe.annotator import PredictLabels

    return Labeller(
        folder,
        labels=("a", "b"),
        task="token",
        max_length=max_length,
        dim_reduce=None,
        annotator=PredictLabels(),
        arithmetic=Arithmetic(threads=torch.get_num_threads()),
        batch_tokens=4096,
    )


def near_lines(found: Mapping[str, Mapping[str, float]]) -> list[str]:
    """What a dry run says of it."""
    if not found:
        return []
    lines = [
        "",
        f"nearest source text, as shares of neighbours among {SENTENCES} sentences of each source:",
    ]
    for target, shares in found.items():
        told = ", ".join(f"{name} {100 * share:.0f}%" for name, share in shares.items())
        lines.append(f"  {target}: {told}")
    return lines


def _text(row: Example) -> Text:
    words = row.tokens or tuple(" ".join((row.text or "", row.text_pair or "")).split())
    return Text(tokens=words or ("",))
