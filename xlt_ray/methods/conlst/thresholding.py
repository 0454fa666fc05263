"""The selection of CoNLST's second stage: what reaches its threshold, and how it is changed."""

from typing import Any

import pyarrow as pa
import torch

from xlt_ray.data.keyed import with_ids, without_ids
from xlt_ray.methods.conlst.negative_learning import probabilities
from xlt_ray.methods.shared.selection import counted, one_class_sets
from xlt_ray.ops import thresholds
from xlt_ray.recipe.corpus import ids_of, sample_ids, share_of
from xlt_ray.store.artifacts import Artifact


def reaching(
    said: Artifact,
    *before: Artifact,
    language: str | None,
    t0: float,
    warmup: bool,
    floor: float | None,
    is_fixed: bool,
    num_classes: int,
) -> tuple[pa.Table, dict[str, Any]]:
    """Texts that reach the threshold of their class (N8).

    Args:
        said: Class probabilities ``q`` and ``labels`` of the texts.
        *before: What was kept last, if anything was.
        language: The language of the texts; None: all of them.
        t0: Base threshold.
        warmup: See `thresholds.of_pass`.
        floor: Likewise.
        is_fixed: Likewise.
        num_classes: C.

    Returns:
        Labelled texts; as facts counts, status and threshold by class, ``kept``, the share of all
        texts, and ``changed``, the share of them that were not kept or had another label before.
    """
    table, q_NC = probabilities(said, language, num_classes)
    confidence_N, said_N = torch.from_numpy(q_NC.max(axis=1)), torch.from_numpy(q_NC.argmax(axis=1))
    found = thresholds.of_pass(
        confidence_N, said_N, num_classes, t0, warmup=warmup, floor=floor, is_fixed=is_fixed
    )
    kept, facts = one_class_sets(table.filter(pa.array(found.kept_N.numpy())))
    facts["counts"], facts["beta"] = found.counts_C.tolist(), found.beta_C.tolist()
    facts["threshold"] = found.threshold_C.tolist()
    facts["kept"] = len(kept) / max(len(table), 1)
    if before:
        now, then = _labels(kept), _labels(before[-1].table(["id", "labels"]))
        differ = sum(now.get(key) != then.get(key) for key in now.keys() | then.keys())
        facts["changed"] = differ / max(len(table), 1)
    return kept, facts


def _labels(table: pa.Table) -> dict[str, int]:
    labels = table["labels"].combine_chunks().flatten().to_pylist()
    return dict(zip(table["id"].to_pylist(), labels, strict=True))


def copies(
    picked: Artifact, translated: Artifact, *, share: float, seed: int, masked: bool
) -> tuple[pa.Table, dict[str, Any]]:
    """Which of the kept texts are learnt from with words masked, or else translated.

    Args:
        picked: The kept texts.
        translated: Tokenised translations; texts without one are masked.
        share: Share of texts that are translated.
        seed: Seed of the draw.
        masked: Whether those that are masked are wanted.
    """
    table = picked.table()
    there = with_ids(table, ids_of(translated))["id"].combine_chunks()
    drawn = sample_ids(there, share_of(share, len(there)), seed=seed)
    return counted(without_ids(table, drawn) if masked else with_ids(table, drawn))
