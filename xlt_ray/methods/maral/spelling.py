"""Whether how words are written can tell entities in the target text: in capitals, in digits."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from xlt_ray.data.batches.tokenise import SHAPES
from xlt_ray.data.keyed import of_language
from xlt_ray.recipe.mechanism import Mechanism
from xlt_ray.store.artifacts import Artifact

WRITTEN_ALIKE = 0.5
"""Share of words without case above which how words are written says nothing of them."""


def count_written(tokens: Artifact) -> tuple[pa.Table, dict[str, Any]]:
    """How many words of each language are neither of letters with case nor of digits.

    Args:
        tokens: A tokenised corpus of words.

    Returns:
        A row per language; as a fact ``plain``, the share of such words by language.
    """
    whole, plain = Counter[str](), Counter[str]()
    for table in tokens.tables(["language", "shapes"]):
        for language in table["language"].unique().to_pylist():
            shapes = of_language(table, language)["shapes"].combine_chunks().flatten()
            whole[language] += len(shapes)
            plain[language] += int((shapes.to_numpy() == SHAPES.index("other")).sum())
    names = sorted(whole)
    shares = {name: plain[name] / whole[name] for name in names if whole[name]}
    counts = {"words": [whole[x] for x in names], "plain": [plain[x] for x in names]}
    return pa.table({"language": pa.array(names, pa.string()), **counts}), {"plain": shares}


def written(info: Mapping[str, Any]) -> Mechanism:
    """How many words of each target have neither capitals nor small letters nor digits.

    Args:
        info: What `count_written` counted.
    """
    figures: Mapping[str, float] = info.get("plain") or {}
    alike = ", ".join(name for name, share in figures.items() if share > WRITTEN_ALIKE)
    warning = None
    if alike:
        warning = (
            f"words of {alike} are written as punctuation is, so few of their spans are entities; "
            "method.morphology=false leaves out how words are written"
        )
    return Mechanism("words without case and digits, share of the target's", figures, warning)
